"""Money that marks cost in vain: nothing is found where all was needed, and each waste has the price of its tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.usage import Usage
from scrimp.replay.steps import ROOT, SentPing, Step
from scrimp.replay.wastes import Recorded, Waste, wastes

#: Pico-USD a token: uncached, read, 5m, 1h, output.
CARD = RateCard(uncached_input=100, cache_read=10, cache_write_5m=125, cache_write_1h=200, output=500)
MINUTE_MS = 60_000


def step(at_ms: int, parent: int, total: int, session: str = "s") -> Step:
    """Return a step that shares all of its parent's prompt."""
    shared = 0 if parent == ROOT else total
    model = "claude-opus-5-5"
    return Step(
        exchange_id=str(at_ms),
        session_id=session,
        at_ms=at_ms,
        model=model,
        cache=model,
        parent=parent,
        shared_tokens=shared,
        total_tokens=total,
    )


def found(steps: list[Step], usages: list[Usage], lost: dict[int, int] | None = None) -> list[Waste]:
    """Return the wastes at the rates above."""
    return wastes(Recorded(steps, usages, [CARD] * len(steps), lost or {}))


def hours(*writes: int, pause_ms: int = MINUTE_MS) -> tuple[list[Step], list[Usage]]:
    """Return a thread that writes so much for an hour each time, and reads all that was written before."""
    steps, usages, total = [], [], 0
    for number, write in enumerate(writes):
        usages.append(Usage(cache_read_input_tokens=total, cache_write_1h_input_tokens=write))
        total += write
        steps.append(step(number * pause_ms, number - 1, total))
    return steps, usages


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=6))
def test_an_hour_without_a_pause_is_never_used(writes: list[int]) -> None:
    """The premium of every token that was written for an hour, 75 pico-USD each."""
    (waste,) = found(*hours(*writes))
    assert ("hour_unused", sum(writes), 75 * sum(writes)) == (waste.cause, waste.tokens, waste.pico_usd)
    assert max(writes) == writes[waste.step]


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=6))
def test_an_hour_that_outlives_a_pause_is_used(writes: list[int]) -> None:
    """Six minutes between two requests are what the hour was for."""
    assert [] == found(*hours(*writes, pause_ms=6 * MINUTE_MS))


@given(st.integers(1, 10_000), st.booleans())
def test_a_single_request_writes_for_nobody(tokens: int, hour: bool) -> None:
    """What one request wrote and nobody read cost more than leaving it plain."""
    name = "cache_write_1h_input_tokens" if hour else "cache_write_5m_input_tokens"
    (waste,) = found([step(0, ROOT, tokens)], [Usage(**{name: tokens})])
    assert Waste("never_read", 0, tokens, tokens * (100 if hour else 25)) == waste


def test_what_another_session_reads_is_no_waste() -> None:
    """A prefix that was written once and read by the next session has paid."""
    steps = [step(0, ROOT, 5_000, "one"), step(MINUTE_MS, 0, 5_000, "two")]
    assert [] == found(steps, [Usage(cache_write_5m_input_tokens=5_000), Usage(cache_read_input_tokens=5_000)])


PING = SentPing(9 * MINUTE_MS, Usage(uncached_input_tokens=10, cache_read_input_tokens=990))


@given(st.integers(1, 9))
def test_pings_that_nobody_came_back_to_were_in_vain(count: int) -> None:
    """All that were sent after the last request of a thread, at what each was billed: 10,900 pico-USD."""
    steps = [step(0, ROOT, 1_000), replace(step(MINUTE_MS, 0, 1_000), pings=(PING,) * count)]
    usages = [Usage(cache_write_5m_input_tokens=1_000), Usage(cache_read_input_tokens=1_000)]
    assert [Waste("pings_in_vain", 1, 1_000 * count, 10_900 * count)] == found(steps, usages)
    (waste,) = wastes(Recorded(steps, usages, [None, None], {}))
    assert ("pings_in_vain", None) == (waste.cause, waste.pico_usd)


def test_pings_that_somebody_came_back_to_are_no_waste() -> None:
    """Whether or not the cache was read then; another session does not count as coming back."""
    pinged = replace(step(0, ROOT, 1_000), pings=(PING,))
    usages = [Usage(cache_write_5m_input_tokens=1_000), Usage(cache_read_input_tokens=1_000)]
    assert [] == found([pinged, step(MINUTE_MS, 0, 1_000)], usages)
    causes = [waste.cause for waste in found([pinged, step(MINUTE_MS, 0, 1_000, "other")], usages)]
    assert ["pings_in_vain"] == causes


def test_what_a_break_explains_is_not_blamed_twice() -> None:
    """Tokens that were lost count with the break, and a thread of nothing else has no waste of its own."""
    steps, usages = hours(1_000, 500)
    (waste,) = found(steps, usages, {0: 400})
    assert (1_100, 75 * 1_100) == (waste.tokens, waste.pico_usd)
    assert [] == found(steps, usages, {0: 1_000, 1: 500})


def test_what_has_no_price_has_no_waste() -> None:
    """An unknown model's marks cost nobody knows what."""
    steps, usages = hours(1_000, 500)
    assert [] == wastes(Recorded(steps, usages, [None, None], {}))
