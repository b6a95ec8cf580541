"""A request as blocks in cache order; the bytes themselves are never touched."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.blocks import Block, block_text
from scrimp.core.wire.request import Request, RequestUnreadable, parse

MARK = {"type": "ephemeral"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def request(**fields: Any) -> Request:
    """Parse a request made of the given fields."""
    return parse(json.dumps({"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], **fields}).encode())


def digests(**fields: Any) -> list[bytes]:
    """Return the digests of the blocks of such a request."""
    return [block.digest for block in request(**fields).blocks]


def shape(blocks: tuple[Block, ...]) -> list[tuple[str, str, str]]:
    """Return tier, path and kind of each block."""
    return [(block.tier, block.path, block.kind) for block in blocks]


def test_blocks_stand_in_cache_order() -> None:
    """Tools, then system, then messages, whatever the order in the body."""
    read = request(
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]},
            {"role": "system", "content": [{"type": "text", "text": "date"}]},
        ],
        system=[{"type": "text", "text": "a", "cache_control": MARK}],
        tools=[{"name": "Bash", "input_schema": {}}, {"type": "web_search_20260209", "name": "web_search"}],
    )

    assert [
        ("tools", "tools.0", "tool"),
        ("system", "tools.1", "web_search_20260209"),
        ("system", "system.0", "text"),
        ("messages", "messages.0.content.0", "text"),
        ("messages", "messages.1.content.0", "tool_use"),
        ("messages", "messages.2.content.0", "tool_result"),
        ("messages", "messages.3.content.0", "text"),
    ] == shape(read.blocks)
    assert "5m" == read.blocks[2].ttl
    assert "messages.2" == read.blocks[5].message


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}, "title": None},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "search_result", "source": "u", "title": "t", "content": []},
        {"type": "tool_reference", "tool_name": "Read"},
        {"type": "container_upload", "file_id": "f"},
        {"type": "compaction", "content": "sum"},
        {"type": "mcp_tool_use", "id": "m", "name": "n", "server_name": "s", "input": {}},
        {"type": "tool_addition", "tool": {"name": "X"}},
        {"type": "brand_new_kind", "anything": [1, {"deep": None}]},
    ],
)
def test_every_kind_is_carried(block: dict[str, Any]) -> None:
    """Known or not, a block is one block with its own kind and its own bytes."""
    (read,) = request(messages=[{"role": "user", "content": [block]}]).blocks

    assert block["type"] == read.kind
    assert block == json.loads(bytes(read.raw))


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.sampled_from(["5m", "1h"]))
def test_a_mark_is_not_content(extra: dict[str, Any], ttl: str) -> None:
    """Setting or moving a breakpoint changes no digest."""
    block = {**extra, "type": "tool_result", "tool_use_id": "t"}
    block.pop("cache_control", None)
    block.pop("name", None)
    block.pop("text", None)
    block.pop("defer_loading", None)
    plain = digests(messages=[{"role": "user", "content": [block]}])
    marked = {"cache_control": {"type": "ephemeral", "ttl": ttl}, **block}

    assert plain == digests(messages=[{"role": "user", "content": [marked]}])
    assert plain == digests(messages=[{"role": "user", "content": [{**block, "cache_control": {"ttl": ttl}}]}])


@given(st.text(min_size=1, max_size=60))
def test_a_string_equals_one_text_block(text: str) -> None:
    """Claude Code turns marked content into a list and unmarked content into a string; the prompt is the same."""
    as_string = digests(messages=[{"role": "user", "content": text}], system=text)
    as_list = [{"type": "text", "text": text}]

    assert as_string == digests(messages=[{"role": "user", "content": as_list}], system=as_list)
    assert text == block_text(request(system=text).blocks[0])


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_digests_differ_where_content_differs(one: str, two: str) -> None:
    """Equal digests mean equal text and role."""
    same = digests(system=one) == digests(system=two)

    assert same == (one == two)
    assert digests(messages=[{"role": "user", "content": one}]) != digests(
        messages=[{"role": "assistant", "content": one}]
    )


def test_text_that_looks_like_a_mark_is_content() -> None:
    """Inside a string the quotes are escaped, so nothing is stripped from it."""
    one = {"type": "tool_result", "content": '{"cache_control":{"type":"ephemeral"}}', "cache_control": MARK}
    two = {"type": "tool_result", "content": "{}", "cache_control": MARK}

    assert digests(messages=[{"role": "user", "content": [one]}]) != digests(
        messages=[{"role": "user", "content": [two]}]
    )


def test_key_order_in_tool_input_is_content() -> None:
    """The API serialises tool input as it came (API docs), so reordered keys are another prefix."""
    one = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1, "b": 2}}
    two = {"type": "tool_use", "id": "t", "name": "n", "input": {"b": 2, "a": 1}}

    assert digests(messages=[{"role": "assistant", "content": [one]}]) != digests(
        messages=[{"role": "assistant", "content": [two]}]
    )


def test_deferred_tools_are_not_in_the_prefix() -> None:
    """They reach the prompt only through a tool_reference."""
    read = request(tools=[{"name": "A"}, {"name": "B", "defer_loading": True}, {"name": "C", "defer_loading": False}])

    assert ["A", "C"] == [block.name for block in read.blocks]


def test_a_tool_reference_brings_its_definition() -> None:
    """Changing a deferred tool changes the prompt only from where it was brought in."""
    refer = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "B"}]}
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, refer]}]

    def with_tool(description: str) -> list[bytes]:
        return digests(messages=messages, tools=[{"name": "B", "description": description, "defer_loading": True}])

    assert with_tool("one")[0] == with_tool("two")[0]
    assert with_tool("one")[1] != with_tool("two")[1]


def test_a_mark_inside_a_block_marks_it() -> None:
    """Blocks inside a tool_result may carry the mark; it acts on the whole."""
    inner = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    (read,) = request(messages=[{"role": "user", "content": [{"type": "tool_result", "content": [inner]}]}]).blocks

    assert "1h" == read.ttl


def test_a_tools_input_is_content_to_the_last_member() -> None:
    """A model may write a member named cache_control; only the block's own is a mark."""

    def use(given: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "n", "input": given, "cache_control": MARK}],
            }
        ]

    assert digests(messages=use({"cache_control": {"a": 1}})) != digests(messages=use({}))


def test_deep_nesting_costs_no_time() -> None:
    """Blocks stand inside blocks once; deeper levels are not decoded again and again."""
    block: dict[str, Any] = {"type": "text", "text": "x", "cache_control": MARK}
    for _ in range(40):
        block = {"type": "tool_result", "content": [block]}

    assert [None] == [each.ttl for each in request(messages=[{"role": "user", "content": [block]}]).blocks]


def test_the_attribution_block_is_stable() -> None:
    """Fields that Claude Code changes with every request cannot be in the cache key."""
    text = "x-anthropic-billing-header: cc_version=2.1.330.62d; cc_entrypoint=cli; cch={}; cc_prompt_id={};"
    one, two, other = text.format("a1", "p1"), text.format("b2", "p2"), text.replace("62d", "000").format("a1", "p1")

    assert digests(system=[{"type": "text", "text": one}]) == digests(system=[{"type": "text", "text": two}])
    assert digests(system=[{"type": "text", "text": one}]) != digests(system=[{"type": "text", "text": other}])


def test_empty_content_makes_no_block() -> None:
    """Claude Code sends empty system messages that only carry an effort; an empty string is nothing either."""
    assert () == request(system="", messages=[{"role": "user", "content": ""}]).blocks
    assert () == request(messages=[{"role": "system", "content": [], "output_config": {"effort": "high"}}]).blocks


def test_top_level_fields() -> None:
    """Automatic caching, identity and what selects a price are read."""
    read = request(
        cache_control={"type": "ephemeral", "ttl": "1h"},
        metadata={"user_id": "u"},
        speed="fast",
        inference_geo="us",
        thread={"type": "create"},
        stream=True,
        output_config={"format": {"type": "json_schema"}},
    )

    assert ("1h", "u", "fast", "us", True, True, True) == (
        read.automatic_ttl,
        read.user_id,
        read.speed,
        read.inference_geo,
        read.is_thread,
        read.stream,
        read.output_format,
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"tool_choice": {"type": "any"}},
        {"thinking": {"type": "disabled"}},
        {"output_config": {"format": {"type": "x"}}},
    ],
)
def test_settings_are_part_of_the_key(setting: dict[str, Any]) -> None:
    """Parameters that the cache key holds change the prefix settings."""
    assert request().settings != request(**setting).settings


@pytest.mark.parametrize("setting", [{"max_tokens": 5}, {"stream": True}, {"metadata": {"user_id": "x"}}])
def test_other_parameters_are_not(setting: dict[str, Any]) -> None:
    """Parameters outside the key change nothing (API docs, what invalidates the cache)."""
    assert request().settings == request(**setting).settings


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"model":"m"}',
        b'{"model":1,"messages":[]}',
        b'{"model":"m","messages":{}}',
        b'{"model":"m","messages":[3]}',
        b'{"model":"m","messages":[],"max_tokens":1e400}',
        b'{"model":"\xff","messages":[]}',
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","messages":[{"role":"user","content":[' + b"[" * 50_000 + b"]" * 50_000 + b"]}]}",
        b'{"model":"m","messages":[]',
        b'{"model":"%b","messages":[]}' % (b"m" * 201),
        b'{"model":"m","messages":[],"speed":"%b"}' % (b"f" * 201),
        b'{"model":"m","messages":[%b{}]}' % (b"{}," * 100_000),
        b'{"model":"m","messages":[{"content":[%b{}]}]}' % (b"{}," * 100_000),
        b'{"model":"m","messages":[{"content":[%b{}]},{"content":[%b{}]}]}' % ((b"{}," * 60_000,) * 2),
        b'{"model":"m","messages":[],"tools":[%b{}]}' % (b"{}," * 100_000),
    ],
)
def test_what_is_not_a_request_is_unreadable(body: bytes) -> None:
    """One exception for everything that is forwarded unplanned; nothing else escapes."""
    with pytest.raises(RequestUnreadable):
        parse(body)


@given(st.binary(max_size=200))
def test_random_bytes_never_escape(body: bytes) -> None:
    """Whatever arrives is a request or unreadable."""
    try:
        parse(body)
    except RequestUnreadable:
        return
    assert b"messages" in body


def test_references_bring_no_definition_a_thousand_times() -> None:
    """What a block refers to is a part of its digest only: a definition of a megabyte is not copied for each."""
    late = {"name": "late", "defer_loading": True, "description": "x" * 2**20}
    references = [{"tool_name": "late"}] * 10_000
    block = {"type": "tool_reference", "x": references}
    body = {"model": "m", "tools": [late], "messages": [{"role": "user", "content": [block]}]}
    other = body | {"tools": [late | {"description": "y"}]}

    assert 1 == len(parse(json.dumps(body).encode()).blocks)
    assert parse(json.dumps(body).encode()).blocks[0].digest != parse(json.dumps(other).encode()).blocks[0].digest


def test_lone_surrogates_are_read() -> None:
    """JavaScript clients can send half a pair; a whole pair next to it survives."""
    body = rb'{"model":"m","messages":[{"role":"user","content":"\ud83d\ude00 a\\ud800 \ud800 b"}]}'

    assert "\N{GRINNING FACE} a\\ud800 \N{REPLACEMENT CHARACTER} b" == parse(body).first_user_text


def test_duplicate_keys_read_the_last() -> None:
    """As common JSON readers do; the bytes go on as they came."""
    assert "b" == parse(b'{"model":"a","model":"b","messages":[]}').model


@pytest.mark.data
def test_recorded_requests_are_read(data: Path) -> None:
    """Every recorded request body parses, and its message blocks are counted right."""
    with gzip.open(data / "anthropic_cassettes" / "interactions.jsonl.gz") as lines:
        bodies = [json.loads(line)["request"] for line in lines]
    read = 0
    for body in bodies:
        if not isinstance(body, dict) or "messages" not in body or "model" not in body:
            continue
        blocks = [1 if isinstance(m["content"], str) else len(m["content"]) for m in body["messages"]]
        assert sum(blocks) == len(list(parse(json.dumps(body).encode()).tier("messages")))
        read += 1
    assert read > 200
