"""What goes wrong around the library: retries, cuts, callers that leave, and faults of our own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest

from scrimp.clock import SystemClock
from scrimp.core.belief.exchange import Exchange
from scrimp.errors import LedgerError
from tests.sdk.stage import (
    HELLO,
    Stage,
    create,
    staged,
    stream,
    stream_async,
)

#: The SDK takes a second to import: one worker does.
pytestmark = pytest.mark.xdist_group("sdk")

Client = anthropic.Anthropic
AsyncClient = anthropic.AsyncAnthropic


@pytest.mark.parametrize("ask", [create, stream])
def test_each_attempt_of_a_retry_is_an_exchange(ask: Callable[[Client], Any]) -> None:
    """A 429 and a 529, then an answer: three exchanges, of which two cost nothing."""
    with staged(Stage(faults=["rate_limit", "overloaded"])) as stage, stage.client(stage.middleware()) as client:
        told = ask(client)
        exchanges = stage.exchanges
    assert [429, 529, 200] == [each.http_status for each in exchanges]
    assert ["rate_limit_error", "overloaded_error", None] == [each.error_type for each in exchanges]
    assert [(None, 0), (None, 0)] == [(each.cost_nano_usd, each.cost_upper_nano_usd) for each in exchanges[:2]]
    assert (told.id, stage.bill_nano_usd) == (exchanges[2].message_id, exchanges[2].cost_nano_usd)
    assert all(each.closed_at_ms is not None for each in exchanges)


def test_each_attempt_of_a_retry_is_an_exchange_asynchronously() -> None:
    """As above, for a stream."""

    async def ask(stage: Stage) -> Any:
        async with stage.async_client(stage.middleware()) as client:
            return await stream_async(client)

    with staged(Stage(faults=["overloaded"])) as stage:
        told = asyncio.run(ask(stage))
    assert [(529, "overloaded_error", 0), (200, None, stage.bill_nano_usd)] == [
        (each.http_status, each.error_type, each.cost_upper_nano_usd) for each in stage.exchanges
    ]
    assert told.id == stage.exchanges[1].message_id


def test_a_refusal_reaches_the_caller_as_it_is() -> None:
    """A 400 is raised with its message, and recorded at no cost."""
    with staged() as stage, stage.client(stage.middleware()) as client:
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            client.messages.create(**{**HELLO, "max_tokens": -1})
        (exchange,) = stage.exchanges
    assert (400, "invalid_request_error", 0) == (
        exchange.http_status,
        exchange.error_type,
        exchange.cost_upper_nano_usd,
    )


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [("cut", "upstream_cut"), ("end", "upstream_incomplete"), ("error_later", "overloaded_error")],
)
def test_a_stream_that_breaks_off_is_bounded(fault: Any, error_type: str) -> None:
    """What it cost lies between what was seen and the bound, and the caller is told what it would be told alone."""
    with staged(Stage(faults=[fault])) as bare, bare.client() as client:
        outcome = _outcome(client)
    with staged(Stage(faults=[fault])) as stage, stage.client(stage.middleware()) as client:
        assert outcome == _outcome(client)
        _expect_bounded(stage, error_type)


def _outcome(client: Client) -> str:
    try:
        return str(stream(client).stop_reason)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error).__name__


def _expect_bounded(stage: Stage, error_type: str) -> Exchange:
    (exchange,), (line,) = stage.exchanges, stage.lines
    assert (error_type, False, 200) == (exchange.error_type, exchange.usage_complete, exchange.http_status)
    assert exchange.cost_upper_nano_usd is not None
    assert (exchange.cost_nano_usd or 0) <= line.cost_nano_usd <= exchange.cost_upper_nano_usd
    assert exchange.closed_at_ms is not None
    return exchange


#: How long something may take that happens at once.
PATIENCE_SECONDS = 30


def _eventually(condition: Callable[[], bool]) -> None:
    for _ in range(PATIENCE_SECONDS * 100):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


LONG: Any = {**HELLO, "messages": [{"role": "user", "content": "SCENARIO:big200 Tell me all."}]}


def _leave_by_close(client: Client) -> None:
    with client.messages.stream(**LONG) as stream:
        next(iter(stream))


def _leave_by_dropping(client: Client) -> None:
    next(iter(client.messages.create(**LONG, stream=True)))


def _leave_unread(client: Client) -> None:
    client.messages.create(**LONG, stream=True)


def _interrupted(client: Client) -> None:
    with client.messages.stream(**LONG) as stream:
        for _ in stream:
            raise KeyboardInterrupt


def _leave_by_error(client: Client) -> None:
    with pytest.raises(KeyboardInterrupt):
        _interrupted(client)


@pytest.mark.parametrize("leave", [_leave_by_close, _leave_by_dropping, _leave_unread, _leave_by_error])
def test_a_caller_that_leaves_closes_the_exchange(leave: Callable[[Client], None]) -> None:
    """However it leaves: the exchange is closed at once, as a lower bound with an upper one."""
    with staged(Stage(realtime=True)) as stage, stage.client(stage.middleware()) as client:
        leave(client)
        (exchange,) = stage.exchanges
    assert ("client_gone", False, 200) == (exchange.error_type, exchange.usage_complete, exchange.http_status)
    assert exchange.closed_at_ms is not None
    assert (exchange.cost_nano_usd or 0) < (exchange.cost_upper_nano_usd or 0)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_cancelled_task_closes_the_exchange(is_streamed: bool) -> None:
    """Before there is an answer, and in the middle of one."""

    async def ask(client: AsyncClient) -> None:
        if not is_streamed:
            await client.messages.create(**LONG)
        async for _ in await client.messages.create(**LONG, stream=True):
            await asyncio.sleep(PATIENCE_SECONDS)

    async def cancelled(stage: Stage) -> None:
        async with stage.async_client(stage.middleware()) as client:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ask(client))
                await asyncio.to_thread(_eventually, lambda: bool(stage.asked))
                await asyncio.sleep(0.2 if is_streamed else 0)
                task.cancel()
            assert task.cancelled()

    with staged(Stage(realtime=True)) as stage:
        asyncio.run(cancelled(stage))
        (exchange,) = stage.exchanges
    assert ("client_gone", False) == (exchange.error_type, exchange.usage_complete)
    assert 0 < (exchange.cost_upper_nano_usd or 0)


def test_where_nothing_answers_nothing_was_sent() -> None:
    """Each attempt is recorded, at no cost, and the SDK's own error is raised."""
    stage = Stage()
    with staged(stage):
        pass
    with stage.client(stage.middleware(), max_retries=1) as client, pytest.raises(anthropic.APIConnectionError):
        create(client)
    assert [("upstream_unavailable", 0)] * 2 == [
        (each.error_type, each.cost_upper_nano_usd) for each in stage.exchanges
    ]


class _BrokenClock(SystemClock):
    """A clock that has stopped working."""

    def now_ms(self) -> int:
        """Tell no time."""
        raise OSError("no clock")


def test_a_fault_of_ours_is_not_the_caller_s(caplog: pytest.LogCaptureFixture) -> None:
    """The request goes as it came, the answer comes, and the log says why nothing is recorded, without the text."""
    with staged() as stage, stage.client(stage.middleware(clock=_BrokenClock())) as client, stage.client() as bare:
        assert "end_turn" == create(client).stop_reason
        create(bare)
    assert stage.asked[0] == stage.asked[1]
    assert [] == stage.exchanges
    assert "a request is sent as it came and is not recorded (OSError in now_ms" in caplog.text
    assert "what it is for" not in caplog.text


def test_a_ledger_in_trouble_costs_its_rows_alone(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A ledger that cannot be opened is logged; requests are planned and answered all the same. Closing says why."""
    with staged() as stage:
        middleware = stage.middleware(ledger=tmp_path)
        with stage.client(middleware) as client:
            create(client)
            assert 0 < create(client).usage.cache_read_input_tokens
        with pytest.raises(LedgerError, match="cannot be opened"):
            middleware.close()
    assert "their exchanges wait to be recorded" in caplog.text


def test_what_json_cannot_hold_is_refused_by_the_sdk() -> None:
    """A NaN is the SDK's to refuse, with us as without."""
    with staged() as stage, stage.client(stage.middleware()) as client, pytest.raises(ValueError, match="JSON"):
        client.messages.create(**HELLO, extra_body={"note": float("nan")})
    assert [] == stage.exchanges
