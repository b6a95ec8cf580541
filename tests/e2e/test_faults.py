"""What goes wrong upstream or at the client, as clients see it through the gateway: nothing is lost or invented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.gateway.asgi import App, Message, Receive, Scope, Send
from scrimp.sim.rules import Rules
from tests.e2e.claude import ClaudeCode, finish
from tests.e2e.stand import PATIENCE_SECONDS, Stand, Stands, check_bills

if TYPE_CHECKING:  # the SDK takes a second to import, and `make check` only collects this file
    from anthropic import Anthropic

pytestmark = pytest.mark.clients

MODEL = "claude-opus-5-5"
#: An answer takes seconds at this pace, so that a client can leave within it.
SLOW = Rules(first_token_ms=0, output_token_ms=40)
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_o"}'


class Overloaded:
    """Refuses the first request with the API's own 529, and lets the others pass."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._refused = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._refused or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._refused = True
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"request-id", b"req_o"), (b"retry-after", b"0")]
        await send({"type": "http.response.start", "status": 529, "headers": headers})
        await send({"type": "http.response.body", "body": OVERLOADED})


class Cut:
    """Breaks every answer off after its first four pieces."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        sent = 0

        async def until_cut(message: Message) -> None:
            nonlocal sent
            if sent > 4:
                raise ConnectionResetError
            sent += 1
            await send(message)

        await self._app(scope, receive, until_cut if scope["type"] == "http" else send)


def _sdk(stand: Stand) -> Anthropic:
    from anthropic import Anthropic

    return Anthropic(base_url=stand.url, api_key="sk-ant-fake-sdk")


def _ask(client: Anthropic, words: str = "SCENARIO:hello") -> Any:
    return client.messages.create(model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": words}])


def _outcome(exchange: Exchange) -> tuple[Any, ...]:
    return exchange.http_status, exchange.error_type, exchange.usage, exchange.cost_nano_usd


def test_the_sdk_when_the_upstream_is_down(stands: Stands) -> None:
    """Each of the SDK's three tries is a 502 in the API's envelope, in one sentence, and a row without a cost."""
    from anthropic import InternalServerError

    with stands.make(delayed=True) as stand, _sdk(stand) as client, pytest.raises(InternalServerError) as raised:
        _ask(client)
    exchanges = stand.exchanges()

    message = f"scrimp: Nothing answered at {stand.upstream} (Connection refused). Check the address and the network."
    assert 502 == raised.value.status_code
    assert {"type": "error", "error": {"type": "api_error", "message": message}} == raised.value.body
    assert [(None, "upstream_unavailable", None, None)] * 3 == [_outcome(exchange) for exchange in exchanges]
    assert [] == stand.back.seen


def test_claude_code_when_the_upstream_is_down(stands: Stands, claude_code: ClaudeCode) -> None:
    """Claude Code tries again as after any outage, then tells its user our sentence; each try is recorded."""
    with stands.make(delayed=True) as stand:
        code, told = claude_code.run(stand.url, "SCENARIO:loop1 look", CLAUDE_CODE_MAX_RETRIES="1")
    exchanges = stand.exchanges()

    assert (1, 502, 0) == (code, told["api_error_status"], told["total_cost_usd"])
    assert f"scrimp: Nothing answered at {stand.upstream}" in told["result"]
    assert [(None, "upstream_unavailable", None, None)] * 2 == [_outcome(exchange) for exchange in exchanges]


def test_an_upstream_that_comes_back(stands: Stands, claude_code: ClaudeCode) -> None:
    """Claude Code outlives an outage: its loop ends as if there had been none, and the bill is whole."""
    with stands.make(delayed=True) as stand:
        process = claude_code.start(stand.url, "SCENARIO:loop3 look")
        try:
            assert stand.closing.wait(PATIENCE_SECONDS)
            stand.start_upstream()
        finally:
            code, told = finish(process)
    exchanges = stand.exchanges()
    check_bills(stand.simulator.invoice.lines, exchanges)

    assert (0, 4) == (code, told["num_turns"])
    assert ["upstream_unavailable"] + [None] * 4 == [exchange.error_type for exchange in exchanges][-5:]
    assert {seen.body for seen in stand.back.seen} <= {seen.body for seen in stand.front.seen}


def test_the_sdk_when_the_api_is_overloaded(stands: Stands) -> None:
    """A 529 and its retry-after pass as they are: the SDK tries once more, and both tries are recorded."""
    with stands.make(disturbed=Overloaded) as stand, _sdk(stand) as client:
        _ask(client)
    refused, answered = stand.checked()

    assert OVERLOADED == stand.front.seen[0].answer
    assert (529, "overloaded_error", None, None) == _outcome(refused)
    assert (200, None) == _outcome(answered)[:2]


def test_claude_code_when_the_api_is_overloaded(stands: Stands, claude_code: ClaudeCode) -> None:
    """Claude Code sends the same bytes again after a 529, and goes on."""
    with stands.make(disturbed=Overloaded) as stand:
        code, told = claude_code.run(stand.url, "SCENARIO:loop1 look")
    refused, *answered = stand.checked()

    assert (0, 2, 2) == (code, told["num_turns"], len(answered))
    assert (529, "overloaded_error", None, None) == _outcome(refused)
    assert stand.front.seen[0].body == stand.front.seen[1].body


def test_an_upstream_that_breaks_off(stands: Stands) -> None:
    """A stream that is cut upstream is cut for the client, too: it cannot take half an answer for a whole one."""
    from httpx2 import RemoteProtocolError

    with stands.make(disturbed=Cut) as stand, _sdk(stand) as client, pytest.raises(RemoteProtocolError):
        _stream(client)
    (exchange,), (line,) = stand.exchanges(), stand.simulator.invoice.lines

    assert stand.back.seen[0].answer == stand.front.seen[0].answer != b""
    assert "upstream_cut" == exchange.error_type
    _expect_lower_bound(exchange, line.cost_nano_usd)


def _stream(client: Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "SCENARIO:hello"}]
    with client.messages.stream(model=MODEL, max_tokens=1000, messages=messages) as stream:
        stream.until_done()


def _expect_lower_bound(exchange: Exchange, invoice_nano_usd: int) -> None:
    """Check that what was told of an answer before it ended is recorded, as no more than that."""
    assert exchange.usage is not None
    assert exchange.cost_nano_usd is not None
    assert (200, False, None) == (exchange.http_status, exchange.usage_complete, exchange.stop_reason)
    assert 0 < exchange.cost_nano_usd < invoice_nano_usd


def test_the_sdk_leaves_within_a_stream(stands: Stands) -> None:
    """A client that stops listening stops the upstream, too; what it had been told is recorded as a lower bound."""
    with stands.make(realtime=True, rules=SLOW) as stand, _sdk(stand) as client:
        messages: Any = [{"role": "user", "content": "SCENARIO:hello"}]
        with client.messages.stream(model=MODEL, max_tokens=1000, messages=messages) as stream:
            next(iter(stream.text_stream))
        assert stand.closing.wait(PATIENCE_SECONDS)
    _expect_client_gone(stand)


def test_claude_code_is_killed_within_a_stream(stands: Stands, claude_code: ClaudeCode) -> None:
    """A client that dies leaves no open exchange and no running request behind."""
    with stands.make(realtime=True, rules=SLOW) as stand:
        process = claude_code.start(stand.url, "SCENARIO:loop1 look")
        try:
            assert stand.front.answering.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.communicate()
        assert stand.closing.wait(PATIENCE_SECONDS)
    _expect_client_gone(stand)


def _expect_client_gone(stand: Stand) -> None:
    (exchange,), (line,), (behind,) = stand.exchanges(), stand.simulator.invoice.lines, stand.back.seen

    assert "client_gone" == exchange.error_type
    assert exchange.closed_at_ms is not None
    assert behind.left
    _expect_lower_bound(exchange, line.cost_nano_usd)
