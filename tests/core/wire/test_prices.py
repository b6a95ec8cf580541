"""Tests of the price book against the published tables, typed by hand and computed with fractions."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.prices import (
    BookData,
    ModelPrices,
    PriceBook,
    PriceEntry,
    PriceRow,
    RateCard,
    build_book,
    nano_usd,
)
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
CLASSES = (
    "uncached_input_tokens",
    "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)


def at(day: str) -> int:
    """Return a day's first moment (UTC) in milliseconds since the epoch."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000


NOW = at("2026-11-22")

#: Anthropic's price table as of November 2026, USD per million tokens: input, 5m write, 1h write, read, output,
#: batch input, batch output. Typed from the pages, not from our data.
STANDARD = {
    "claude-haiku-5-5": "0.10 0.125 0.20 0.01 0.50 0.05 0.25",
    "claude-haiku-4-5": "1 1.25 2 0.10 5 0.50 2.50",
    "claude-haiku-4-5-20251001": "1 1.25 2 0.10 5 0.50 2.50",
    "claude-sonnet-5-5": "2 2.50 4 0.10 10 1 5",
    "claude-sonnet-5": "2 2.50 4 0.20 10 1 5",
    "claude-sonnet-4-6": "3 3.75 6 0.30 15 1.50 7.50",
    "claude-sonnet-4-5": "3 3.75 6 0.30 15 1.50 7.50",
    "claude-opus-5-5": "4 5 8 0.20 20 2 10",
    "claude-opus-5": "5 6.25 10 0.50 25 2.50 12.50",
    "claude-opus-4-8": "5 6.25 10 0.50 25 2.50 12.50",
    "claude-opus-4-7": "5 6.25 10 0.50 25 2.50 12.50",
    "claude-opus-4-6": "5 6.25 10 0.50 25 2.50 12.50",
    "claude-opus-4-5": "5 6.25 10 0.50 25 2.50 12.50",
    "claude-opus-4-5-20251101": "5 6.25 10 0.50 25 2.50 12.50",
    "claude-fable-5-2": "8 10 16 0.20 40 4 20",
    "claude-mythos-5-2": "8 10 16 0.20 40 4 20",
    "claude-fable-5-1": "10 12.50 20 0.25 50 5 25",
    "claude-mythos-5-1": "10 12.50 20 0.25 50 5 25",
    "claude-fable-5": "10 12.50 20 1.00 50 5 25",
    "claude-mythos-5": "10 12.50 20 1.00 50 5 25",
    "claude-opus-4-1": "15 18.75 30 1.50 75 7.50 37.50",
    "claude-opus-4-0": "15 18.75 30 1.50 75 7.50 37.50",
    "claude-3-5-haiku-20241022": "0.80 1 1.60 0.08 4 0.40 2",
    "claude-sonnet-4-20250514": "3 3.75 6 0.30 15 1.50 7.50",
    "claude-3-7-sonnet-20250219": "3 3.75 6 0.30 15 1.50 7.50",
    "claude-3-5-sonnet-20240620": "3 3.75 6 0.30 15 1.50 7.50",
    "claude-3-opus-20240229": "15 18.75 30 1.50 75 7.50 37.50",
    "claude-3-haiku-20240307": "0.25 0.30 0.50 0.03 1.25 0.125 0.625",
}
LONG_HAIKU = "0.50 0.625 1.00 0.05 2.50 0.25 1.25"
FAST = {
    "claude-opus-5-5": "8 10 16 0.40 40",
    "claude-fable-5-2": "16 20 32 0.40 80",
    "claude-mythos-5-2": "16 20 32 0.40 80",
    "claude-opus-5": "10 12.5 20 1.00 50",
    "claude-opus-4-8": "10 12.5 20 1.00 50",
}

tokens = st.integers(0, 20_000)
usages = st.builds(Usage, *[tokens] * 5, web_search_requests=st.integers(0, 20))
models = st.sampled_from(sorted(set(STANDARD) - {"claude-haiku-5-5"}))
lines = st.builds(UsageLine, usages, models, service_tier=st.sampled_from([None, "standard", "batch"]))


def rates(row: str) -> list[Fraction]:
    """Read a row of a table above."""
    return [Fraction(each) for each in row.split()]


def bill(usage: Usage, per_mtok: list[Fraction], factor: Fraction = Fraction(1)) -> int:
    """Compute a bill in nano-USD with fractions, searches included, rounded half up."""
    counts = [getattr(usage, name) for name in CLASSES]
    usd = factor * sum((n * rate for n, rate in zip(counts, per_mtok, strict=True)), Fraction(0)) / 10**6
    usd += Fraction(usage.web_search_requests * 10, 1000)
    return (usd * 10**9 + Fraction(1, 2)).__floor__()


def card_of(
    model: str | None, moment: int = NOW, *, tier: str | None = None, geo: str | None = None
) -> RateCard | None:
    """Return what a short prompt is billed at."""
    return BOOK.line_card(UsageLine(Usage(1), model, service_tier=tier, inference_geo=geo), moment, 1)


def small(usage: Usage) -> Usage:
    """Return a usage whose prompt stays in the lowest band."""
    return Usage(*(min(count, 9_000) for count in msgspec.structs.astuple(usage)))


@pytest.mark.parametrize("model", STANDARD)
@given(usage=usages.map(small))
def test_every_row_of_the_standard_table(model: str, usage: Usage) -> None:
    """Each model bills what the published table says, at standard and batch rates, to the nano-dollar."""
    *standard, batch_in, batch_out = rates(STANDARD[model])
    assert bill(usage, standard) == BOOK.cost_nano_usd([UsageLine(usage, model)], NOW)
    batch = [rate / 2 for rate in standard]
    assert [batch_in, batch_out] == [batch[0], batch[4]]
    assert bill(usage, batch) == BOOK.cost_nano_usd([UsageLine(usage, model, service_tier="batch")], NOW)


@pytest.mark.parametrize("model", FAST)
@given(usage=usages)
def test_every_row_of_the_fast_table(model: str, usage: Usage) -> None:
    """Fast requests have a card of their own, and geography stacks on it."""
    row = rates(FAST[model])
    assert bill(usage, row) == BOOK.cost_nano_usd([UsageLine(usage, model, speed="fast")], NOW)
    us = UsageLine(usage, model, speed="fast", inference_geo="us")
    assert bill(usage, row, Fraction(11, 10)) == BOOK.cost_nano_usd([us], NOW)


def test_fast_without_a_price_is_unknown() -> None:
    """Fast is a price only where the model has one, never with batch, and no longer once it was removed."""
    for model, day in (("claude-opus-4-7", NOW), ("claude-haiku-5-5", NOW), ("claude-opus-4-8", at("2026-11-30"))):
        assert BOOK.cost_nano_usd([UsageLine(Usage(1), model, speed="fast")], day) is None
    assert BOOK.cost_nano_usd([UsageLine(Usage(1), "claude-opus-5-5", service_tier="batch", speed="fast")], NOW) is None
    assert BOOK.cost_nano_usd([UsageLine(Usage(1), "claude-opus-4-8", speed="fast")], at("2026-11-30") - 1) is not None


@given(read=st.integers(0, 100_000), written=st.integers(0, 50_000), output=st.integers(0, 9_000), batch=st.booleans())
def test_the_band_of_haiku_starts_above_100_000(read: int, written: int, output: int, batch: bool) -> None:
    """At exactly 100,000 prompt tokens the short card holds; one more puts every token, output too, on the long one."""
    read, written = read // 2, written // 2
    prompt = read + 2 * written
    tier = "batch" if batch else None
    for length, row in ((100_000, STANDARD["claude-haiku-5-5"]), (100_001, LONG_HAIKU)):
        usage = Usage(length - prompt, read, written, written, output)
        card = [rate / (2 if batch else 1) for rate in rates(row)[:5]]
        line = UsageLine(usage, "claude-haiku-5-5", service_tier=tier)
        assert length == usage.total_input_tokens
        assert bill(usage, card) == BOOK.cost_nano_usd([line], NOW)


def test_the_band_is_judged_by_line_or_by_exchange() -> None:
    """Two short iterations stay short line by line, and are long together if the book is told so."""
    parts = [UsageLine(Usage(60_000, output_tokens=10), "claude-haiku-5-5")] * 2
    parts.append(UsageLine(Usage(50), "claude-haiku-5-5", kind="compaction"))
    by_exchange = msgspec.structs.replace(BOOK, long_prompt_scope="exchange")
    short, long = rates(STANDARD["claude-haiku-5-5"])[:5], rates(LONG_HAIKU)[:5]
    each = [line.usage for line in parts]
    assert sum(bill(usage, short) for usage in each) == BOOK.cost_nano_usd(parts, NOW)
    expected = sum(bill(usage, long) for usage in each[:2]) + bill(each[2], short)
    assert expected == by_exchange.cost_nano_usd(parts, NOW)


@pytest.mark.parametrize(
    ("model", "until", "long"),
    [
        ("claude-opus-4-6", "2026-03-13", "10 12.5 20 1 37.5"),
        ("claude-sonnet-4-6", "2026-03-13", "6 7.5 12 0.6 22.5"),
        ("claude-sonnet-4-5", "2026-04-30", "6 7.5 12 0.6 22.5"),
        ("claude-sonnet-4", "2026-04-30", "6 7.5 12 0.6 22.5"),
    ],
)
def test_the_former_long_context_premium(model: str, until: str, long: str) -> None:
    """Prompts over 200,000 tokens cost more while the 1M context beta lasted, and not a day longer."""
    usage = Usage(200_001, output_tokens=100)
    standard = rates(STANDARD.get(model, STANDARD["claude-sonnet-4-5"]))[:5]
    line = [UsageLine(usage, model)]
    assert bill(usage, rates(long)) == BOOK.cost_nano_usd(line, at(until) - 1)
    assert bill(usage, standard) == BOOK.cost_nano_usd(line, at(until))
    edge = Usage(200_000, output_tokens=100)
    assert bill(edge, standard) == BOOK.cost_nano_usd([UsageLine(edge, model)], at(until) - 1)


def test_prices_are_dated() -> None:
    """Cache reads of Sonnet 5.5 cost $0.20 until 2026-10-07 and $0.10 from its first millisecond, in batches too."""
    for tier, before, after in ((None, 200_000, 100_000), ("batch", 100_000, 50_000)):
        for moment, expected in ((0, before), (at("2026-10-07") - 1, before), (at("2026-10-07"), after)):
            card = card_of("claude-sonnet-5-5", moment, tier=tier)
            assert card is not None
            assert expected == card.cache_read


@given(usage=usages, model=st.sampled_from(["claude-opus-4-6", "claude-sonnet-5", "claude-fable-5-2"]))
def test_us_inference_costs_a_tenth_more(usage: Usage, model: str) -> None:
    """inference_geo "us" multiplies every token class by 11/10, and no search fee."""
    row = rates(STANDARD[model])[:5]
    us = UsageLine(usage, model, inference_geo="us")
    assert bill(usage, row, Fraction(11, 10)) == BOOK.cost_nano_usd([us], NOW)
    for neutral in (None, "", "global", "not_available"):
        assert bill(usage, row) == BOOK.cost_nano_usd([UsageLine(usage, model, inference_geo=neutral)], NOW)


def test_a_geography_that_is_not_sold_is_unknown() -> None:
    """Models before 4.6 have no US price, and nobody has one for a place that we have not heard of."""
    assert card_of("claude-opus-4-5", geo="us") is None
    assert card_of("claude-opus-5", geo="mars") is None


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("claude-sonnet-4-0", "claude-sonnet-4"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
        ("claude-opus-4-6[1m]", "claude-opus-4-6"),
        ("claude-sonnet-4-20250514[1m]", "claude-sonnet-4"),
        ("anthropic/claude-opus-4.5", "claude-opus-4-5"),
        ("anthropic/claude-3.7-sonnet", "claude-3-7-sonnet"),
        ("Claude-4-Sonnet-20250514", "claude-sonnet-4"),
        ("global.anthropic.claude-opus-4-6-v1:0", "claude-opus-4-6"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet"),
        ("bedrock/us.anthropic.claude-opus-4-20250514-v1:0", "claude-opus-4"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1"),
    ],
)
def test_spellings_of_one_model(spelling: str, model: str) -> None:
    """Snapshots, "latest", and the clouds' spellings are priced as the model they name."""
    found = BOOK.find(spelling)
    assert found is not None
    assert model == found.model
    card = card_of(spelling)
    assert card is not None
    assert card_of(model) == card


@pytest.mark.parametrize("place", ["us.", "eu.", "apac.", "jp.", "au.", ""])
def test_regional_endpoints_cost_a_tenth_more(place: str) -> None:
    """Bedrock's regional endpoints carry a premium since the 4.5 models; older models carry none."""
    regional = card_of(f"{place}anthropic.claude-sonnet-4-5-20250929-v1:0")
    assert RateCard(3_300_000, 330_000, 4_125_000, 6_600_000, 16_500_000) == regional


@pytest.mark.parametrize(
    "model", [None, "", "<synthetic>", "haiku", "gpt-5", "claude-opus-9", "claude-opus-4-5-x", "-"]
)
def test_an_unknown_model_has_no_price(model: str | None) -> None:
    """What we do not know costs None, never 0, and is named once for a warning."""
    known = UsageLine(Usage(1), "claude-opus-5")
    unknown = UsageLine(Usage(1), model)
    assert BOOK.cost_nano_usd([known, unknown], NOW) is None
    assert (model or "(no model)",) == BOOK.unpriced([unknown, known, unknown], NOW)
    assert card_of(model) is None


def test_an_unknown_lane_is_named_with_its_model() -> None:
    """A service tier, speed or place that we do not know says so."""
    odd = [UsageLine(Usage(1), "claude-opus-5", service_tier="flex"), UsageLine(Usage(1), "claude-opus-4-5")]
    odd.append(UsageLine(Usage(1), "claude-opus-4-5", speed="fast", inference_geo="us"))
    assert ("claude-opus-5 (flex)", "claude-opus-4-5 (fast/us)") == BOOK.unpriced(odd, NOW)
    assert BOOK.cost_nano_usd(odd, NOW) is None


def test_no_lines_have_no_bill() -> None:
    """An exchange of which nothing is known to have been used costs None, not 0."""
    assert BOOK.cost_nano_usd([], NOW) is None
    assert () == BOOK.unpriced([], NOW)


@given(st.lists(lines, min_size=1, max_size=6))
def test_a_bill_is_the_sum_of_its_lines_rounded_once(parts: list[UsageLine]) -> None:
    """Lines add up in fractions of a nano-USD; only the whole is rounded, half up."""
    exact = Fraction(0)
    for line in parts:
        halved = 2 if line.service_tier == "batch" else 1
        card = [rate / halved for rate in rates(STANDARD[str(line.model)])[:5]]
        counts = [getattr(line.usage, name) for name in CLASSES]
        exact += sum((n * rate for n, rate in zip(counts, card, strict=True)), Fraction(0)) * 1000
        exact += line.usage.web_search_requests * 10**7
    assert (exact + Fraction(1, 2)).__floor__() == BOOK.cost_nano_usd(parts, NOW)


@given(parts=st.lists(lines, min_size=1, max_size=4))
def test_a_bill_is_made_from_the_cards_of_its_lines(parts: list[UsageLine]) -> None:
    """Whoever adds up lines by their cards, as reports do, gets the bill; a line without a card has no price."""
    cards = [BOOK.line_card(line, NOW, length) for line, length in BOOK.with_lengths(parts)]
    fees = sum(line.usage.web_search_requests for line in parts) * BOOK.web_search_pico_usd
    pico_usd = sum(card.cost_pico_usd(line.usage) for card, line in zip(cards, parts, strict=True) if card)
    assert nano_usd(pico_usd + fees) == BOOK.cost_nano_usd(parts, NOW)


@pytest.mark.parametrize(("pico", "nano"), [(0, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2)])
def test_rounding_is_half_up(pico: int, nano: int) -> None:
    """To whole nano-USD."""
    assert nano == nano_usd(pico)


@given(first=usages, second=usages, model=models)
def test_cards_are_additive(first: Usage, second: Usage, model: str) -> None:
    """The classes are disjoint: a card prices a sum as the sum of the prices."""
    card = card_of(model)
    assert card is not None
    assert card.cost_pico_usd(first) + card.cost_pico_usd(second) == card.cost_pico_usd(first + second)


@given(line=lines, more=st.integers(1, 10_000), name=st.sampled_from([*CLASSES, "web_search_requests"]))
def test_more_of_anything_never_costs_less(line: UsageLine, more: int, name: str) -> None:
    """A bill grows with each class."""
    usage = msgspec.structs.replace(line.usage, **{name: getattr(line.usage, name) + more})
    before = BOOK.cost_nano_usd([line], NOW)
    after = BOOK.cost_nano_usd([msgspec.structs.replace(line, usage=usage)], NOW)
    assert before is not None
    assert after is not None
    assert before < after


@given(usages, st.integers(0, 5_000))
def test_thinking_is_a_part_of_output(usage: Usage, thinking: int) -> None:
    """Thinking tokens are billed within the output, not again."""
    thought = msgspec.structs.replace(usage, thinking_tokens=thinking)
    expected = BOOK.cost_nano_usd([UsageLine(usage, "claude-opus-5")], NOW)
    assert expected == BOOK.cost_nano_usd([UsageLine(thought, "claude-opus-5")], NOW)


# --- books of our own -------------------------------------------------------------------------------------------

CARD = RateCard(10, 20, 30, 40, 50)


def entry(day: date | None = None, **fields: object) -> PriceEntry:
    """Return an entry with one plain card."""
    return msgspec.structs.replace(PriceEntry("test", (PriceRow("standard", CARD),), day), **fields)


def book_of(*prices: ModelPrices, **fields: object) -> PriceBook:
    """Build a book of these models."""
    data = BookData("pico-USD/token", prices, lanes={"standard/standard": "standard"}, web_search_pico_usd=7)
    return build_book(msgspec.structs.replace(data, **fields))


def test_a_half_is_rounded_up() -> None:
    """499 pico-USD are 0 nano-USD, 500 are 1."""
    book = book_of(ModelPrices("m", (entry(rows=(PriceRow("standard", RateCard(1, 0, 0, 0, 0)),)),)))
    costs = [book.cost_nano_usd([UsageLine(Usage(count), "m")], 0) for count in (0, 499, 500, 1499, 1500)]
    assert [0, 0, 1, 1, 2] == costs


@pytest.mark.parametrize(
    ("prices", "what"),
    [
        ((ModelPrices("m", ()),), "not dated in order"),
        ((ModelPrices("m", (entry(), entry())),), "not dated in order"),
        ((ModelPrices("m", (entry(date(2026, 2, 1)), entry(date(2026, 1, 1)))),), "not dated in order"),
        ((ModelPrices("m", (entry(date(2026, 2, 1)), entry())),), "not dated in order"),
        ((ModelPrices("m", (entry(rows=()),)),), "no single card"),
        ((ModelPrices("m", (entry(rows=(PriceRow("standard", CARD, 5),)),)),), "no single card"),
        ((ModelPrices("m", (entry(rows=(PriceRow("standard", CARD),) * 2),)),), "no single card"),
        ((ModelPrices("m", (entry(geography={"us": (11, 100)}),)),), "not a whole number"),
        ((ModelPrices("m", (entry(geography={"us": (10**13, 1)}),)),), "more than a dollar per token"),
        ((ModelPrices("m", (entry(),), ("x",)), ModelPrices("x", (entry(),))), "go by the name 'x'"),
    ],
)
def test_a_book_that_contradicts_itself_is_refused(prices: tuple[ModelPrices, ...], what: str) -> None:
    """Undated, ambiguous or fractional prices are refused in one sentence when the book is built."""
    with pytest.raises(ValueError, match=what):
        book_of(*prices)


def test_a_book_needs_its_fee_and_no_empty_prefix() -> None:
    """A book without a search fee would bill searches at nothing; an empty prefix would be stripped for ever."""
    with pytest.raises(ValueError, match="web search"):
        book_of(web_search_pico_usd=None)
    with pytest.raises(ValueError, match="prefix"):
        book_of(prefixes={"": "us"})


names = st.sampled_from(["a", "b", "c"])
entries = st.builds(PriceEntry, st.sampled_from(["x", "y"]), st.just((PriceRow("standard", CARD),)))
books = st.builds(
    BookData,
    unit=st.just("pico-USD/token"),
    models=st.lists(st.builds(ModelPrices, names, st.tuples(entries)), unique_by=lambda each: each.model).map(tuple),
    lanes=st.dictionaries(names, st.sampled_from(["standard", "batch"])),
    prefixes=st.dictionaries(names, names),
    neutral_geographies=st.sampled_from([("",), ("", "global")]),
    web_search_pico_usd=st.integers(0, 3),
)


@given(base=books, wanted=books)
def test_what_is_beyond_a_book_laid_over_it_is_the_whole(base: BookData, wanted: BookData) -> None:
    """`beyond` loses nothing that `overlaid` needs, and is None where there is nothing."""
    rest = wanted.beyond(base)
    assert base.overlaid(wanted) == (base if rest is None else base.overlaid(rest))
    assert base.beyond(base) is None


def test_a_price_file_decides_the_scope_of_long_prompts() -> None:
    """The open question of the band is a setting in the data: a user's file can choose the dearer reading."""
    mine = msgspec.structs.replace(BOOK.data, models=(), long_prompt_scope="exchange")

    assert "line" == build_book(BOOK.data).long_prompt_scope
    assert "exchange" == build_book(BOOK.data.overlaid(mine)).long_prompt_scope
    assert "exchange" == (BOOK.data.overlaid(mine).beyond(BOOK.data) or BOOK.data).long_prompt_scope
