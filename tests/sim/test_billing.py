"""The simulator's biller: published prices, exact sums, one rounding."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.billing import ROWS, Classes, Invoice, Terms, card_of, cost_nano_usd, cost_of_parts
from scrimp.sim.models import MODELS, day_ms

NOW = day_ms("2026-11-22")
MILLION = 1_000_000
USD = 1_000_000_000


def _usd(model: str, at_ms: int = NOW, **terms: str) -> tuple[float, ...]:
    """Return the price of a million tokens of each class in dollars, from prompts that stay below any band."""
    names = ("uncached_input_tokens", "cache_write_5m_input_tokens", "cache_write_1h_input_tokens")
    inputs = (*names, "cache_read_input_tokens", "output_tokens")
    costs = [cost_nano_usd(Classes(**{name: 10_000}), Terms(model, at_ms, **terms)) for name in inputs]
    return tuple(cost * 100 / USD for cost in costs)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-haiku-5-5", (0.10, 0.125, 0.20, 0.01, 0.50)),
        ("claude-haiku-4-5-20251001", (1, 1.25, 2, 0.10, 5)),
        ("claude-sonnet-5-5", (2, 2.50, 4, 0.10, 10)),
        ("claude-sonnet-5", (2, 2.50, 4, 0.20, 10)),
        ("claude-sonnet-4-6", (3, 3.75, 6, 0.30, 15)),
        ("claude-opus-5-5", (4, 5, 8, 0.20, 20)),
        ("claude-opus-4-7", (5, 6.25, 10, 0.50, 25)),
        ("claude-fable-5-2", (8, 10, 16, 0.20, 40)),
        ("claude-mythos-5-1", (10, 12.50, 20, 0.25, 50)),
        ("claude-fable-5", (10, 12.50, 20, 1.00, 50)),
        ("claude-opus-4-1", (15, 18.75, 30, 1.50, 75)),
    ],
)
def test_list_prices(model: str, expected: tuple[float, ...]) -> None:
    """Uncached, five-minute write, hour write, read and output as published."""
    assert expected == _usd(model)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-opus-5-5", (8, 10, 16, 0.40, 40)),
        ("claude-fable-5-2", (16, 20, 32, 0.40, 80)),
        ("claude-opus-5", (10, 12.5, 20, 1.00, 50)),
    ],
)
def test_fast_prices(model: str, expected: tuple[float, ...]) -> None:
    """Fast mode has a card of its own."""
    assert expected == _usd(model, speed="fast")


def test_every_model_has_a_price_at_all_times() -> None:
    """No served model is ever without a card, and no card names a model that is not served."""
    names = {model.name for model in MODELS}
    for name in names:
        assert all(price > 0 for at_ms in (0, NOW) for price in _usd(name, at_ms))
    assert set() == {name for row in ROWS for name in row.models} - names


def test_a_price_change_starts_on_its_day() -> None:
    """Sonnet 5.5's reads were halved on 2026-10-07; Opus 4.8 loses fast mode on 2026-11-30."""
    day = day_ms("2026-10-07")
    assert [0.20, 0.10] == [_usd("claude-sonnet-5-5", at_ms)[3] for at_ms in (day - 1, day)]
    last = day_ms("2026-11-30")
    assert 10 == _usd("claude-opus-4-8", last - 1, speed="fast")[0]
    with pytest.raises(KeyError, match="no fast price"):
        _usd("claude-opus-4-8", last, speed="fast")


def test_unknown_models_have_no_price() -> None:
    """An unknown model is an error, never free."""
    with pytest.raises(KeyError, match="no price"):
        card_of(Terms("claude-unknown", NOW), 1)


def test_a_long_haiku_prompt_is_billed_by_the_long_card() -> None:
    """Strictly more than 100,000 tokens of prompt, however they were billed: every class at five times, output too."""
    parts = {"uncached_input_tokens": 40_000, "cache_read_input_tokens": 30_000}
    writes = {"cache_write_5m_input_tokens": 20_000, "cache_write_1h_input_tokens": 10_000}
    terms = Terms("claude-haiku-5-5", NOW)
    at_limit = Classes(**parts, **writes, output_tokens=1_000)
    assert 4_000_000 + 300_000 + 2_500_000 + 2_000_000 + 500_000 == cost_nano_usd(at_limit, terms)
    above = Classes(**{**parts, "uncached_input_tokens": 40_001}, **writes, output_tokens=1_000)
    assert 20_000_500 + 1_500_000 + 12_500_000 + 10_000_000 + 2_500_000 == cost_nano_usd(above, terms)


def test_modifiers_multiply_tokens_and_not_fees() -> None:
    """US-only is a tenth more, a batch half, a search a cent whatever the rest."""
    classes = Classes(uncached_input_tokens=MILLION, web_search_requests=3)
    costs = {
        (tier, geo): cost_nano_usd(classes, Terms("claude-opus-5-5", NOW, service_tier=tier, inference_geo=geo))
        for tier in ("standard", "batch")
        for geo in ("global", "us")
    }
    fee = 30_000_000
    assert {
        ("standard", "global"): 4 * USD + fee,
        ("standard", "us"): 4_400_000_000 + fee,
        ("batch", "global"): 2 * USD + fee,
        ("batch", "us"): 2_200_000_000 + fee,
    } == costs


@pytest.mark.parametrize(("tokens", "expected"), [(1, 6), (2, 11), (5, 28), (10, 55)])
def test_a_request_is_rounded_half_up_once(tokens: int, expected: int) -> None:
    """Haiku 5.5 reads at US-only batch rates cost 5.5 nano-dollars each: 5.5 -> 6, 27.5 -> 28."""
    terms = Terms("claude-haiku-5-5", NOW, service_tier="batch", inference_geo="us")
    assert expected == cost_nano_usd(Classes(cache_read_input_tokens=tokens), terms)


counts = st.integers(0, 3_000_000)
all_classes = st.builds(Classes, counts, counts, counts, counts, counts, st.integers(0, 9))


@given(st.lists(st.tuples(all_classes, st.sampled_from(["standard", "batch"]), st.sampled_from(["global", "us"]))))
def test_the_invoice_equals_a_sum_in_fractions(requests: list[tuple[Classes, str, str]]) -> None:
    """Each line is within half a nano-dollar of the exact cost, and the totals are the sums of the lines."""
    invoice, exact = Invoice(), []
    for at, (classes, tier, geo) in enumerate(requests):
        invoice.add(f"req_{at}", f"msg_{at}", "w", Terms("claude-sonnet-5-5", NOW, tier, inference_geo=geo), classes)
        rate = (Fraction(1, 2) if tier == "batch" else 1) * (Fraction(11, 10) if geo == "us" else Fraction(1))
        tokens = (
            classes.uncached_input_tokens * 2_000
            + classes.cache_read_input_tokens * 100
            + classes.cache_write_5m_input_tokens * 2_500
            + classes.cache_write_1h_input_tokens * 4_000
            + classes.output_tokens * 10_000
        )
        exact.append(tokens * rate + classes.web_search_requests * 10_000_000)
    for line, cost in zip(invoice.lines, exact, strict=True):
        assert Fraction(-1, 2) < line.cost_nano_usd - cost <= Fraction(1, 2)
    shown = invoice.as_json()
    assert shown["cost_nano_usd"] == invoice.cost_nano_usd == sum(line["cost_nano_usd"] for line in shown["lines"])
    assert shown["requests"] == len(requests)
    assert shown["usage"] == {name: sum(line[name] for line in shown["lines"]) for name in Classes.__struct_fields__}


def test_an_invoice_line_is_flat_json() -> None:
    """One object a request: ids, what selected the rates, every class, the cost."""
    invoice = Invoice()
    invoice.add("req_1", "msg_1", "w", Terms("claude-opus-5-5", NOW), Classes(1, 2, 3, 4, 5, 0))
    assert {
        "request_id": "req_1",
        "message_id": "msg_1",
        "workspace": "w",
        "model": "claude-opus-5-5",
        "at_ms": NOW,
        "service_tier": "standard",
        "speed": "standard",
        "inference_geo": "global",
        "uncached_input_tokens": 1,
        "cache_read_input_tokens": 2,
        "cache_write_5m_input_tokens": 3,
        "cache_write_1h_input_tokens": 4,
        "output_tokens": 5,
        "web_search_requests": 0,
        "usage_arrived": True,
        "cost_nano_usd": 4_000 + 400 + 15_000 + 32_000 + 100_000,
    } == invoice.as_json()["lines"][0]


def test_an_answer_that_was_cut_bills_less_output() -> None:
    """The earlier parts' output first; the line says that its usage did not arrive, and its cost follows."""
    invoice, terms = Invoice(), Terms("claude-opus-5-5", NOW)
    for name in ("req_1", "req_2", "req_3"):
        invoice.add(name, "msg", "w", terms, [Classes(1, output_tokens=10), Classes(2, output_tokens=20)])
    invoice.cut("req_1", 15)
    invoice.cut("req_2")
    invoice.cut("req_nobody", 1)
    first, second, third = invoice.lines
    assert [10, 5] == [part.output_tokens for part in first.parts]
    assert (Classes(3, output_tokens=15), False) == (first.classes, first.usage_arrived)
    assert third.cost_nano_usd - 15 * 20_000 == first.cost_nano_usd
    assert (False, third.cost_nano_usd) == (second.usage_arrived, second.cost_nano_usd)
    assert third.usage_arrived
    assert ["req_1", "req_2", "req_3"] == [line.request_id for line in invoice.lines]


@given(st.integers(0, 100))
def test_a_cut_bills_what_was_said_and_no_more(output_tokens: int) -> None:
    """Never more than the answer had."""
    invoice = Invoice()
    invoice.add("r", "m", "w", Terms("claude-opus-5-5", NOW), [Classes(output_tokens=10), Classes(output_tokens=20)])
    invoice.cut("r", output_tokens)
    assert min(30, output_tokens) == invoice.totals().output_tokens


def test_parts_are_judged_each_by_its_own_length() -> None:
    """Two prompts of 60,000 tokens are short ones; together they would be a long one."""
    terms, part = Terms("claude-haiku-5-5", NOW), Classes(60_000)
    assert 2 * cost_nano_usd(part, terms) == cost_of_parts((part, part), terms)
    assert 5 * cost_of_parts((part, part), terms) == cost_nano_usd(Classes(120_000), terms)


def test_an_invoice_shows_its_last_lines() -> None:
    """Older ones stay in the totals, to the nano-dollar."""
    short, long = Invoice(lines_max=2), Invoice()
    for at in range(5):
        for invoice in (short, long):
            invoice.add(f"req_{at}", "msg", "w", Terms("claude-opus-5-5", NOW), Classes(at + 1, output_tokens=at))
    short.cut("req_0", 0)
    assert ["req_3", "req_4"] == [line.request_id for line in short.lines]
    assert (long.totals(), long.cost_nano_usd, 5) == (short.totals(), short.cost_nano_usd, short.requests)
