"""The gateway as a client sees it: through the simulator, in this process, byte for byte."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError, UpstreamUnavailable
from scrimp.gateway.app import create_app
from scrimp.gateway.hosts import host_check
from scrimp.gateway.services import Services
from scrimp.sim.app import SimApp
from scrimp.sim.app import create_app as create_sim
from scrimp.sim.machine import Simulator
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.client import RawHeaders, Upstream, UpstreamRequest, UpstreamResponse
from scrimp.upstream.pricefeed import load_book

START_MS = 1_790_000_000_000
KEY: RawHeaders = [
    (b"x-api-key", b"sk-fake"),
    (b"anthropic-version", b"2023-06-01"),
    (b"content-type", b"application/json"),
]


class Stack:
    """A client, the gateway, its ledger and the simulator behind it."""

    def __init__(self, upstream: Upstream | None = None, *, compress: bool = False, limit: int = 1 << 20) -> None:
        clock = VirtualClock(START_MS)
        self.sim: SimApp = create_sim(Simulator(seed=1), clock, compress=compress, record=True)
        self.ledger = MemoryLedger()
        ids = iter(range(1, 1000))
        services = Services(
            upstream=upstream or AsgiUpstream(self.sim),
            ledger=self.ledger,
            prices=load_book(),
            clock=clock,
            new_id=lambda _: f"ex{next(ids)}",
            body_limit_bytes=limit,
        )
        self.gateway = create_app(services)
        self.client = AsgiUpstream(self.gateway)

    def send(
        self,
        body: bytes,
        headers: RawHeaders | None = None,
        target: str = "/v1/messages?beta=true",
        method: str = "POST",
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request through the gateway and return status, headers and body."""

        async def exchange() -> tuple[int, dict[str, str], bytes]:
            pairs = [*KEY, *(headers or []), (b"content-length", str(len(body)).encode())]
            response = await self.client.send(UpstreamRequest(method, target, pairs, body))
            answer = b"".join([chunk async for chunk in response.chunks()])
            await response.aclose()
            return response.status, {k.decode(): v.decode() for k, v in response.headers}, answer

        return asyncio.run(exchange())

    def exchanges(self) -> list[Exchange]:
        """Return what the ledger holds."""
        return list(self.ledger.exchanges())


def body(**fields: Any) -> bytes:
    """Return a request body with spaces and key order that no encoder of ours would make."""
    base = {
        "messages": [{"content": "SCENARIO:hello  you", "role": "user"}],
        "model": "claude-opus-5-5",
        "max_tokens": 9000,
    }
    return json.dumps({**base, **fields}, indent=1).encode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("coding", [None, b"gzip", b"br", b"zstd"])
def test_the_ledger_holds_what_the_simulator_billed(coding: bytes | None, stream: bool) -> None:
    """Plain or streamed, compressed or not: usage, ids and cost equal the invoice line."""
    stack = Stack(compress=True)
    accept = [(b"accept-encoding", coding)] if coding else []
    status, headers, _ = stack.send(body(stream=stream, cache_control={"type": "ephemeral"}), accept)
    (line,), (exchange,) = stack.sim.simulator.invoice.lines, stack.exchanges()

    assert 200 == status
    assert (coding.decode() if coding else None) == headers.get("content-encoding")
    assert line.cost_nano_usd == exchange.cost_nano_usd == exchange.baseline_cost_nano_usd
    assert (line.message_id, line.request_id) == (exchange.message_id, exchange.request_id)
    assert exchange.usage is not None
    assert line.classes.output_tokens == exchange.usage.output_tokens
    assert ("ex1", "observe") == (headers["scrimp-exchange"], headers["scrimp-plan"])
    assert (200, True, True, "end_turn") == (
        exchange.http_status,
        exchange.usage_complete,
        exchange.planned,
        exchange.stop_reason,
    )
    assert START_MS == exchange.opened_at_ms == exchange.first_token_at_ms == exchange.closed_at_ms


def test_bytes_are_untouched_in_both_directions() -> None:
    """What the client sent is what arrives, and what the API answered is what comes back."""
    stack, bare = Stack(), Stack()
    sent = body(stream=True, unknown_field={"a": [1, 2.50, 1e3]})
    through = stack.send(sent)[2]
    direct = asyncio.run(_direct(bare.sim, sent))

    assert sent == stack.sim.recorded[0].body
    assert "/v1/messages" == stack.sim.recorded[0].path
    assert direct == through


async def _direct(sim: SimApp, sent: bytes) -> bytes:
    response = await AsgiUpstream(sim).send(UpstreamRequest("POST", "/v1/messages?beta=true", KEY, sent))
    return b"".join([chunk async for chunk in response.chunks()])


def test_headers_travel_and_ours_stop_here() -> None:
    """The client's headers arrive as they are; scrimp-* headers are consumed and recorded."""
    stack = Stack()
    stack.send(
        body(),
        [(b"anthropic-beta", b"a,b"), (b"scrimp-task", b"nightly"), (b"scrimp-session", b"s1"), (b"x-other", b"1")],
    )
    arrived = dict(stack.sim.recorded[0].headers)
    (exchange,) = stack.exchanges()

    assert ("a,b", "1", "sk-fake") == (arrived["anthropic-beta"], arrived["x-other"], arrived["x-api-key"])
    assert not [name for name in arrived if name.startswith("scrimp-")]
    assert ("nightly", "s1") == (exchange.task_tag, exchange.session_id)


@pytest.mark.parametrize(
    "raw",
    [
        b"not json",
        b"",
        b'{"model":"claude-opus-5-5","max_tokens":9,"messages":{}}',
        b"[" * 10_000,
        b'{"model":"claude-opus-5-5","max_tokens":1e400,"messages":[]}',
        b"\xff\xfe\x00",
    ],
)
def test_what_cannot_be_read_goes_through_unplanned(raw: bytes) -> None:
    """The API judges it, not we: same bytes, the API's own error, and a record."""
    stack = Stack()
    status, headers, answer = stack.send(raw)
    (exchange,) = stack.exchanges()

    assert raw == stack.sim.recorded[0].body
    assert 400 == status == exchange.http_status
    assert "error" == json.loads(answer)["type"]
    assert ("unplanned", False, None, None) == (
        headers["scrimp-plan"],
        exchange.planned,
        exchange.usage,
        exchange.cost_nano_usd,
    )
    assert "invalid_request_error" == exchange.error_type


def test_a_body_over_the_limit_is_streamed_through() -> None:
    """Nothing is lost and nothing is held: it is recorded as unplanned."""
    stack = Stack(limit=100)
    sent = body(system="x" * 5000)
    status, headers, _ = stack.send(sent)

    assert sent == stack.sim.recorded[0].body
    assert (200, "unplanned") == (status, headers["scrimp-plan"])
    (exchange,) = stack.exchanges()
    assert exchange.cost_nano_usd == stack.sim.simulator.invoice.cost_nano_usd


def test_an_unknown_model_is_recorded_without_a_price() -> None:
    """An error has no usage; its cost is unknown, not zero."""
    stack = Stack()
    stack.send(body(model="no-such-model"))
    (exchange,) = stack.exchanges()

    assert (404, "not_found_error", None, "no-such-model") == (
        exchange.http_status,
        exchange.error_type,
        exchange.cost_nano_usd,
        exchange.requested_model,
    )


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/claude-opus-5-5", 200),
        ("HEAD", "/api/hello", 200),
        ("POST", "/v1/messages/count_tokens?beta=true", 200),
        ("POST", "/v1/complete", 404),
        ("GET", "/v1/messages", 404),
    ],
)
def test_every_other_path_is_passed_through(method: str, target: str, status: int) -> None:
    """The API answers, the ledger stays empty."""
    stack = Stack()
    sent = body() if method == "POST" else b""
    got, headers, _ = stack.send(sent, None, target, method)

    assert status == got
    assert sent == stack.sim.recorded[0].body
    assert target.partition("?")[0] == stack.sim.recorded[0].path
    assert "scrimp-exchange" not in headers
    assert [] == stack.exchanges()


def test_health_is_ours() -> None:
    """The gateway says that it lives without asking upstream."""
    stack = Stack()

    assert (200, b'{"status":"ok"}') == stack.send(b"", None, "/healthz", "GET")[::2]
    assert [] == stack.sim.recorded


def test_health_tells_of_a_ledger_in_trouble() -> None:
    """It is still a 200: a load balancer must not take clients from a gateway that serves them."""
    stack = Stack()
    stack.ledger.trouble = LedgerError("The disk is full.")
    status, _, said = stack.send(b"", None, "/healthz", "GET")
    assert (200, "degraded") == (status, json.loads(said)["status"])
    stack.ledger.trouble = None
    assert b'{"status":"ok"}' == stack.send(b"", None, "/healthz", "GET")[2]


def test_a_page_of_another_domain_is_refused() -> None:
    """DNS rebinding: a real denial in the API's envelope, and nothing is sent or recorded."""
    stack = Stack()
    refusing = create_app(
        Services(
            upstream=AsgiUpstream(stack.sim),
            ledger=stack.ledger,
            prices=load_book(),
            clock=VirtualClock(0),
            host_check=host_check("127.0.0.1", ""),
        )
    )
    stack.client = AsgiUpstream(refusing)  # whose Host is asgi.invalid
    status, _, answer = stack.send(body())

    assert (403, "permission_error") == (status, json.loads(answer)["error"]["type"])
    assert [] == stack.sim.recorded
    assert [] == stack.exchanges()


class Down:
    """An upstream that nothing answers at."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:  # noqa: ARG002 - the seam's signature
        """Refuse."""
        raise UpstreamUnavailable("Nothing answered at http://upstream.invalid (refused).", "Check the address.")


@pytest.mark.parametrize("target", ["/v1/messages", "/v1/models"])
def test_an_upstream_that_is_down_is_an_outage(target: str) -> None:
    """One sentence in the API's envelope, with a status that clients retry."""
    stack = Stack(Down())
    status, _, answer = stack.send(body(), None, target)

    assert 502 == status
    assert "Nothing answered" in json.loads(answer)["error"]["message"]
    if target == "/v1/messages":
        (exchange,) = stack.exchanges()
        assert ("upstream_unavailable", None, None) == (
            exchange.error_type,
            exchange.http_status,
            exchange.cost_nano_usd,
        )


class Cut(UpstreamResponse):
    """A streamed answer that breaks off after its first bytes."""

    status = 200
    reason = "OK"

    def __init__(self) -> None:
        usage = {"input_tokens": 7, "output_tokens": 1}
        start = {"type": "message_start", "message": {"id": "msg_1", "model": "claude-opus-5-5", "usage": usage}}
        self.headers: RawHeaders = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
        self.sent = gzip.compress(f"event: message_start\ndata: {json.dumps(start)}\n\n".encode())

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give a little, then break."""
        yield self.sent
        raise ConnectionResetError

    async def aclose(self) -> None:
        """Have nothing to close."""


class CutUpstream:
    """An upstream whose answers break off."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:  # noqa: ARG002 - the seam's signature
        """Answer with a cut stream."""
        return Cut()


def test_a_cut_answer_is_cut_for_the_client_too() -> None:
    """A clean end would look like success; the ledger holds a lower bound."""
    stack = Stack(CutUpstream())

    with pytest.raises(ConnectionError):
        stack.send(body(stream=True))
    (exchange,) = stack.exchanges()
    assert ("upstream_cut", False, 200) == (exchange.error_type, exchange.usage_complete, exchange.http_status)
    assert exchange.usage is not None
    assert 7 == exchange.usage.uncached_input_tokens


def test_a_full_disk_does_not_stop_a_request() -> None:
    """The ledger failing is ours to live with, not the client's."""
    stack = Stack()
    stack.ledger.trouble = LedgerError("The disk is full.", "Free some space.")

    assert 200 == stack.send(body())[0]
    stack.ledger.trouble = None
    assert [stack.sim.simulator.invoice.cost_nano_usd] == [exchange.cost_nano_usd for exchange in stack.exchanges()]


def test_planning_that_fails_leaves_the_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is recorded as unplanned, and priced all the same."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("scrimp.engine.recorder.plan", broken)
    stack = Stack()
    status, headers, _ = stack.send(body())
    (exchange,) = stack.exchanges()

    assert (200, "unplanned", False) == (status, headers["scrimp-plan"], exchange.planned)
    assert stack.sim.simulator.invoice.cost_nano_usd == exchange.cost_nano_usd


def test_behind_another_gateway_of_ours_everything_is_for_that_one() -> None:
    """Tags reach the gateway that keeps the ledger, and its answers are not signed twice."""
    outer = Stack()
    inner = create_app(
        Services(
            upstream=AsgiUpstream(outer.gateway),
            ledger=MemoryLedger(),
            prices=load_book(),
            clock=VirtualClock(START_MS),
            chained=True,
        )
    )
    outer.client = AsgiUpstream(inner)
    headers = outer.send(body(), [(b"scrimp-task", b"nightly"), (b"scrimp-session", b"s1")])[1]
    (exchange,) = outer.exchanges()

    assert ("nightly", "s1") == (exchange.task_tag, exchange.session_id)
    assert exchange.exchange_id == headers["scrimp-exchange"]


def test_an_error_answer_writes_nothing_to_the_cache() -> None:
    """What a refused request would have written cannot be read by the next one."""
    stack = Stack(Refusing())
    stack.send(body(cache_control={"type": "ephemeral"}, system="x " * 4000))
    (exchange,) = stack.exchanges()

    assert (529, None, None) == (exchange.http_status, exchange.first_token_at_ms, exchange.usage)


class Refusing:
    """An upstream that is overloaded."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:  # noqa: ARG002 - the seam's signature
        """Answer 529."""
        return Refused()


class Refused(UpstreamResponse):
    """The API's own refusal."""

    status = 529
    reason = "Overloaded"

    def __init__(self) -> None:
        self.headers: RawHeaders = [(b"content-type", b"application/json")]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the error envelope."""
        yield b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'

    async def aclose(self) -> None:
        """Have nothing to close."""
