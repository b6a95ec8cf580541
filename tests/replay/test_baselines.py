"""The two baselines: what traffic costs with no cache, and with one-line automatic caching."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import CLIENT, PING, Exchange
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.replay.baselines import ENTRY_LIFE_MS, Baselines

CARD = RateCard(uncached_input=100, cache_read=10, cache_write_5m=125, cache_write_1h=200, output=500)
MODEL = "claude-sonnet-4-5"
#: Longer than the model's shortest cacheable prompt.
LONG = 2_000


def _estimate(*prompts: tuple[int, int], session: str | None = "s", agent: str | None = None) -> tuple[int, int]:
    """Return both baselines for prompts given as (time in ms, length), with 3 output tokens each."""
    baselines = Baselines()
    for at_ms, length in prompts:
        exchange = Exchange(exchange_id=f"e{at_ms}", opened_at_ms=at_ms, source="x", session_id=session, agent_id=agent)
        baselines.add(exchange, UsageLine(Usage(length, output_tokens=3), MODEL), CARD)
    return baselines.uncached_pico_usd, baselines.automatic_pico_usd


OUTPUT = 3 * 500


@pytest.mark.parametrize(
    ("second", "automatic"),
    [
        ((1_000, 2_500), 2_000 * 10 + 500 * 125),
        ((1_000, 2_000), 2_000 * 10),
        ((ENTRY_LIFE_MS, 2_500), 2_000 * 10 + 500 * 125),
        ((ENTRY_LIFE_MS + 1, 2_500), 2_500 * 125),
        ((1_000, 1_900), 1_900 * 125),
    ],
)
def test_a_prompt_reads_what_the_last_one_wrote(second: tuple[int, int], automatic: int) -> None:
    """It writes the rest; after 5 minutes from start to start, or if it shrank, it writes all."""
    first = LONG * 125 + OUTPUT
    assert ((LONG + second[1]) * 100 + 2 * OUTPUT, first + automatic + OUTPUT) == _estimate((0, LONG), second)


def test_each_use_renews_the_entry() -> None:
    """The five minutes run from the last use, not from the first write."""
    step = ENTRY_LIFE_MS - 1
    _, automatic = _estimate((0, LONG), (step, LONG), (2 * step, LONG))
    assert LONG * 125 + 2 * LONG * 10 + 3 * OUTPUT == automatic


def test_short_prompts_are_not_cached() -> None:
    """Below the model's shortest cacheable length both baselines are the same."""
    uncached, automatic = _estimate((0, 1_000), (1, 1_000))
    assert 2 * 1_000 * 100 + 2 * OUTPUT == uncached == automatic


def test_chains_do_not_read_each_others_entries() -> None:
    """Another agent, model or session, or no known session at all, is another chain."""
    baselines = Baselines()
    for number, (session, agent, model) in enumerate(
        [
            ("s", None, MODEL),
            ("s", "a", MODEL),
            ("t", None, MODEL),
            ("s", None, f"{MODEL}-x"),
            (None, None, MODEL),
            (None, None, MODEL),
        ]
    ):
        exchange = Exchange(exchange_id=f"e{number}", opened_at_ms=0, source="x", session_id=session, agent_id=agent)
        baselines.add(exchange, UsageLine(Usage(LONG), model), CARD)
    assert 6 * LONG * 125 == baselines.automatic_pico_usd


def test_parts_billed_on_top_are_no_part_of_the_chain() -> None:
    """A compaction's own prompt neither reads nor replaces the entry."""
    baselines = Baselines()
    exchange = Exchange(exchange_id="e", opened_at_ms=0, source="x", session_id="s")
    for kind, length in (("message", LONG), ("compaction", 9_000), ("message", LONG)):
        baselines.add(exchange, UsageLine(Usage(length), MODEL, kind), CARD)
    assert LONG * 125 + 9_000 * 100 + LONG * 10 == baselines.automatic_pico_usd


def test_fees_are_in_both() -> None:
    """Caching does not change what a web search costs."""
    baselines = Baselines()
    baselines.add_fee(7)
    assert (7, 7) == (baselines.uncached_pico_usd, baselines.automatic_pico_usd)


@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 9_000)), max_size=20))
def test_automatic_caching_stays_between_its_bounds(steps: list[tuple[int, int]]) -> None:
    """It never costs less than reading everything, nor more than writing everything."""
    at_ms = 0
    prompts = []
    for gap_ms, length in steps:
        at_ms += gap_ms
        prompts.append((at_ms, length))
    uncached, automatic = _estimate(*prompts)
    outputs = len(prompts) * OUTPUT
    total = sum(length for _, length in prompts)
    assert total * 100 + outputs == uncached
    assert total * 10 + outputs <= automatic <= total * 125 + outputs


def test_what_we_sent_ourselves_is_in_neither() -> None:
    """Without us there would have been no ping, so it costs nothing there, and it renews no entry."""
    baselines = Baselines()
    for at_ms, origin in ((0, CLIENT), (ENTRY_LIFE_MS - 1, PING), (ENTRY_LIFE_MS + 1, CLIENT)):
        exchange = Exchange(exchange_id=f"e{at_ms}", opened_at_ms=at_ms, source="x", session_id="s", origin=origin)
        baselines.add(exchange, UsageLine(Usage(LONG), MODEL), CARD)
    assert (2 * LONG * 100, 2 * LONG * 125) == (baselines.uncached_pico_usd, baselines.automatic_pico_usd)
