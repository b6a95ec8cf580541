"""The most that an exchange can cost: nothing that a request allows costs more; what nothing bounds has no bound."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.ceiling import (
    CONTEXT_TOKENS_MAX,
    SERVER_PASSES,
    USES_MAX,
    Reach,
    dearest_bands,
    reach_of,
    sent_upper_nano_usd,
    upper_nano_usd,
)
from scrimp.core.wire.request import parse
from scrimp.core.wire.response import Answer
from scrimp.core.wire.usage import ApiUsage, CacheCreation, Metered, Usage, UsageLine
from scrimp.sim.machine import Simulator
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
AT_MS = 1_795_000_000_000
MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-4-8", "claude-haiku-4-5")
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2026-10-21"}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
MARKS: list[dict[str, str] | None] = [None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}]

TEXTS = st.fixed_dictionaries({"type": st.just("text"), "text": st.text(min_size=1, max_size=300)})
IMAGES = st.just({"type": "image", "source": PIXEL})
CONTENT = st.lists(TEXTS | IMAGES, min_size=1, max_size=5)
OFFERED: list[dict[str, Any]] = [
    {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}},
    {"type": "bash_20250124", "name": "bash"},
    {"type": "text_editor_20250728", "name": "edit"},
]
TOOLS = st.lists(st.sampled_from(OFFERED), unique_by=lambda tool: str(tool["name"]))


def body(**more: Any) -> dict[str, Any]:
    """Return a request that is bounded by itself."""
    plain: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Go."}],
    }
    return {name: value for name, value in {**plain, **more}.items() if value is not None}


def reach(**more: Any) -> Reach | None:
    """Return what a request of these fields can cause."""
    return reach_of(parse(json.dumps(body(**more)).encode()))


def upper(found: Reach, at_ms: int = AT_MS) -> int | None:
    """Return the most that a request can cost when it is sent."""
    return sent_upper_nano_usd(found, dearest_bands(BOOK, found, at_ms), BOOK.web_search_pico_usd)


@given(CONTENT, TOOLS, st.text(max_size=200), st.sampled_from(MODELS))
def test_no_prompt_is_longer_than_its_bound(
    content: list[dict[str, Any]], tools: list[dict[str, Any]], system: str, model: str
) -> None:
    """The simulator, which counts by rules of its own, never counts more tokens than the bound has."""
    sent = body(model=model, messages=[{"role": "user", "content": content}], tools=tools or None, system=system)
    found = reach(**sent)
    counted = Simulator().count_tokens({k: v for k, v in sent.items() if k != "max_tokens"}, HEADERS, AT_MS).body
    assert found is not None
    assert counted["input_tokens"] <= found.total_input_tokens <= CONTEXT_TOKENS_MAX


@given(
    st.sampled_from(MODELS),
    st.integers(0, 400_000),
    st.integers(0, 128_000),
    st.sampled_from(MARKS),
    st.sampled_from([None, "global", "us"]),
    st.sampled_from([None, "fast"]),
    st.data(),
)
def test_nothing_that_a_request_allows_costs_more(
    model: str, size: int, max_tokens: int, mark: dict[str, str] | None, geo: str | None, speed: str | None, data: Any
) -> None:
    """However the prompt is split over the classes that its marks open, wherever and however fast it is answered."""
    found = reach(
        model=model, max_tokens=max_tokens, system="x" * size, cache_control=mark, inference_geo=geo, speed=speed
    )
    assert found is not None
    left, counts = found.total_input_tokens, []
    for _ in range(3 + (mark is not None)):
        counts.append(data.draw(st.integers(0, left)))
        left -= counts[-1]
    uncached, read, other, marked = (*counts, 0)[:4]
    written = {"cache_write_1h_input_tokens" if mark == MARKS[2] else "cache_write_5m_input_tokens": marked}
    usage = Usage(uncached + other, read, output_tokens=data.draw(st.integers(0, max_tokens)), **written)
    place = geo or data.draw(st.sampled_from([None, "not_available", "us"]))
    pace = speed and data.draw(st.sampled_from(["standard", "fast"]))
    line = UsageLine(usage, model, speed=pace, inference_geo=place)
    cost, most = BOOK.cost_nano_usd([line], AT_MS), upper(found)
    if most is None:
        assert (geo, BOOK.cost_nano_usd([UsageLine(Usage(1), model, inference_geo=geo)], AT_MS)) == ("us", None)
    else:
        assert (cost or 0) <= most


def test_the_bound_by_hand() -> None:
    """100 tokens of output at 22 USD per million (a tenth more in the US), and the input where an hour is marked."""
    free, hour = reach(), reach(cache_control=MARKS[2])
    assert free is not None
    assert hour is not None
    assert (free.total_input_tokens * 4.4 + 100 * 22) * 1_000 == pytest.approx(upper(free))
    assert (hour.total_input_tokens * 8.8 + 100 * 22) * 1_000 == pytest.approx(upper(hour))
    stated = reach(inference_geo="global")
    assert stated is not None
    assert (stated.total_input_tokens * 4 + 100 * 20) * 1_000 == upper(stated)


def test_a_long_prompt_is_bounded_by_the_long_card() -> None:
    """Where the bound reaches into a dearer band, that band's card bounds the bill, output and all."""
    short, long = reach(model="claude-haiku-5-5"), reach(model="claude-haiku-5-5", system="x" * 100_000)
    assert short is not None
    assert long is not None
    assert (short.total_input_tokens * 0.11 + 100 * 0.55) * 1_000 == pytest.approx(upper(short))
    assert (long.total_input_tokens * 0.55 + 100 * 2.75) * 1_000 == pytest.approx(upper(long))


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "document", "source": {"type": "url", "url": "http://127.0.0.1/a.pdf"}}],
        [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": PDF}]}],
        [{"type": "tool_result", "content": [{"type": "new", "content": "x"}, {"type": "document", "source": PDF}]}],
    ],
)
def test_a_document_may_fill_the_context(content: list[dict[str, Any]]) -> None:
    """How long a document is its bytes do not say."""
    found = reach(messages=[{"role": "user", "content": content}])
    assert found is not None
    assert CONTEXT_TOKENS_MAX == found.total_input_tokens


def test_each_reference_may_bring_its_tool_in() -> None:
    """A deferred tool stands in the body once, and in the prompt wherever a result refers to it."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "a"}]}
    once, twice = (reach(system="x" * 9_000, messages=[{"role": "user", "content": [result] * n}]) for n in (1, 2))
    assert once is not None
    assert twice is not None
    assert 9_000 < twice.total_input_tokens - once.total_input_tokens


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def test_searches_are_bounded_by_how_many_are_allowed() -> None:
    """Each may begin a new pass over a whole context, and has its fee."""
    found = reach(tools=[{**SEARCH, "max_uses": 20}])
    few = reach(tools=[{**SEARCH, "max_uses": 1}, {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 1}])
    assert found is not None
    assert few is not None
    assert [(21, 20), (SERVER_PASSES, 1)] == [(each.passes, each.searches) for each in (found, few)]
    passes = (found.total_input_tokens + 20 * CONTEXT_TOKENS_MAX) * 4.4 + 21 * 100 * 22
    assert passes * 1_000 + 20 * 10_000_000 == pytest.approx(upper(found))


UNBOUNDED: list[dict[str, Any]] = [
    {"max_tokens": None},
    {"max_tokens": -1},
    {"tools": [SEARCH]},
    {"tools": [{**SEARCH, "max_uses": "many"}]},
    {"tools": [{**SEARCH, "max_uses": -1}]},
    {"tools": [{**SEARCH, "max_uses": 10**30}]},
    {"tools": [{**SEARCH, "max_uses": USES_MAX}, {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 1}]},
    {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
    {"tools": [{"type": "new_tool_20270101", "name": "new"}]},
    {"thread": {"type": "create"}},
    {"fallbacks": "default"},
    {"mcp_servers": [{"type": "url", "url": "http://127.0.0.1", "name": "a"}]},
    {"compaction": {"type": "summarize"}},
    {"context_management": {"edits": [{"type": "compact_20260112"}]}},
]


@pytest.mark.parametrize("fields", UNBOUNDED)
def test_what_nothing_bounds_has_no_bound(fields: dict[str, Any]) -> None:
    """Other models, servers of tools, summaries, and history that only the server has."""
    assert None is reach(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"fallbacks": None},
        {"mcp_servers": []},
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    ],
)
def test_what_adds_nothing_leaves_the_bound(fields: dict[str, Any]) -> None:
    """Empty members, and edits that only take away."""
    found, plain = reach(**fields), reach()
    assert found is not None
    assert plain is not None
    assert (1, plain.output_tokens) == (found.passes, found.output_tokens)


@pytest.mark.parametrize("max_tokens", [10**6, 10**18, 2**63 - 1])
def test_no_answer_is_longer_than_a_context(max_tokens: int) -> None:
    """Whatever a request asks for, so that the ledger, which holds 64 bits, can keep its bound."""
    found = reach(max_tokens=max_tokens, tools=[{**SEARCH, "max_uses": USES_MAX}])
    assert found is not None
    assert CONTEXT_TOKENS_MAX == found.output_tokens
    assert (upper(found) or 2**63) < 2**63


def test_a_model_without_a_price_has_no_bound() -> None:
    """Nor has one in a geography that it has no price for."""
    unknown, elsewhere = reach(model="gpt-9"), reach(inference_geo="mars")
    assert unknown is not None
    assert elsewhere is not None
    assert (None, None) == (upper(unknown), upper(elsewhere))


# --- once something was answered ---


def seen(complete: bool = False, **more: Any) -> tuple[Answer, Metered | None]:
    """Return an answer with this usage so far, and its lines."""
    answer = Answer(served_model="claude-opus-5-5", usage=ApiUsage(**more), usage_complete=complete)
    return answer, answer.metered(None)


def after(found: Reach | None, answer: Answer, metered: Metered | None, status: int | None = 200) -> int | None:
    """Return the upper bound after an answer to a request that could cost 10**9 nano-USD when it was sent."""
    return upper_nano_usd(10**9, found, answer, metered, status, BOOK, AT_MS)


def test_a_final_usage_is_the_bound() -> None:
    """With it there is nothing to bound: the cost is the cost."""
    assert 1_000 * 4_000 + 7 * 20_000 == after(reach(), *seen(complete=True, input_tokens=1_000, output_tokens=7))


def test_once_the_input_is_known_only_the_output_is_open() -> None:
    """`message_start` states the input side exactly; `max_tokens` bounds what may still come."""
    assert 1_000 * 4_000 + 100 * 20_000 == after(reach(), *seen(input_tokens=1_000, output_tokens=2))
    assert 1_000 * 4_000 + 120 * 20_000 == after(reach(), *seen(input_tokens=1_000, output_tokens=120))


def test_where_the_input_may_grow_the_first_bound_stays() -> None:
    """With tools of the API's own, with no input side at all, or with a write of an unknown lifetime."""
    search = reach(tools=[{**SEARCH, "max_uses": 3}])
    known: dict[str, Any] = {"input_tokens": 1_000, "output_tokens": 2}
    assert 10**9 == after(search, *seen(**known))
    assert 10**9 == after(reach(), *seen(output_tokens=2))
    hour = reach(cache_control=MARKS[2])
    assert 10**9 == after(hour, *seen(**known, cache_creation_input_tokens=5))
    split = CacheCreation(0, 5)
    assert 1_005 * 4_000 + 5 * 4_000 + 100 * 20_000 == after(
        hour, *seen(**known, cache_creation_input_tokens=5, cache_creation=split)
    )


@pytest.mark.parametrize(
    ("status", "error_type", "expected"),
    [
        (400, None, 0),
        (429, "rate_limit_error", 0),
        (529, "overloaded_error", 0),
        (500, "api_error", 0),
        (502, None, 10**9),
        (504, None, 10**9),
        (200, "overloaded_error", 10**9),
        (302, None, 10**9),
        (None, None, 10**9),
    ],
)
def test_what_the_api_refused_costs_nothing(status: int | None, error_type: str | None, expected: int) -> None:
    """A server's error that does not speak the API's language may stand before an API that went on working."""
    assert expected == after(reach(), Answer(error_type=error_type), None, status)


def test_no_request_no_bound() -> None:
    """A body that was not read has no bound until its usage is final, or it was refused."""
    answer, metered = seen(input_tokens=1_000, output_tokens=2)
    assert None is upper_nano_usd(None, None, answer, metered, 200, BOOK, AT_MS)
    assert 0 == upper_nano_usd(None, None, Answer(), None, 413, BOOK, AT_MS)
    whole = msgspec.structs.replace(answer, usage_complete=True)
    assert 1_000 * 4_000 + 2 * 20_000 == upper_nano_usd(None, None, whole, metered, 200, BOOK, AT_MS)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**12))
def test_the_ends_never_cross(uncached: int, read: int, output: int, sent: int) -> None:
    """The upper end is never below the cost of what was already seen."""
    answer, metered = seen(input_tokens=uncached, cache_read_input_tokens=read, output_tokens=output)
    assert metered is not None
    for found in (reach(), None, reach(tools=[{**SEARCH, "max_uses": 1}])):
        most = upper_nano_usd(sent, found, answer, metered, 200, BOOK, AT_MS)
        assert (BOOK.cost_nano_usd(metered.lines, AT_MS) or 0) <= (most or 0)
