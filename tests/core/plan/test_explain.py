"""Properties of the price of a break. Its causes are held against the simulator in tests/simulation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.cache import CacheRules, Entries, Split, land, predict, send
from scrimp.core.belief.divergence import compare
from scrimp.core.belief.prefix import Prompt, read_prompt
from scrimp.core.plan.explain import Break, confirmed, corresponding, explain, last_of, may_lose, unwarmed
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.usage import Usage

NOTHING: Mapping[str, Any] = MappingProxyType({})
MARK = {"cache_control": {"type": "ephemeral"}}


def read(
    system: str, messages: list[str], tokens: int = 1_000, settings: Mapping[str, Any] = NOTHING
) -> tuple[Request, Prompt]:
    """Return a request marked at its end, of so many tokens a block."""
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text} for text in messages]
    blocks[-1] |= MARK
    body = {"model": "claude-opus-5-5", "system": system, "messages": [{"role": "user", "content": blocks}], **settings}
    request = parse(json.dumps(body).encode())
    return request, read_prompt(request, [tokens] * len(request.blocks))


def in_tokens(usage: Usage) -> int:
    """Price a read at one and anything else at ten a token."""
    return usage.cache_read_input_tokens + 10 * (usage.total_input_tokens - usage.cache_read_input_tokens)


@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=8), st.integers(0, 3))
def test_what_was_lost_is_what_was_left_and_not_read(messages: list[str], more: int) -> None:
    """With another system prompt all that was cached is lost, and paid as new instead of as read."""
    request, prompt = read("one", messages)
    last = last_of(request, prompt, 0)
    request, prompt = read("two", messages + ["x"] * more)
    split = predict({}, prompt, 0, CacheRules())
    found = explain(last, request, prompt, split, {}, 0, in_tokens)
    assert found is not None
    assert 1_000 * (1 + len(messages)) == found.lost_tokens
    assert 9 * found.lost_tokens == found.cost_nano_usd


WORDS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5)


@given(st.sampled_from(["one", "two"]), WORDS, WORDS, st.sampled_from([{}, {"tool_choice": {"type": "any"}}]))
def test_what_only_goes_on_has_no_divergence(
    system: str, messages: list[str], more: list[str], settings: dict[str, Any]
) -> None:
    """A break is explained as if every block had been compared, whether the chains alone say that none differs."""
    last = last_of(*read("one", messages), 0)
    request, prompt = read(system, more, settings=settings)
    found = explain(last, request, prompt, predict({}, prompt, 0, CacheRules()), {}, 0, in_tokens)
    assert last is not None
    assert found is not None
    assert compare(last.request, request) == found.divergence


def test_nothing_before_and_nothing_marked_explain_nothing() -> None:
    """A first request breaks nothing, and one without marks leaves nothing to be broken."""
    request, prompt = read("one", ["a"])
    unmarked = Prompt(**{name: getattr(prompt, name) for name in prompt.__struct_fields__} | {"marks": ()})
    assert explain(None, request, prompt, Split(None, (), Usage(2_000)), {}, 0, in_tokens) is None
    assert last_of(request, unmarked, 0) is None


@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=8), st.integers(1, 8))
def test_the_corresponding_block_has_the_same_place_in_its_tier(messages: list[str], kept: int) -> None:
    """Of a shorter prompt it is the last block, of a longer one the block with the same number."""
    last = last_of(*read("one", messages), 0)
    assert last is not None
    _, prompt = read("two", messages[:kept])
    assert min(len(messages), kept, len(messages[:kept])) == corresponding(last, prompt)


def _break(left: int, lost: int) -> Break:
    return Break(
        cause="date",
        reason="system_changed",
        path="system.0",
        byte=1,
        lost_tokens=lost,
        left_tokens=left,
        place_tokens=left,
        cost_nano_usd=None,
    )


@given(st.integers(1, 1_000), st.integers(0, 1_000), st.integers(0, 1_000), st.integers(1, 20))
def test_a_bill_as_expected_confirms_what_was_expected(lost: int, kept: int, more: int, times: int) -> None:
    """However long the tokens of the bill are, what it adds to the estimate is lost tokens at nine each."""
    left = lost + kept
    usage = Usage(cache_read_input_tokens=kept * times, cache_write_5m_input_tokens=(lost + more) * times)
    found = confirmed(_break(left, lost), left + more, usage, in_tokens)
    assert found is not None
    assert (lost * times, 9 * lost * times) == (found.lost_tokens, found.cost_nano_usd)


@given(st.integers(1, 1_000), st.integers(0, 1_000), st.integers(0, 1_000))
def test_a_bill_that_reads_all_shows_no_break(lost: int, kept: int, more: int) -> None:
    """What was read cannot have been lost, whatever was expected."""
    usage = Usage(cache_read_input_tokens=lost + kept, cache_write_5m_input_tokens=more)
    assert None is confirmed(_break(lost + kept, lost), lost + kept + more, usage, in_tokens)


def test_the_bill_before_says_best_what_was_left() -> None:
    """Its count takes the place of the estimate."""
    usage = Usage(cache_write_5m_input_tokens=1_200)
    found = confirmed(_break(900, 900), 1_000, usage, in_tokens, warm_tokens=1_100)
    assert found is not None
    assert (1_100, 9 * 1_100) == (found.lost_tokens, found.cost_nano_usd)


@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=6), st.integers(0, 3), st.booleans())
def test_only_what_is_surely_read_may_not_lose(messages: list[str], more: int, same: bool) -> None:
    """The quick look is never wrong where it says that nothing is lost."""
    request, prompt = read("one", messages)
    last = last_of(request, prompt, 0)
    assert last is not None
    entries = _landed(prompt)
    request, prompt = read("one" if same else "two", messages + ["x"] * more)
    split = predict(entries, prompt, 1, CacheRules())
    assert same != may_lose(last, prompt, split)
    assert same == (explain(last, request, prompt, split, entries, 1, in_tokens) is None)


def _landed(prompt: Prompt) -> Entries:
    sent = send({}, prompt, predict({}, prompt, 0, CacheRules()), 0, "e", CacheRules())
    return land(sent, "e")


def test_a_sibling_under_way_is_a_fan_out() -> None:
    """What another request is writing at this moment could have been read a little later."""
    _, prompt = read("one", ["a", "b"])
    split = predict({}, prompt, 0, CacheRules())
    flying = send({}, prompt, split, 0, "e", CacheRules())
    found = unwarmed(prompt, predict(flying, prompt, 1, CacheRules()), flying, in_tokens)
    assert found is not None
    assert ("concurrency", 3_000, 9 * 3_000) == (found.cause, found.lost_tokens, found.cost_nano_usd)
    assert None is unwarmed(prompt, split, {}, in_tokens)
    assert None is unwarmed(prompt, predict(_landed(prompt), prompt, 1, CacheRules()), _landed(prompt), in_tokens)
