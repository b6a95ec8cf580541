"""What is cached in front of a step, followed by lengths."""

from __future__ import annotations

import pytest

from scrimp.core.wire.blocks import Ttl
from scrimp.replay.emulator import Ways
from scrimp.replay.steps import Step
from scrimp.replay.warmth import Warm, Warmth
from tests.replay.courses import conversation, step


def _front_of_last(steps: list[Step], *ttls: Ttl | None) -> Warm:
    """Write each step but the last with its lifetime, and return what is cached in front of the last."""
    ways = Ways(steps)
    warmth = Warmth(ways)
    for index, (each, ttl) in enumerate(zip(steps[:-1], ttls, strict=True)):
        warmth.write(index, each, warmth.front(index, each), ways.ends[index], ttl)
    return warmth.front(len(steps) - 1, steps[-1])


@pytest.mark.parametrize(
    ("pause_ms", "ttl", "tokens"),
    [
        (299_999, "5m", 50_000),
        (300_000, "5m", 0),
        (3_599_999, "1h", 50_000),
        (3_600_000, "1h", 0),
        (1_000, None, 0),
    ],
)
def test_entries_live_as_long_as_they_were_written_for(pause_ms: int, ttl: Ttl | None, tokens: int) -> None:
    """Up to the last millisecond of the lifetime, and what was not marked not at all."""
    assert tokens == _front_of_last(conversation([pause_ms]), ttl).end


def test_a_read_starts_the_lifetime_again() -> None:
    """Two pauses of four minutes in a row do not add up."""
    assert 51_000 == _front_of_last(conversation([240_000, 240_000]), "5m", "5m").end


def test_after_a_long_pause_the_hour_remains() -> None:
    """Of a front of an hour and a tail of five minutes, ten minutes leave the front."""
    warm = _front_of_last(conversation([1_000, 600_000]), "1h", "5m")
    assert (50_000, 50_000, 0) == (warm.end, warm.hour, warm.minutes)


def test_within_five_minutes_both_are_there() -> None:
    """The front and the tail are told apart."""
    warm = _front_of_last(conversation([1_000, 1_000]), "1h", "5m")
    assert (51_000, 50_000, 1_000) == (warm.end, warm.hour, warm.minutes)


def test_a_rewound_prompt_finds_the_step_it_goes_back_to() -> None:
    """What was read through a longer prompt lives on."""
    steps = [*conversation([200_000]), step(2, 400_000, 0, 50_000, 60_000)]
    assert 50_000 == _front_of_last(steps, "5m", "5m").end


def test_what_others_warmed_binds_nobody() -> None:
    """Given tokens are read, and may be gone on from with any lifetime."""
    warm = _front_of_last([step(0, 0, given_tokens=9_000)])
    assert (9_000, 0, 0) == (warm.end, warm.hour, warm.minutes)


def test_the_base_outlives_a_conversation_that_was_cleared() -> None:
    """Tools and system are read again where nothing else of the prompt stands, and go on in their own lifetime."""
    steps = [step(0, 0, base_tokens=8_000), step(1, 1_000, 0, 8_000, base_tokens=8_000)]
    warm = _front_of_last(steps, "5m")
    assert (8_000, 8_000) == (warm.end, warm.minutes)


def test_pings_use_all_or_only_the_hour() -> None:
    """A use of the whole keeps both parts alive, one of the hour only the front."""
    steps = conversation([1_000, 4_000_000])
    for whole, end in ((True, 51_000), (False, 50_000)):
        ways = Ways(steps)
        warmth = Warmth(ways)
        warm = warmth.front(0, steps[0])
        for index, ttl in enumerate(("1h", "5m")):
            each = steps[index]
            warm = warmth.write(index, each, warmth.front(index, each), ways.ends[index], ttl)  # type: ignore[arg-type]
        (warmth.use if whole else warmth.use_hour)(warm, 3_900_000)
        assert end == warmth.front(2, steps[2]).end
