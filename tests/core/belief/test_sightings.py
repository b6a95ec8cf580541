"""Properties of what is remembered of prompts that come back."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import Fragile, read_prompt
from scrimp.core.belief.sightings import (
    DEPTHS_MAX,
    KINDS_MAX,
    PRIOR_CHANCE,
    SYSTEM_DEPTHS_MAX,
    Sightings,
    chance,
    depths,
    kinds,
    likely,
    see,
)
from scrimp.core.levers.placement import break_even_chance
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.request import parse

CARD = RateCard(4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000)
MINUTE_MS = 60_000


def digest(number: int) -> bytes:
    """Name a depth."""
    return number.to_bytes(4, "big")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 90 * MINUTE_MS)), max_size=60))
def test_chances_are_chances_and_an_hour_is_never_worse(events: list[tuple[int, int, int]]) -> None:
    """Whatever was seen, a chance lies between 0 and 1, and an hour's is at least that of five minutes."""
    sightings, now_ms = Sightings(), 0
    for number, kind, pause_ms in events:
        now_ms += pause_ms
        sightings = see(sightings, [digest(number)], {digest(number): digest(kind)}, now_ms)
        soon, later = (chance(sightings, digest(number), digest(kind), ttl) for ttl in ("5m", "1h"))
        assert 0 <= soon <= later <= 1


@given(st.integers(0, 400), st.integers(1, 5))
def test_few_system_blocks_are_all_depths_and_many_are_not(system: int, messages: int) -> None:
    """The last block of the system prompt is always one, and there are never more than a limit."""
    body = {
        "model": "claude-opus-5-5",
        "system": [{"type": "text", "text": f"s{number}"} for number in range(system)],
        "messages": [{"role": "user", "content": [{"type": "text", "text": f"m{n}"} for n in range(messages)]}],
    }
    request = parse(json.dumps(body).encode())
    found = depths(read_prompt(request, [10_000] * len(request.blocks)))
    assert {*range(system - 1, system)} - {-1} <= {*found}
    assert system >= SYSTEM_DEPTHS_MAX or {*range(system)} <= {*found}
    assert len(found) <= SYSTEM_DEPTHS_MAX + 4


def test_nothing_known_is_the_prior() -> None:
    """Before anything was seen a depth is as likely to come back as not."""
    assert chance(Sightings(), b"d", b"k", "5m") == PRIOR_CHANCE


def test_one_shot_traffic_stops_being_marked_after_some_26_requests() -> None:
    """Prompts that never come back are worth no mark of five minutes from about the 26th on (hold study, section 7)."""
    sightings, number = Sightings(), 0
    while chance(sightings, digest(number), b"tail", "5m") > break_even_chance(CARD, "5m"):
        sightings = see(sightings, [], {digest(number): b"tail"}, number * MINUTE_MS)
        number += 1
    assert 26 <= number <= 30


def test_a_loop_of_turns_is_soon_nearly_sure() -> None:
    """Tails that the next request always extends make the next tail's chance rise above nine in ten."""
    sightings = Sightings()
    for turn in range(120):
        sightings = see(sightings, map(digest, range(turn)), {digest(turn): b"tail"}, turn * MINUTE_MS)
    assert chance(sightings, digest(999), b"tail", "5m") > 0.9


def test_pauses_of_ten_minutes_are_an_hour_s_and_not_five_minutes() -> None:
    """A depth that comes back every ten minutes is sure to be read within an hour and not within five minutes."""
    sightings = Sightings()
    for visit in range(50):
        sightings = see(sightings, [b"d"], {b"d": b"k"}, visit * 10 * MINUTE_MS)
    assert chance(sightings, b"d", b"k", "5m") < 0.05
    assert chance(sightings, b"d", b"k", "1h") > 0.95


@given(st.integers(0, 3))
def test_what_is_kept_is_bounded(kind: int) -> None:
    """However many depths and kinds are seen, the newest are kept and no more than the limits."""
    many = {digest(number): digest(number % (KINDS_MAX + 50) + kind) for number in range(DEPTHS_MAX + 100)}
    sightings = see(see(Sightings(), [], {b"old": b"old"}, 0), [], many, 1)
    assert len(sightings.depths) == DEPTHS_MAX
    assert len(sightings.kinds) == KINDS_MAX
    assert b"old" not in sightings.depths
    assert digest(DEPTHS_MAX + 99) in sightings.depths


@given(st.integers(0, 3), st.integers(0, 3), st.floats(0, 1), st.floats(0, 1))
def test_nothing_behind_a_fragile_piece_is_likelier(at: int, index: int, own: float, odds: float) -> None:
    """In front of it chances are what they are; a prompt that was put in order is of a kind of its own."""
    body = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hi"}], "system": "long"}
    request = parse(json.dumps(body).encode())
    prompt = read_prompt(request, [1_000] * len(request.blocks))
    fragile = msgspec.structs.replace(prompt, fragile=Fragile(at, odds))
    assert own == likely(prompt, index, own)
    assert (own if index < at else min(own, odds)) == likely(fragile, index, own)
    ordered = kinds(msgspec.structs.replace(prompt, is_ordered=True))
    assert kinds(prompt).keys() == ordered.keys()
    assert set(kinds(prompt).values()).isdisjoint(ordered.values())
