"""The simulated API as one machine: a request and the time go in, an answer comes out.

It does no I/O and reads no clock. The state is the cache, the invoice and a counter that makes ids; the same seed and
the same requests at the same times give the same answers, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

import msgspec

from scrimp.sim import agents, billing, checks, models, stream
from scrimp.sim.blocks import JsonObject
from scrimp.sim.cache import Cache, CacheUse
from scrimp.sim.errors import ApiError, bad_request, envelope
from scrimp.sim.headers import answer_headers
from scrimp.sim.marks import breakpoints
from scrimp.sim.models import Model
from scrimp.sim.render import Prompt, render
from scrimp.sim.rules import Rules


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the API answers. Times are milliseconds after the request's start.

    `body` is the JSON of the whole answer, streamed or not; `events` are empty unless it is streamed.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: JsonObject
    events: tuple[stream.Event, ...] = ()
    first_token_ms: int = 0
    duration_ms: int = 0


class Caller(msgspec.Struct, frozen=True):
    """Who asks and how: the workspace is a digest of the credential."""

    workspace: str
    api_version: str
    betas: frozenset[str]


Work = Callable[[JsonObject, Caller, int, bool], Answer]

#: How often, in billed requests, the entries that have run out are forgotten.
_EXPIRE_EVERY = 1_000


class Simulator:
    """The Claude API, seeded. `keys` are the credentials that it accepts; None accepts any."""

    def __init__(self, rules: Rules | None = None, seed: int = 0, keys: frozenset[str] | None = None) -> None:
        self.rules = rules or Rules()
        self.seed = seed
        self.invoice = billing.Invoice()
        self.cache = Cache(self.rules, seed)
        self._keys = keys
        self._requests = 0

    def handle(
        self, request: bytes | JsonObject, headers: Mapping[str, str], now_ms: int, *, instant: bool = False
    ) -> Answer:
        """Answer POST /v1/messages for a request that starts at `now_ms`.

        `request` is the body, as bytes or already decoded. An `instant` answer takes no time, so what it writes can be
        read at once.
        """
        return self._answered(self._message, request, headers, now_ms, instant)

    def count_tokens(self, request: bytes | JsonObject, headers: Mapping[str, str], now_ms: int) -> Answer:
        """Answer POST /v1/messages/count_tokens: free, and the cache plays no part in it."""
        return self._answered(self._count, request, headers, now_ms, True)

    def list_models(self, headers: Mapping[str, str], now_ms: int, name: str | None = None) -> Answer:
        """Answer GET /v1/models, or /v1/models/`name`."""
        return self._answered(self._models, {"name": name}, headers, now_ms, True)

    def refuse(self, error: ApiError, now_ms: int) -> Answer:
        """Answer with an error that was found outside, such as a path that does not exist."""
        request_id = self._next_id("req_011")
        return Answer(
            status=error.status,
            headers=answer_headers(request_id, self.seed, now_ms),
            body=envelope(error, request_id),
        )

    def _answered(
        self, work: Work, request: bytes | JsonObject, headers: Mapping[str, str], now_ms: int, instant: bool
    ) -> Answer:
        lowered = {name.lower(): value for name, value in headers.items()}
        try:
            caller = self._caller(lowered)
            body = checks.decode(request) if isinstance(request, bytes) else request
            answer: Answer = work(body, caller, now_ms, instant)
        except ApiError as error:
            return self.refuse(error, now_ms)
        except RecursionError:
            return self.refuse(bad_request("The request body is nested too deeply"), now_ms)
        return answer

    def _caller(self, headers: Mapping[str, str]) -> Caller:
        key = checks.credential(headers)
        if self._keys is not None and key not in self._keys:
            raise ApiError(401, "invalid x-api-key")
        return Caller(sha256(key.encode()).hexdigest()[:16], checks.version(headers), checks.betas(headers))

    def _message(self, request: JsonObject, caller: Caller, now_ms: int, instant: bool) -> Answer:
        model = checks.served_model(request, now_ms)
        checks.check_message(request, model, caller.api_version)
        prompt = render(request, model, self.rules, caller.betas)
        marks = breakpoints(request, prompt, self.rules)
        _check_length(prompt, model)
        use = self.cache.look_up(caller.workspace, prompt, marks, model, now_ms)
        spoken = _reply(request, model, self.seed)
        first_token_ms, duration_ms = (0, 0) if instant else self._pace(use, spoken)
        if len(self.invoice.lines) % _EXPIRE_EVERY == 0:
            self.cache.expire(now_ms)
        self.cache.commit(caller.workspace, prompt, use, now_ms, now_ms + first_token_ms)
        request_id, message_id = self._next_id("req_011"), self._next_id("msg_01")
        terms = _terms(request, model, now_ms)
        self.invoice.add(request_id, message_id, caller.workspace, terms, _classes(use, spoken))
        message = _message_json(message_id, model, spoken, _usage_json(request, use, spoken, terms))
        return Answer(
            status=200,
            headers=answer_headers(request_id, self.seed, now_ms),
            body=message,
            events=stream.events(message, first_token_ms, duration_ms) if request.get("stream") else (),
            first_token_ms=first_token_ms,
            duration_ms=duration_ms,
        )

    def _count(self, request: JsonObject, _caller: Caller, now_ms: int, _instant: bool) -> Answer:
        model = checks.served_model(request, now_ms)
        checks.check_prompt(request, model)
        return self._plain({"input_tokens": render(request, model, self.rules).total_tokens}, now_ms)

    def _models(self, request: JsonObject, _caller: Caller, now_ms: int, _instant: bool) -> Answer:
        if request["name"] is None:
            listed = [_model_json(model, now_ms) for model in models.MODELS]
            ends = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
            return self._plain({"data": listed, "has_more": False, **ends}, now_ms)
        model = models.find(request["name"])
        if model is None:
            raise ApiError(404, f"model: {request['name']}")
        return self._plain(_model_json(model, now_ms), now_ms)

    def _plain(self, body: JsonObject, now_ms: int) -> Answer:
        return Answer(status=200, headers=answer_headers(self._next_id("req_011"), self.seed, now_ms), body=body)

    def _pace(self, use: CacheUse, spoken: agents.Reply) -> tuple[int, int]:
        """Return when the first token and the last one are out, in milliseconds after the start."""
        fresh = use.uncached + use.write_5m + use.write_1h
        first = self.rules.first_token_ms + fresh * self.rules.uncached_ms_per_1000_tokens // 1_000
        return first, first + spoken.output_tokens * self.rules.output_token_ms

    def _next_id(self, prefix: str) -> str:
        self._requests += 1
        return prefix + sha256(f"{self.seed}:{self._requests}".encode()).hexdigest()[:22]


def _check_length(prompt: Prompt, model: Model) -> None:
    if prompt.total_tokens > model.context_tokens:
        raise bad_request(f"prompt is too long: {prompt.total_tokens} tokens > {model.context_tokens} maximum")


def _reply(request: JsonObject, model: Model, seed: int) -> agents.Reply:
    if request["max_tokens"] == 0:
        return agents.Reply([], "max_tokens", 0, 0)
    return agents.reply(request, model, seed)


def _terms(request: JsonObject, model: Model, now_ms: int) -> billing.Terms:
    fast = request.get("speed") == "fast" and model.fast == "priced"
    geo = request.get("inference_geo") or ("global" if model.inference_geo else "not_available")
    return billing.Terms(model.name, now_ms, "standard", "fast" if fast else "standard", str(geo))


def _classes(use: CacheUse, spoken: agents.Reply) -> billing.Classes:
    return billing.Classes(
        uncached_input_tokens=use.uncached,
        cache_read_input_tokens=use.cache_read,
        cache_write_5m_input_tokens=use.write_5m,
        cache_write_1h_input_tokens=use.write_1h,
        output_tokens=spoken.output_tokens,
        web_search_requests=spoken.web_search_requests,
    )


def _usage_json(request: JsonObject, use: CacheUse, spoken: agents.Reply, terms: billing.Terms) -> JsonObject:
    usage: JsonObject = {
        "input_tokens": use.uncached,
        "cache_creation_input_tokens": use.write_5m + use.write_1h,
        "cache_read_input_tokens": use.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": use.write_5m, "ephemeral_1h_input_tokens": use.write_1h},
        "output_tokens": spoken.output_tokens,
        "service_tier": terms.service_tier,
        "inference_geo": terms.inference_geo,
    }
    if request.get("speed"):
        usage["speed"] = terms.speed
    if spoken.thinking_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": spoken.thinking_tokens}
    if spoken.web_search_requests:
        usage["server_tool_use"] = {"web_search_requests": spoken.web_search_requests, "web_fetch_requests": 0}
    return usage


def _message_json(message_id: str, model: Model, spoken: agents.Reply, usage: JsonObject) -> JsonObject:
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model.name,
        "content": spoken.content,
        "stop_reason": spoken.stop_reason,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
    }


def _model_json(model: Model, now_ms: int) -> JsonObject:
    retired = models.is_retired(model, now_ms)
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name.replace("claude-", "Claude ").replace("-", " ").title(),
        "created_at": f"{model.released or '1970-01-01'}T00:00:00Z",
        "lifecycle": "retired" if retired else "deprecated" if model.retires else "active",
        "line": model.line,
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
        "retires_at": f"{model.retires}T00:00:00Z" if model.retires else None,
    }
