"""The anthropic Python SDK through gateway and simulator: every way of asking, the bytes and the bill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.sim.rules import Rules
from tests.e2e.stand import Stand, Stands

if TYPE_CHECKING:  # the SDK takes a second to import, and `make check` only collects this file
    from anthropic import Anthropic, AsyncAnthropic
    from anthropic.types import Message, MessageParam, TextBlockParam, ToolParam, ToolUseBlock

pytestmark = pytest.mark.clients

KEY = "sk-ant-fake-sdk"
MODEL = "claude-opus-5-5"
CACHED: TextBlockParam = {
    "type": "text",
    "text": "Read each file, then say what it is for. " * 400,
    "cache_control": {"type": "ephemeral"},
}
SHELL: ToolParam = {
    "name": "Bash",
    "description": "Run a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}
HELLO: list[MessageParam] = [{"role": "user", "content": "SCENARIO:hello Grüße, 你好"}]


def _sync(stand: Stand) -> Anthropic:
    from anthropic import Anthropic

    return Anthropic(base_url=stand.url, api_key=KEY)


def _async(stand: Stand) -> AsyncAnthropic:
    from anthropic import AsyncAnthropic

    return AsyncAnthropic(base_url=stand.url, api_key=KEY)


def _checked(stand: Stand) -> list[Exchange]:
    """Check bytes and bills, and that the SDK's own headers arrived; return the exchanges."""
    arrived = [dict(seen.headers) for seen in stand.back.seen]
    assert {("2026-10-21", f"Bearer {KEY}")} == {
        (headers["anthropic-version"], headers["authorization"]) for headers in arrived
    }
    return stand.checked()


def _expect_same(message: Message, exchange: Exchange) -> None:
    """Compare what the client was told with what the ledger holds."""
    used = exchange.usage
    assert used is not None
    assert (message.id, message.model, message.stop_reason) == (
        exchange.message_id,
        exchange.served_model,
        exchange.stop_reason,
    )
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (
        used.uncached_input_tokens,
        used.cache_read_input_tokens,
        used.output_tokens,
    )


def _create(stand: Stand) -> Message:
    with _sync(stand) as client:
        return client.messages.create(model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO)


def _create_async(stand: Stand) -> Message:
    async def ask() -> Message:
        async with _async(stand) as client:
            return await client.messages.create(model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO)

    return asyncio.run(ask())


def _stream(stand: Stand) -> Message:
    with (
        _sync(stand) as client,
        client.messages.stream(model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO) as stream,
    ):
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == _text(message)
    return message


def _stream_async(stand: Stand) -> Message:
    async def ask() -> tuple[str, Message]:
        async with (
            _async(stand) as client,
            client.messages.stream(model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO) as stream,
        ):
            text = "".join([piece async for piece in stream.text_stream])
            return text, await stream.get_final_message()

    text, message = asyncio.run(ask())
    assert text == _text(message)
    return message


def _raw(stand: Stand) -> Message:
    with _sync(stand) as client:
        raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO)
        message = raw.parse()
    assert raw.headers["request-id"] == message._request_id
    return message


def _raw_in_pieces(stand: Stand) -> Message:
    from anthropic.types import Message as Whole

    with (
        _sync(stand) as client,
        client.messages.with_streaming_response.create(
            model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO
        ) as raw,
    ):
        return Whole.model_validate_json(b"".join(raw.iter_bytes(7)))


def _raw_async(stand: Stand) -> Message:
    async def ask() -> Message:
        async with _async(stand) as client:
            asking = client.messages.with_raw_response
            raw = await asking.create(model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO)
            return await raw.parse()

    return asyncio.run(ask())


def _text(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ask", [_create, _create_async, _stream, _stream_async, _raw, _raw_in_pieces, _raw_async])
def test_one_message(stands: Stands, ask: Callable[[Stand], Message], compress: bool) -> None:
    """Asked once, the prompt is written to the cache; asked again, it is read; client, ledger and invoice agree."""
    with stands.make(compress=compress) as stand:
        told = [ask(stand), ask(stand)]
    exchanges = _checked(stand)

    assert [compress] * 2 == ["content-encoding" in dict(seen.answer_headers) for seen in stand.front.seen]
    for message, exchange in zip(told, exchanges, strict=True):
        _expect_same(message, exchange)
    first, second = (exchange.usage for exchange in exchanges)
    assert first is not None
    assert second is not None
    assert 0 < first.cache_write_5m_input_tokens == second.cache_read_input_tokens


def test_many_streams_at_once(stands: Stands) -> None:
    """Streams that run beside each other are told apart: each one's bytes and bill are its own."""

    async def ask(client: AsyncAnthropic, number: int) -> Message:
        content = f"SCENARIO:hello number {number}"
        messages: list[MessageParam] = [{"role": "user", "content": content}]
        async with client.messages.stream(model=MODEL, max_tokens=1000, messages=messages) as stream:
            return await stream.get_final_message()

    async def ask_all() -> list[Message]:
        async with _async(stand) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(16)))

    with stands.make() as stand:
        told = {message.id: message for message in asyncio.run(ask_all())}
    exchanges = _checked(stand)

    assert 16 == len(told) == len(exchanges)
    for exchange in exchanges:
        _expect_same(told[exchange.message_id or ""], exchange)


def test_count_tokens(stands: Stands) -> None:
    """Counting passes through, is no exchange, and says what the same prompt is then billed."""
    with stands.make() as stand, _sync(stand) as client:
        counted = client.messages.count_tokens(model=MODEL, system=[CACHED], messages=HELLO)
        client.messages.create(model=MODEL, max_tokens=1000, system=[CACHED], messages=HELLO)
    (exchange,) = _checked(stand)

    assert exchange.usage is not None
    assert counted.input_tokens == exchange.usage.total_input_tokens


def test_beta_messages(stands: Stands) -> None:
    """The beta's own ways: a message, a stream and a count; the names of the betas arrive as they were given."""
    asked: Any = {"model": MODEL, "system": [CACHED], "messages": HELLO, "betas": ["a-beta-of-ours", "another"]}
    with stands.make() as stand, _sync(stand) as client:
        counted = client.beta.messages.count_tokens(**asked)
        created = client.beta.messages.create(max_tokens=1000, **asked)
        with client.beta.messages.stream(max_tokens=1000, **asked) as stream:
            streamed = stream.get_final_message()
    exchanges = _checked(stand)

    assert {True} == {"a-beta-of-ours,another" in dict(seen.headers)["anthropic-beta"] for seen in stand.back.seen}
    assert [created.id, streamed.id] == [exchange.message_id for exchange in exchanges]
    assert {counted.input_tokens} == {each.usage.total_input_tokens for each in exchanges if each.usage}


def test_models(stands: Stands) -> None:
    """The list of models and one of them come through, and nothing is billed."""
    with stands.make() as stand, _sync(stand) as client:
        listed = [model.id for model in client.models.list()]
        found = client.models.retrieve(MODEL)

    assert MODEL == found.id
    assert MODEL in listed
    assert [] == _checked(stand)


def test_an_error_keeps_its_words(stands: Stands) -> None:
    """An unknown model is the API's own 404, raised as such; the exchange has no cost, not a cost of zero."""
    from anthropic import NotFoundError

    with stands.make() as stand, _sync(stand) as client, pytest.raises(NotFoundError) as raised:
        client.messages.create(model="claude-nonesuch", max_tokens=1000, messages=HELLO)
    (exchange,) = _checked(stand)

    error = {"type": "not_found_error", "message": "model: claude-nonesuch"}
    assert isinstance(raised.value.body, dict)
    assert error.items() <= raised.value.body["error"].items()
    assert (404, "not_found_error", raised.value.request_id) == (
        exchange.http_status,
        exchange.error_type,
        exchange.request_id,
    )
    assert (None, None) == (exchange.usage, exchange.cost_nano_usd)


def _result(use: ToolUseBlock) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": use.id, "content": f"ran {use.input['command']}"}


def test_a_tool_loop_by_hand(stands: Stands) -> None:
    """Four turns under automatic caching are one session, and each reads what the one before it wrote."""
    messages: list[Any] = [{"role": "user", "content": "SCENARIO:loop3 look"}]
    with stands.make() as stand, _sync(stand) as client:
        while True:
            message = client.messages.create(
                model=MODEL,
                max_tokens=1000,
                system=[CACHED],
                tools=[SHELL],
                messages=messages,
                cache_control={"type": "ephemeral"},
            )
            messages.append({"role": "assistant", "content": message.content})
            uses = [block for block in message.content if block.type == "tool_use"]
            if not uses:
                break
            messages.append({"role": "user", "content": [_result(use) for use in uses]})
    exchanges = _checked(stand)
    used = [exchange.usage for exchange in exchanges if exchange.usage]

    assert ["tool_use"] * 3 + ["end_turn"] == [exchange.stop_reason for exchange in exchanges]
    assert 1 == len({exchange.session_id for exchange in exchanges})
    for before, after in pairwise(used):
        written = before.cache_read_input_tokens + before.cache_write_5m_input_tokens
        assert 0 < written == after.cache_read_input_tokens


def _run_tools(stand: Stand, streaming: bool) -> tuple[list[str], list[Any]]:
    """Let the tool runner read two files; return which, and its turns."""
    from anthropic import beta_tool

    read = []

    @beta_tool
    def read_file(path: str) -> str:
        """Read a file.

        Args:
            path: Which one.
        """
        read.append(path)
        return f"what {path} holds"

    with _sync(stand) as client:
        runner: Any = client.beta.messages.tool_runner(
            model=MODEL,
            max_tokens=1000,
            tools=[read_file],
            messages=[{"role": "user", "content": "SCENARIO:loop2 look"}],
            stream=streaming,
        )
        told = [turn.get_final_message() if streaming else turn for turn in runner]
    return read, told


@pytest.mark.parametrize("streaming", [False, True])
def test_the_tool_runner_goes_on_without_threads(stands: Stands, streaming: bool) -> None:
    """The API's refusal of threads reaches the SDK word for word, so it replays the whole conversation itself."""
    with stands.make(rules=Rules(threads=False)) as stand:
        read, told = _run_tools(stand, streaming)
    refused, *answered = _checked(stand)

    assert ["step-1", "step-2"] == read
    assert b"thread_unsupported_request" in stand.front.seen[0].answer
    assert (400, "invalid_request_error", None) == (refused.http_status, refused.error_type, refused.cost_nano_usd)
    assert [message.id for message in told] == [exchange.message_id for exchange in answered]


@pytest.mark.parametrize("streaming", [False, True])
def test_the_tool_runner_in_a_thread(stands: Stands, streaming: bool) -> None:
    """Where the API holds the conversation, each turn passes with its new messages alone, and is billed as a whole."""
    with stands.make(rules=Rules(threads=True)) as stand:
        read, told = _run_tools(stand, streaming)
    exchanges = _checked(stand)
    used = [exchange.usage.total_input_tokens for exchange in exchanges if exchange.usage]

    assert ["step-1", "step-2"] == read
    assert ["create", "continue", "continue"] == [json.loads(seen.body)["thread"]["type"] for seen in stand.messages()]
    assert [message.id for message in told] == [exchange.message_id for exchange in exchanges]
    assert sorted(set(used)) == used
