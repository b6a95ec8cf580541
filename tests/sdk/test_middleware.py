"""The library as it is used: the real SDK, the middleware, a simulator on a socket, and two bills that agree."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Message

import scrimp
from scrimp.config import Settings, default_ledger_path
from scrimp.errors import ConfigError, LedgerError
from scrimp.gateway.build import build
from scrimp.gateway.server import serving
from scrimp.sdk import Middleware
from scrimp.sim.rules import Rules
from scrimp.store.ledger import MemoryLedger, open_ledger
from tests.sdk.stage import (
    HELLO,
    KEY,
    MODEL,
    Stage,
    create,
    create_async,
    staged,
    stream,
    stream_async,
)

#: The SDK takes a second to import: one worker does.
pytestmark = pytest.mark.xdist_group("sdk")

Client = anthropic.Anthropic
AsyncClient = anthropic.AsyncAnthropic

# --- every way of asking ------------------------------------------------------------------------------------------


def _create_beta(client: Client) -> Any:
    return client.beta.messages.create(**HELLO, betas=["interleaved-thinking-2025-05-14"])


def _stream_beta(client: Client) -> Any:
    with client.beta.messages.stream(**HELLO) as stream:
        return stream.get_final_message()


def _events(client: Client) -> Any:
    events = list(client.messages.create(**HELLO, stream=True))
    assert "message_stop" == events[-1].type
    return getattr(events[0], "message")  # noqa: B009 - the type of the first event is not known to mypy


def _raw(client: Client) -> Any:
    return client.messages.with_raw_response.create(**HELLO).parse()


def _raw_events(client: Client) -> Any:
    events = list(client.messages.with_raw_response.create(**HELLO, stream=True).parse())
    return getattr(events[0], "message")  # noqa: B009 - as above


def _in_pieces(client: Client) -> Any:
    with client.messages.with_streaming_response.create(**HELLO) as raw:
        return Message.model_validate_json(b"".join(raw.iter_bytes(7)))


WAYS = [create, _create_beta, stream, _stream_beta, _events, _raw, _raw_events, _in_pieces]


@pytest.mark.parametrize("ask", WAYS)
def test_every_way_of_asking_is_recorded(ask: Callable[[Client], Any]) -> None:
    """Twice each: the caller has the whole answer, the second one reads what the first one wrote, ledger is invoice."""
    with staged() as stage, stage.client(stage.middleware()) as client:
        told = [ask(client), ask(client)]
        exchanges = stage.checked()
    assert [message.id for message in told] == [each.message_id for each in exchanges]
    assert {("sdk", True, "client", 200)} == {
        (each.source, each.planned, each.origin, each.http_status) for each in exchanges
    }
    assert all(each.usage and each.usage.cache_read_input_tokens > 4_000 for each in exchanges[1:])
    assert all(each.first_token_at_ms is not None for each in exchanges)


async def _events_async(client: AsyncClient) -> Any:
    events = [event async for event in await client.messages.create(**HELLO, stream=True)]
    return getattr(events[0], "message")  # noqa: B009 - as above


async def _raw_async(client: AsyncClient) -> Any:
    return await (await client.messages.with_raw_response.create(**HELLO)).parse()


async def _in_pieces_async(client: AsyncClient) -> Any:
    async with client.beta.messages.with_streaming_response.create(**HELLO) as raw:
        return Message.model_validate_json(b"".join([piece async for piece in raw.iter_bytes(7)]))


@pytest.mark.parametrize("ask", [create_async, stream_async, _events_async, _raw_async, _in_pieces_async])
def test_every_way_of_asking_is_recorded_asynchronously(ask: Callable[[AsyncClient], Awaitable[Any]]) -> None:
    """As above."""

    async def twice(stage: Stage) -> list[Any]:
        async with stage.async_client(stage.middleware()) as client:
            return [await ask(client), await ask(client)]

    with staged() as stage:
        told = asyncio.run(twice(stage))
        exchanges = stage.checked()
    assert [message.id for message in told] == [each.message_id for each in exchanges]
    assert all(each.planned and each.source == "sdk" for each in exchanges)
    assert all(each.usage and each.usage.cache_read_input_tokens > 4_000 for each in exchanges[1:])


# --- what is left alone -------------------------------------------------------------------------------------------


def test_observing_changes_nothing() -> None:
    """In observe mode, and for a subscription: the very bytes of a client without us, recorded all the same."""
    with staged() as stage:
        with stage.client() as client:
            create(client)
        with stage.client(stage.middleware(mode="observe")) as client:
            create(client)
        with stage.client(stage.middleware(mode="safe"), api_key=None, auth_token="sk-ant-oat01-fake") as client:
            create(client)
        with stage.client(stage.middleware()) as client:
            client.messages.create(**HELLO, extra_headers={"scrimp-mode": "observe"})
    assert 1 == len(set(stage.asked))
    assert 3 == len(stage.exchanges)
    assert all(each.planned and each.cost_nano_usd == each.baseline_cost_nano_usd for each in stage.exchanges)


def test_who_pays_is_not_guessed() -> None:
    """Where the SDK adds the credential later the default is to observe; whoever says "safe" has it."""

    class Late(anthropic.Anthropic):
        """A client whose credential is nowhere to be seen beforehand."""

        def _prepare_request(self, request: Any) -> None:
            request.headers["Authorization"] = f"Bearer {KEY}"

    omitted = {"Authorization": anthropic.Omit()}
    with staged() as stage:
        for options in ({}, {"mode": "safe"}):
            middleware = stage.middleware(**options)
            with Late(base_url=stage.url, api_key=KEY, middleware=[middleware]) as client:
                client.messages.create(**HELLO, extra_headers=omitted)
    assert [False, True] == [b"cache_control" in body for body in stage.asked]


def test_other_paths_are_untouched() -> None:
    """Counting tokens and listing models are nobody's exchange."""
    with staged() as stage, stage.client(stage.middleware(task="counting")) as client:
        client.messages.count_tokens(model=MODEL, messages=HELLO["messages"])
        client.models.list()
    assert [] == stage.exchanges
    assert [] == [name for each in stage.app.recorded for name, _ in each.headers if name.startswith("scrimp")]


@anthropic.beta_tool
def bash(command: str) -> str:
    """Run a command.

    Args:
        command: what to run

    """
    return f"{command}: all is well"


def _run_tools(client: Client) -> list[str]:
    """Let the SDK's tool runner work; return its messages' ids."""
    messages: Any = [{"role": "user", "content": "SCENARIO:loop3 Look."}]
    runner = client.beta.messages.tool_runner(
        model=MODEL, max_tokens=1_000, tools=[bash], messages=messages, system=HELLO["system"]
    )
    return [message.id for message in runner]


def test_the_tool_runner_s_threads_are_observed() -> None:
    """Its prompt is on the server from the second request on: nothing is changed, and ledger is invoice."""
    with staged(Stage(rules=Rules(threads=True))) as stage, stage.client(stage.middleware()) as client:
        told = _run_tools(client)
        exchanges = stage.checked()
    assert 1 < len(told)
    assert told == [each.message_id for each in exchanges]
    assert all(b"cache_control" not in body for body in stage.asked)
    assert [b'"create"', *[b'"continue"'] * (len(told) - 1)] == [
        next(kind for kind in (b'"create"', b'"continue"') if kind in body) for body in stage.asked
    ]


def test_the_tool_runner_without_threads_is_planned() -> None:
    """Where the API serves no threads the SDK goes on without: the refusal costs nothing, the loop reads its cache."""
    with staged() as stage, stage.client(stage.middleware()) as client:
        told = _run_tools(client)
        refused, *answered = stage.exchanges
    assert (400, 0) == (refused.http_status, refused.cost_upper_nano_usd)
    assert told == [each.message_id for each in answered]
    assert stage.bill_nano_usd == sum(each.cost_nano_usd or 0 for each in answered)
    assert all(each.usage and each.usage.cache_read_input_tokens > 4_000 for each in answered[1:])


def test_a_gateway_of_ours_does_it_all(tmp_path: Path) -> None:
    """Its answers say so: every exchange is in its ledger and none in ours, and from then on nothing is planned."""
    db = tmp_path / "ledger.db"
    with staged() as stage:
        gateway = build(Settings(upstream=stage.url, db=str(db), trust_env=False))
        with serving(gateway) as url, stage.client(stage.middleware(), base_url=url) as client:
            for _ in range(3):
                client.messages.create(**HELLO, extra_headers={"scrimp-task": "nightly"})
    with open_ledger(db, must_exist=True) as ledger:
        recorded = list(ledger.exchanges())
    assert [] == stage.exchanges
    assert [("gateway", "nightly")] * 3 == [(each.source, each.task_tag) for each in recorded]
    assert [False, False] == [b"cache_control" in body for body in stage.asked[1:]]


# --- whose work it is ---------------------------------------------------------------------------------------------


def test_labels_are_recorded_and_end_here() -> None:
    """The task of the middleware, of a request and of a client, and a session: in the ledger, not on the wire.

    That the address is no gateway of ours, which would want them, is known after the first answer.
    """
    with staged() as stage:
        middleware = stage.middleware(task="nightly")
        with stage.client(middleware) as client:
            create(client)
            client.messages.create(**HELLO, extra_headers={"Scrimp-Task": "hourly", "scrimp-session": "s1"})
        with stage.client(middleware, default_headers={"scrimp-task": "daily"}) as client:
            create(client)
    assert ["nightly", "hourly", "daily"] == [each.task_tag for each in stage.exchanges]
    assert "s1" == stage.exchanges[1].session_id
    assert [] == [name for headers in stage.headers for name in headers if name.startswith("scrimp")]


def test_clients_of_other_keys_share_no_beliefs() -> None:
    """One middleware for two clients: what one key wrote is not taken for readable by the other."""
    with staged() as stage:
        middleware = stage.middleware()
        for key in (KEY, "sk-ant-fake-other"):
            with stage.client(middleware, api_key=key) as client:
                create(client)
    first, second = stage.checked()
    assert first.principal != second.principal
    assert first.session_id != second.session_id
    assert (first.baseline_cost_nano_usd, None) == (second.baseline_cost_nano_usd, second.break_cause)


def test_many_threads_share_one_middleware() -> None:
    """Eight threads with five turns each, with and without streams: nothing is lost, ledger is invoice."""
    with staged() as stage, stage.client(stage.middleware()) as client:
        start = threading.Barrier(8)

        def work(number: int) -> None:
            start.wait()
            for turn in range(5):
                messages: Any = [{"role": "user", "content": f"{number}: {turn}"}]
                if number % 2:
                    client.messages.create(**{**HELLO, "messages": messages})
                else:
                    with client.messages.stream(**{**HELLO, "messages": messages}) as stream:
                        stream.until_done()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        exchanges = stage.checked()
    assert 40 == len(exchanges) == len({each.exchange_id for each in exchanges})


def test_many_tasks_share_one_middleware() -> None:
    """The same in one event loop."""

    async def work(stage: Stage) -> None:
        async with stage.async_client(stage.middleware()) as client:
            await asyncio.gather(*(stream_async(client) if n % 2 else create_async(client) for n in range(20)))

    with staged() as stage:
        asyncio.run(work(stage))
    assert 20 == len(stage.checked())


class _Unread(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a refusal that may come late, or never: a test that waits for it fails."""

    def __iter__(self) -> Iterator[bytes]:
        """Fail."""
        pytest.fail("it was waited for")

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Fail."""
        pytest.fail("it was waited for")


@pytest.mark.parametrize("headers", [{"request-id": "req_1"}, {}])
@pytest.mark.parametrize("is_async", [False, True])
def test_nobody_waits_for_the_body_of_a_refusal(is_async: bool, headers: dict[str, str]) -> None:
    """The SDK asks again without reading it, and so do we. The API's own is named by its status, and costs nothing."""
    ledger = MemoryLedger()
    transport = httpx2.MockTransport(lambda _: httpx2.Response(529, headers=headers, stream=_Unread()))
    options: dict[str, Any] = {"api_key": KEY, "max_retries": 1, "middleware": [Middleware(ledger=ledger)]}
    if is_async:
        other = anthropic.AsyncAnthropic(http_client=httpx2.AsyncClient(transport=transport), **options)
        with pytest.raises(pytest.fail.Exception):  # the last one is read, by the SDK itself
            asyncio.run(stream_async(other))
    else:
        client = anthropic.Anthropic(http_client=httpx2.Client(transport=transport), **options)
        with pytest.raises(pytest.fail.Exception):  # as above
            stream(client)
    first, _ = ledger.exchanges()
    assert (529, None) == (first.http_status, first.cost_nano_usd)
    if headers:
        assert ("overloaded_error", 0) == (first.error_type, first.cost_upper_nano_usd)
    else:
        assert ("client_gone", True) == (first.error_type, (first.cost_upper_nano_usd or 0) > 0)


# --- options ------------------------------------------------------------------------------------------------------


def test_the_default_ledger_is_the_gateway_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It stands where `scrimp up` has its own, or where SCRIMP_DB says; it is closed, and opened by asking."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    own, named = default_ledger_path({"HOME": str(tmp_path)}), tmp_path / "named.db"
    with staged() as stage:
        for place in (own, named):
            middleware = Middleware()
            with stage.client(middleware) as client:
                for _ in range(2):
                    create(client)
                    middleware.close()
            with open_ledger(place, must_exist=True) as ledger:
                assert 2 == len([each for each in ledger.exchanges() if each.usage_complete])
            monkeypatch.setenv("SCRIMP_DB", str(named))


LEAVING = f"""
import anthropic, scrimp
client = anthropic.Anthropic(middleware=[scrimp.Middleware()])
asked = dict(model="{MODEL}", max_tokens=500, messages=[dict(role="user", content="SCENARIO:big200 Tell me all.")])
events = iter(client.messages.create(**asked, stream=True))
next(events)
client.messages.create(**asked)
"""


def test_the_end_of_the_process_writes_the_ledger(tmp_path: Path) -> None:
    """What has ended is written; a stream that is still held stays open, bounded, and nothing is said of it."""
    with staged(Stage(realtime=True)) as stage:
        api = {"ANTHROPIC_BASE_URL": stage.url, "ANTHROPIC_API_KEY": KEY, "SCRIMP_DB": str(tmp_path / "ledger.db")}
        finished = subprocess.run(
            [sys.executable, "-c", LEAVING], capture_output=True, text=True, check=False, env={**os.environ, **api}
        )
    assert (0, "") == (finished.returncode, finished.stderr)
    with open_ledger(tmp_path / "ledger.db", must_exist=True) as ledger:
        held, ended = ledger.exchanges()
    assert (None, True) == (held.closed_at_ms, ended.usage_complete)
    assert 0 < (held.cost_upper_nano_usd or 0)


@pytest.mark.parametrize("mode", ["full", "Safe", ""])
def test_a_mode_that_is_none_is_refused(mode: Any) -> None:
    """In one sentence that names those there are."""
    with pytest.raises(ConfigError, match=r"It may be: observe, safe\."):
        Middleware(mode=mode)


def test_settings_that_cannot_be_used_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `scrimp up` refuses them."""
    monkeypatch.setenv("SCRIMP_DBB", "ledger.db")
    with pytest.raises(ConfigError, match="Did you mean db"):
        Middleware()


def test_a_ledger_that_cannot_be_written_says_so_when_it_is_closed() -> None:
    """Closing a middleware whose own ledger was never opened is no work, and one that was handed in stays open."""
    with staged() as stage, stage.client(middleware := stage.middleware()) as client:
        middleware.close()
        create(client)
        middleware.close()
        stage.ledger.trouble = LedgerError("The disk is full.")
        middleware.close()
        create(client)
        stage.ledger.trouble = None
        create(client)
    assert 3 == len(stage.checked())


def test_importing_scrimp_does_not_import_the_sdk() -> None:
    """`import scrimp` is quick; naming the middleware is what costs, and a name that is none is an AttributeError."""
    script = (
        "import sys, scrimp; assert 'anthropic' not in sys.modules; "
        "from scrimp import Middleware; assert 'anthropic' in sys.modules; assert not hasattr(scrimp, 'Middlewear')"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (finished.returncode, finished.stderr)
    assert Middleware is scrimp.Middleware
