"""Rates by the line: those that a price book gives which remembers nothing yet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.prices import nano_usd
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.replay.rates import Rates, lines_of
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
#: Shared on purpose: what was remembered for one line must not be wrong for another.
RATES = Rates(BOOK)
BY_EXCHANGE = Rates(replace(BOOK, long_prompt_scope="exchange"))

COUNTS = st.sampled_from([0, 1, 99_999, 100_000, 100_001, 199_999, 200_000, 200_001, 900_000])
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
MODELS = st.sampled_from([*(prices.model for prices in BOOK.data.models), "claude-opus-4-5-20251101", "gpt-9", None])
LINES = st.builds(
    UsageLine,
    USAGES,
    MODELS,
    service_tier=st.sampled_from([None, "standard", "batch", "priority", "flex"]),
    speed=st.sampled_from([None, "standard", "fast", "ludicrous"]),
    inference_geo=st.sampled_from([None, "", "us", "global", "not_available", "mars"]),
)
TIMES = st.integers(1_700_000_000_000, 1_830_000_000_000)


@given(LINES, TIMES)
def test_a_remembered_card_bills_like_the_book(line: UsageLine, at_ms: int) -> None:
    """For every known model on both sides of every band, at any time, in any lane and place, as looked up first."""
    (card,) = RATES.cards((line,), at_ms)
    cost = None if card is None else nano_usd(card.cost_pico_usd(line.usage))
    fresh = replace(BOOK)
    assert fresh.line_card(line, at_ms, line.usage.total_input_tokens) == card
    assert fresh.cost_nano_usd((line,), at_ms) == cost


@given(st.lists(LINES, max_size=3), TIMES)
def test_a_book_that_judges_by_the_exchange_is_followed(lines: list[UsageLine], at_ms: int) -> None:
    """The dearer reading of the open question bills several lines by their common length."""
    lines = [replace(line, model="claude-haiku-5-5") for line in lines]
    cards = BY_EXCHANGE.cards(lines, at_ms)
    expected = BY_EXCHANGE.book.cost_nano_usd(lines, at_ms)
    if expected is None:
        assert not cards or None in cards
        return
    pico = sum(card.cost_pico_usd(line.usage) for card, line in zip(cards, lines, strict=True) if card)
    assert expected == nano_usd(pico)


def test_an_exchange_without_lines_is_billed_by_its_whole_usage() -> None:
    """Lines win where they are kept; without usage there is nothing to bill."""
    usage = Usage(1, 2)
    bare = Exchange(exchange_id="a", opened_at_ms=0, source="x", usage=usage, requested_model="asked")
    lines = (UsageLine(usage, "m"),)
    assert [(UsageLine(usage, "asked"),), (UsageLine(usage, "served"),), lines, ()] == [
        lines_of(each)
        for each in (
            bare,
            replace(bare, served_model="served"),
            replace(bare, usage_lines=lines),
            replace(bare, usage=None),
        )
    ]
