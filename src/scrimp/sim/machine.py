"""The simulated API as one machine: a request and the time go in, an answer comes out.

It does no I/O and reads no clock. The state is the cache, the limits, threads and fingerprints that are remembered, the
invoice, and a counter that makes ids; the same seed and
the same requests at the same times give the same answers, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256

import msgspec

from scrimp.sim import agents, billing, binding, bodies, checks, models, stream, tokens
from scrimp.sim.blocks import JsonObject
from scrimp.sim.cache import Cache, CacheUse
from scrimp.sim.diagnostics import Diagnostics, fingerprint
from scrimp.sim.errors import ApiError, bad_request, envelope
from scrimp.sim.headers import answer_headers
from scrimp.sim.limits import COUNTING, Limits, pool_of
from scrimp.sim.marks import breakpoints
from scrimp.sim.models import Model
from scrimp.sim.render import Prompt, render
from scrimp.sim.rules import Rules
from scrimp.sim.sampling import Setting, iterations, parts_of
from scrimp.sim.threads import Threads, refuse_thread


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

    def encode(self) -> bytes:
        """Return the whole body, where it is not streamed."""
        return json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode()

    def seen_events(self, plain_bytes: int) -> Iterator[stream.Event]:
        """Yield the events that are whole within the first `plain_bytes` of the body."""
        for event in self.events:
            plain_bytes -= len(event.encode())
            if plain_bytes < 0:
                return
            yield event


class Caller(msgspec.Struct, frozen=True):
    """Who asks and how: the workspace is a digest of the credential, `host` the name that we were asked under."""

    workspace: str
    api_version: str
    betas: frozenset[str]
    host: str


Work = Callable[[JsonObject, Caller, int, bool], Answer]

#: How often, in billed requests, the entries that have run out are forgotten.
_EXPIRE_EVERY = 1_000


class Simulator:
    """The Claude API, seeded.

    `keys` are the credentials that it accepts, each with the name of its workspace; None accepts any, and each is then
    a workspace of its own.
    """

    def __init__(self, rules: Rules | None = None, seed: int = 0, keys: Mapping[str, str] | None = None) -> None:
        self.rules = rules or Rules()
        self.seed = seed
        self.invoice = billing.Invoice()
        self.cache = Cache(self.rules, seed)
        self.limits = Limits(self.rules.tier, enforce=self.rules.enforce_limits, own=_own_limits(self.rules))
        self.threads = Threads(self.rules)
        self.diagnostics = Diagnostics(self.rules)
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

    def refuse(self, error: ApiError) -> Answer:
        """Answer with an error that was found outside, such as a path that does not exist."""
        request_id = self._next_id("req_011")
        return Answer(
            status=error.status,
            headers=answer_headers(request_id, self.seed, error.headers),
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
            return self.refuse(error)
        except RecursionError:
            return self.refuse(bad_request("The request body is nested too deeply"))
        return answer

    def _caller(self, headers: Mapping[str, str]) -> Caller:
        key = checks.credential(headers)
        if self._keys is not None and key not in self._keys:
            raise ApiError(401, "invalid x-api-key")
        workspace = sha256(key.encode()).hexdigest()[:16] if self._keys is None else self._keys[key]
        return Caller(workspace, checks.version(headers), checks.betas(headers), headers.get("host") or agents.HOST)

    def _message(self, sent: JsonObject, caller: Caller, now_ms: int, instant: bool) -> Answer:
        model = checks.served_model(sent, now_ms)
        whole = self.threads.whole(sent, caller.workspace, caller.betas, now_ms)
        checks.check_message(whole, model, caller.api_version)
        checks.check_speed(whole, model, caller.betas, now_ms)
        checks.check_zero_allowed(whole, model, self.rules.refuse_zero_tokens)
        setting, dropped = self._setting(whole, model, caller)
        use = self.cache.look_up(caller.workspace, setting.prompt, setting.marks, model, now_ms)
        self.limits.admit(caller.workspace, _pool(setting), use.written + use.uncached, now_ms)
        spoken = _reply(setting, self.seed, caller.host)
        first_token_ms, duration_ms = (0, 0) if instant else self._pace(use, spoken)
        parts = self._parts(setting, use, spoken, now_ms, now_ms + first_token_ms)
        request_id, message_id = self._next_id("req_011"), self._next_id("msg_01")
        usage = self._bill((request_id, message_id), setting, parts, spoken, now_ms)
        beside = {"input_transformations": dropped} if dropped else {}
        beside |= self._diagnosis(sent, setting, use, message_id)
        message = bodies.message_json(message_id, model, spoken, usage, beside)
        self.threads.keep(sent, whole, message, caller.workspace, now_ms + duration_ms)
        return Answer(
            status=200,
            headers=answer_headers(
                request_id, self.seed, self.limits.headers(caller.workspace, _pool(setting), now_ms)
            ),
            body=message,
            events=stream.events(message, first_token_ms, duration_ms) if whole.get("stream") else (),
            first_token_ms=first_token_ms,
            duration_ms=duration_ms,
        )

    def _setting(self, request: JsonObject, model: Model, caller: Caller) -> tuple[Setting, list[JsonObject]]:
        """Return the request as it is answered, and the thinking that it was answered without."""
        prompt = render(request, model, self.rules, caller.betas)
        dropped = binding.transformations(request, prompt, model, self.rules, caller.betas)
        if dropped:
            request = binding.without(request, dropped)
            prompt = render(request, model, self.rules, caller.betas)
        marks = breakpoints(request, prompt, self.rules)
        _check_length(prompt, model)
        return Setting(request, model, caller.workspace, caller.betas, prompt, marks), dropped

    def _parts(
        self, setting: Setting, use: CacheUse, spoken: agents.Reply, now_ms: int, first_token_at_ms: int
    ) -> tuple[billing.Classes, ...]:
        """Write to the cache what the answer's iterations write, and return what each of them used."""
        if self.invoice.requests % _EXPIRE_EVERY == 0:
            self.cache.expire(now_ms)
        self.cache.commit(setting.workspace, setting.prompt, use, now_ms, first_token_at_ms)
        found = iterations(setting, use, spoken.content, self.cache, self.rules, first_token_at_ms)
        return parts_of(found, spoken, setting.model)

    def _bill(
        self,
        ids: tuple[str, str],
        setting: Setting,
        parts: tuple[billing.Classes, ...],
        spoken: agents.Reply,
        now_ms: int,
    ) -> JsonObject:
        """Bill an answer under its ids, count it against the limits, and return its usage."""
        terms, whole = bodies.terms_of(setting.request, setting.model, now_ms), billing.added(parts)
        judged = parts if self.rules.band_per == "iteration" else (whole,)
        self.invoice.add(*ids, setting.workspace, terms, judged)
        counted = whole.total_input_tokens - whole.cache_read_input_tokens
        self.limits.spend(setting.workspace, _pool(setting), counted, whole.output_tokens, now_ms)
        return bodies.usage_json(setting.request, parts, spoken, terms)

    def _diagnosis(self, sent: JsonObject, setting: Setting, use: CacheUse, message_id: str) -> JsonObject:
        if not self.diagnostics.asked(sent, setting.betas):
            return {}
        cached = use.cache_read + use.written
        now = fingerprint(setting.workspace, setting.request, setting.prompt, setting.model, cached)
        compared = self.diagnostics.compare(sent, now, use.cache_read)
        self.diagnostics.keep(message_id, now)
        return {"diagnostics": compared}

    def cut_off(self, answer: Answer, plain_bytes: int) -> None:
        """Bill an answer of which the client could see only the first `plain_bytes` of the body, uncompressed.

        What it read stays in the cache, and its final usage counts as arrived where it was among those bytes.
        """
        request_id = dict(answer.headers).get("request-id", "")
        if not answer.events:
            if plain_bytes < len(answer.encode()):
                self.invoice.cut(request_id)
            return
        seen = list(answer.seen_events(plain_bytes))
        if any(stream.ends_usage(event) for event in seen):
            return
        model = models.find(answer.body["model"])
        if model is not None and self.rules.cut_bill == "streamed":
            shown = sum(tokens.text_tokens(stream.shown_text(event), model) for event in seen)
            self.invoice.cut(request_id, max(stream.FIRST_OUTPUT_TOKENS, shown) + self.rules.cut_ahead_tokens)
        else:
            self.invoice.cut(request_id)

    def _count(self, request: JsonObject, caller: Caller, now_ms: int, _instant: bool) -> Answer:
        model = checks.served_model(request, now_ms)
        refuse_thread(request)
        checks.check_prompt(request, model)
        self.limits.admit(caller.workspace, COUNTING, 0, now_ms)
        self.limits.spend(caller.workspace, COUNTING, 0, 0, now_ms)
        return self._plain({"input_tokens": render(request, model, self.rules).total_tokens})

    def _models(self, request: JsonObject, _caller: Caller, now_ms: int, _instant: bool) -> Answer:
        if request["name"] is None:
            listed = [bodies.model_json(model, now_ms) for model in models.MODELS]
            ends = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
            return self._plain({"data": listed, "has_more": False, **ends})
        model = models.find(request["name"])
        if model is None:
            raise ApiError(404, f"model: {request['name']}")
        return self._plain(bodies.model_json(model, now_ms))

    def _plain(self, body: JsonObject) -> Answer:
        return Answer(status=200, headers=answer_headers(self._next_id("req_011"), self.seed), body=body)

    def _pace(self, use: CacheUse, spoken: agents.Reply) -> tuple[int, int]:
        """Return when the first token and the last one are out, in milliseconds after the start."""
        uncached_ms = (use.uncached + use.written) * self.rules.uncached_ms_per_1000_tokens // 1_000
        first = self.rules.first_token_ms + uncached_ms
        return first, first + spoken.output_tokens * self.rules.output_token_ms

    def _next_id(self, prefix: str) -> str:
        self._requests += 1
        return prefix + sha256(f"{self.seed}:{self._requests}".encode()).hexdigest()[:22]


def _own_limits(rules: Rules) -> dict[str, int]:
    amounts = {
        "requests": rules.requests_per_minute,
        "input_tokens": rules.input_tokens_per_minute,
        "output_tokens": rules.output_tokens_per_minute,
    }
    return {name: amount for name, amount in amounts.items() if amount is not None}


def _check_length(prompt: Prompt, model: Model) -> None:
    if prompt.total_tokens > model.context_tokens:
        raise bad_request(f"prompt is too long: {prompt.total_tokens} tokens > {model.context_tokens} maximum")


def _reply(setting: Setting, seed: int, host: str) -> agents.Reply:
    if setting.request["max_tokens"] == 0:
        return agents.Reply([], "max_tokens", 0, 0)
    prefix = binding.prefix_of(setting.prompt) if agents.may_think(setting.request, setting.model) else ""
    return agents.reply(setting.request, setting.model, seed, prefix=prefix, host=host)


def _pool(setting: Setting) -> str:
    fast = setting.request.get("speed") == "fast" and setting.model.fast == "priced"
    return pool_of(setting.model, fast=fast)
