"""The ASGI face, over a real loopback socket: paths, headers, encodings, bytes, and the official SDK."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import anthropic
import pytest
import uvicorn

from scrimp.clock import SystemClock, VirtualClock
from scrimp.sim.app import SimApp, create_app
from scrimp.sim.encodings import DECODERS
from scrimp.sim.faults import Fault, Faults, Kind
from scrimp.sim.machine import Simulator
from scrimp.sim.models import day_ms
from scrimp.sim.rules import Rules

HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01", "content-type": "application/json"}
SYSTEM = [{"type": "text", "text": "careful " * 1_000, "cache_control": {"type": "ephemeral"}}]
REQUEST: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 500,
    "system": SYSTEM,
    "messages": [{"role": "user", "content": "hello"}],
}


@contextmanager
def _served(app: SimApp) -> Iterator[int]:
    """Serve an application on a free port of this machine, until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def _app(**switches: Any) -> SimApp:
    return create_app(Simulator(seed=1), SystemClock(), **switches)


def _send(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        sent = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, sent, HEADERS if headers is None else headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_messages_are_answered_whole_and_streamed() -> None:
    """With and without ?beta=true; the second request reads what the first wrote; both are on the invoice."""
    app = _app()
    with _served(app) as port:
        status, headers, body = _send(port, "POST", "/v1/messages?beta=true", REQUEST)
        assert (200, "application/json") == (status, headers["content-type"])
        message = json.loads(body)
        status, streamed, events = _send(port, "POST", "/v1/messages", {**REQUEST, "stream": True})
        assert (200, "text/event-stream; charset=utf-8") == (status, streamed["content-type"])
        invoice = json.loads(_send(port, "GET", "/__sim/invoice", headers={})[2])
    start = json.loads(events.split(b"\n")[1].removeprefix(b"data: "))["message"]["usage"]
    assert message["usage"]["cache_creation_input_tokens"] == start["cache_read_input_tokens"] > 0
    assert events.startswith(b"event: message_start\n")
    assert events.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert headers["request-id"] != streamed["request-id"]
    assert {"anthropic-organization-id", "anthropic-ratelimit-requests-remaining"} <= headers.keys()
    assert [headers["request-id"], streamed["request-id"]] == [line["request_id"] for line in invoice["lines"]]
    assert app.simulator.invoice.cost_nano_usd == invoice["cost_nano_usd"] > 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("HEAD", "/api/hello", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models?limit=1000", 200),
        ("GET", "/v1/models/claude-opus-5-5", 200),
        ("GET", "/v1/models/nope", 404),
        ("GET", "/v1/messages", 404),
        ("POST", "/v1/complete", 404),
        ("GET", "/", 404),
        ("HEAD", "/nope", 404),
    ],
)
def test_each_path_has_its_answer(method: str, path: str, status: int) -> None:
    """What is not served is the API's own 404."""
    with _served(_app()) as port:
        answered, headers, body = _send(port, method, path)
    assert status == answered
    if method == "HEAD":
        assert body == b""
    elif status == 404:
        assert {"error", "not_found_error"} == {json.loads(body)["type"], json.loads(body)["error"]["type"]}
        assert headers["request-id"] == json.loads(body)["request_id"]


def test_tokens_are_counted() -> None:
    """POST /v1/messages/count_tokens needs no max_tokens."""
    with _served(_app()) as port:
        body = {name: value for name, value in REQUEST.items() if name != "max_tokens"}
        status, _, answer = _send(port, "POST", "/v1/messages/count_tokens?beta=true", body)
    assert (200, ["input_tokens"]) == (status, list(json.loads(answer)))


@pytest.mark.parametrize(("body", "status"), [(b"not json", 400), (b"", 400), (b" " * 33_554_433, 413)])
def test_a_bad_body_is_refused(body: bytes, status: int) -> None:
    """In the envelope, and the server goes on."""
    with _served(_app()) as port:
        assert status == _send(port, "POST", "/v1/messages", body)[0]
        assert 200 == _send(port, "POST", "/v1/messages", REQUEST)[0]


@pytest.mark.parametrize("stream", [True, False])
def test_an_accepted_encoding_is_used_only_where_it_is_on(stream: bool) -> None:
    """The decoded bytes are the plain ones."""
    asked = {**HEADERS, "accept-encoding": "gzip"}
    bodies = []
    for compress in (True, False):
        app = create_app(Simulator(seed=1), VirtualClock(day_ms("2026-11-22")), compress=compress)
        with _served(app) as port:
            _, headers, body = _send(port, "POST", "/v1/messages", {**REQUEST, "stream": stream}, asked)
        assert ("gzip" if compress else None) == headers.get("content-encoding")
        bodies.append(gzip.decompress(body) if compress else body)
    assert bodies[0] == bodies[1]


def test_request_bytes_are_kept_by_wish() -> None:
    """White space, key order and headers as they came; nothing is kept unless asked."""
    raw = b'{ "max_tokens":5 , "model":"claude-opus-5-5","messages":[{"role":"user","content":"\\u00e4"}]}'
    for record in (True, False):
        app = _app(record=record)
        with _served(app) as port:
            _send(port, "POST", "/v1/messages", raw)
        assert [(raw, sha256(raw).hexdigest(), "/v1/messages")] * record == [
            (each.body, each.sha256, each.path) for each in app.recorded
        ]
        assert not record or ("x-api-key", "sk-a") in app.recorded[0].headers


class _Slept:
    """Stands in for asyncio.sleep: remembers how long it was asked to wait, and does not."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def _ask(app: SimApp, request: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(request).encode()}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    await app({"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers}, receive, send)
    return sent


@pytest.mark.parametrize("stream", [True, False])
def test_in_real_time_an_answer_takes_its_time(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """All waits add up to the answer's duration; otherwise there are none."""
    rules = Rules(first_token_ms=1_000, output_token_ms=100)
    request = {**REQUEST, "stream": stream}
    expected = Simulator(rules, 1).handle(request, HEADERS, 0).duration_ms
    for realtime in (True, False):
        slept = _Slept()
        monkeypatch.setattr("scrimp.sim.app.asyncio.sleep", slept)
        sent = asyncio.run(_ask(create_app(Simulator(rules, 1), VirtualClock(), realtime=realtime), request))
        assert pytest.approx(expected / 1_000 if realtime else 0) == sum(slept.seconds)
        assert not sent[-1].get("more_body")


def test_the_lifespan_is_acknowledged() -> None:
    """A server that starts and stops the application gets its answers; other kinds of connection are left alone."""
    incoming = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(incoming)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    def serve(kind: str) -> Awaitable[None]:
        return _app()({"type": kind}, receive, send)

    async def both() -> None:
        await serve("lifespan")
        await serve("websocket")

    asyncio.run(both())
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent


# --- faults ------------------------------------------------------------------------------------------------------


def _failing(kind: Kind, where_ppm: int = 500_000, **switches: Any) -> SimApp:
    """Return an application whose every answer has this fault, at this place."""
    app = _app(**switches)
    app.faults = _Always(kind, where_ppm)
    return app


class _Always(Faults):
    """The same fault for every request."""

    def __init__(self, kind: Kind, where_ppm: int) -> None:
        super().__init__(0, {})
        self._fault = Fault(kind, where_ppm)

    def next(self) -> Fault:
        """Return it again."""
        return self._fault


@pytest.mark.parametrize(
    ("kind", "status", "kind_of_body"),
    [
        ("rate_limit", 429, "application/json"),
        ("spend_limit", 429, "application/json"),
        ("overloaded", 529, "application/json"),
        ("server_error", 500, "application/json"),
        ("bad_gateway", 502, "text/html"),
        ("error_first", 200, "text/event-stream; charset=utf-8"),
    ],
)
def test_a_request_is_refused_before_any_work(kind: Kind, status: int, kind_of_body: str) -> None:
    """Nothing is billed; other paths are left alone."""
    app = _failing(kind)
    with _served(app) as port:
        answered, headers, _ = _send(port, "POST", "/v1/messages", {**REQUEST, "stream": True})
        assert 200 == _send(port, "GET", "/v1/models")[0]
    assert (status, kind_of_body) == (answered, headers["content-type"])
    assert [] == app.simulator.invoice.lines


def test_an_error_event_is_a_status_where_there_is_no_stream() -> None:
    """A plain request is told by 529."""
    with _served(_failing("error_first")) as port:
        assert 529 == _send(port, "POST", "/v1/messages", REQUEST)[0]


@pytest.mark.parametrize(("kind", "billed"), [("reset", 0), ("lost", 1)])
def test_a_connection_breaks_before_a_status(kind: Kind, billed: int) -> None:
    """Over a real socket not a byte comes back, even of a server that answers every error."""
    app = _failing(kind)
    with _served(app) as port, pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        _send(port, "POST", "/v1/messages", REQUEST)
    assert [False] * billed == [line.usage_arrived for line in app.simulator.invoice.lines]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("kind", ["cut", "end"])
def test_a_stream_stops_in_the_middle(kind: Kind, compress: bool) -> None:
    """Over a real socket: cut, the client sees that something is missing; ended, it does not."""
    app = _failing(kind, compress=compress)
    headers = {**HEADERS, "accept-encoding": "gzip"}
    with _served(app) as port:
        if kind == "cut":
            with pytest.raises(http.client.IncompleteRead) as caught:
                _send(port, "POST", "/v1/messages", {**REQUEST, "stream": True}, headers)
            body = caught.value.partial
        else:
            body = _send(port, "POST", "/v1/messages", {**REQUEST, "stream": True}, headers)[2]
    plain = DECODERS["gzip"]()(body) if compress else body
    assert plain.startswith(b"event: message_start")
    assert b"message_stop" not in plain
    (line,) = app.simulator.invoice.lines
    assert not line.usage_arrived


@pytest.mark.parametrize("kind", ["slow", "silent", "pings", "duplicate"])
def test_what_comes_late_is_whole(monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """It takes longer in real time, and is billed in full."""
    whole = Simulator(Rules(), 1).handle({**REQUEST, "stream": True}, HEADERS, 0)
    slept = _Slept()
    monkeypatch.setattr("scrimp.sim.app.asyncio.sleep", slept)
    app = create_app(Simulator(Rules(), 1), VirtualClock(), realtime=True, faults=_Always(kind, 500_000))
    sent = asyncio.run(_ask(app, {**REQUEST, "stream": True}))
    assert sent[-1]["body"] == b""
    assert (kind == "duplicate") is (sum(slept.seconds) == pytest.approx(whole.duration_ms / 1_000))
    assert b"".join(each.get("body", b"") for each in sent).endswith(whole.events[-1].encode())
    assert app.simulator.invoice.lines[0].usage_arrived


def test_a_client_that_leaves_is_billed_for_what_it_was_sent() -> None:
    """The rest is never sent, and its output is never made."""
    app = create_app(Simulator(Rules(), 1), VirtualClock())
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            return {"type": "http.request", "body": json.dumps({**REQUEST, "stream": True}).encode()}
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers}
    asyncio.run(app(scope, receive, send))
    whole = Simulator(Rules(), 1).handle({**REQUEST, "stream": True}, HEADERS, 0)
    (line,) = app.simulator.invoice.lines
    assert len(sent) < len(whole.events)
    assert not line.usage_arrived
    assert line.classes.output_tokens < whole.body["usage"]["output_tokens"]


def test_a_client_that_leaves_in_a_silence_is_not_waited_for() -> None:
    """The answer would take hours; it is billed, up to where it was, as soon as the client has gone."""
    rules = Rules(first_token_ms=0, output_token_ms=3_600_000)
    app = create_app(Simulator(rules, 1), VirtualClock(), realtime=True)
    begun = asyncio.Event()

    async def send(message: Any) -> None:
        if message.get("body"):
            begun.set()

    async def receive() -> dict[str, Any]:
        if begun.is_set():
            return {"type": "http.disconnect"}
        if app.simulator.invoice.requests:
            await begun.wait()
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": json.dumps({**REQUEST, "stream": True}).encode()}

    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers}
    asyncio.run(app(scope, receive, send))
    assert [False] == [line.usage_arrived for line in app.simulator.invoice.lines]


# --- the official SDK ----------------------------------------------------------------------------------------------


def _in_one_piece(client: anthropic.Anthropic) -> anthropic.types.Message:
    message: anthropic.types.Message = client.messages.create(**REQUEST)
    return message


def _streamed(client: anthropic.Anthropic) -> anthropic.types.Message:
    with client.messages.stream(**REQUEST) as stream:
        message: anthropic.types.Message = stream.get_final_message()
    return message


@pytest.mark.parametrize("ask", [_in_one_piece, _streamed])
@pytest.mark.parametrize("compress", [True, False])
def test_the_official_sdk_understands_us(
    ask: Callable[[anthropic.Anthropic], anthropic.types.Message], compress: bool
) -> None:
    """It reads message, usage with its split, request id and the cache's work, whole and streamed."""
    app = _app(record=True, compress=compress)
    with _served(app) as port, anthropic.Anthropic(api_key="sk-fake", base_url=f"http://127.0.0.1:{port}") as client:
        first, second = ask(client), ask(client)
        assert REQUEST["model"] == client.models.retrieve("claude-opus-5-5").id
        with pytest.raises(anthropic.NotFoundError) as caught:
            client.messages.create(**{**REQUEST, "model": "nope"})
    created = first.usage.cache_creation
    assert created is not None
    assert created.ephemeral_5m_input_tokens == second.usage.cache_read_input_tokens
    assert "end_turn" == first.stop_reason
    assert [first.id, second.id] == [line.message_id for line in app.simulator.invoice.lines]
    assert [first.usage.output_tokens, second.usage.output_tokens] == [
        line.classes.output_tokens for line in app.simulator.invoice.lines
    ]
    assert caught.value.request_id is not None
    assert ("authorization", "Bearer sk-fake") in app.recorded[0].headers


def _run_tools(port: int) -> list[Any]:
    """Let the SDK's own tool runner work, which keeps its conversation in a thread where it can."""

    @anthropic.beta_tool
    def Bash(command: str, description: str) -> str:  # noqa: N802 - the tool's name
        """Run a command.

        Args:
            command: what to run
            description: why
        """
        return f"{command}: {description}"

    with anthropic.Anthropic(api_key="sk-fake", base_url=f"http://127.0.0.1:{port}") as client:
        messages: Any = [{"role": "user", "content": "SCENARIO:loop3 work"}]
        runner = client.beta.messages.tool_runner(
            model="claude-opus-5-5", max_tokens=2_000, messages=messages, tools=[Bash]
        )
        return list(runner)


@pytest.mark.parametrize(
    ("threads", "asked"), [(True, ["create", *["continue"] * 3]), (False, ["create", *[None] * 4])]
)
def test_the_official_tool_runner_threads_where_it_can(threads: bool, asked: list[str | None]) -> None:
    """Served, it sends only what is new; refused, it goes on with everything. Both hear and pay the same."""
    app = create_app(Simulator(Rules(threads=threads), 1), SystemClock(), record=True)
    with _served(app) as port:
        heard = _run_tools(port)
    bodies = [json.loads(each.body) for each in app.recorded]
    assert asked == [(body.get("thread") or {}).get("type") for body in bodies]
    assert ["tool_use"] * 3 + ["end_turn"] == [message.stop_reason for message in heard]
    lines = app.simulator.invoice.lines
    assert [message.id for message in heard] == [line.message_id for line in lines]
    sizes = [line.classes.total_input_tokens for line in lines]
    assert sizes == sorted(set(sizes))
    plain = Simulator(Rules(), 1).handle({**bodies[0], "thread": None}, HEADERS, 0)
    assert plain.body["usage"]["input_tokens"] == sizes[0]
