"""The shortcut: open to who comes alone, closed after a slow commit for longer each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.store.shortcut import PAUSE_SECONDS, PAUSE_SECONDS_MAX, SLOW_SECONDS, Shortcut


@given(st.lists(st.booleans()))
def test_it_is_open_to_who_comes_alone(opens: list[bool]) -> None:
    """Whatever opened and closed before, one may take it where nothing else is under way; nothing goes below zero."""
    shortcut, under_way = Shortcut(), 0
    for opening in opens:
        if opening:
            assert (under_way == 0) == shortcut.opens(0.0)
            under_way += 1
        else:
            shortcut.closes()
            under_way = max(0, under_way - 1)


def _is_open(shortcut: Shortcut, now_s: float) -> bool:
    found = shortcut.opens(now_s)
    shortcut.closes()
    return found


@given(st.integers(1, 20))
def test_a_slow_disk_closes_it_for_longer_each_time(slow_count: int) -> None:
    """The pause doubles with each slow commit in a row, up to its most, and a quick one begins anew."""
    shortcut, now_s = Shortcut(), 0.0
    for number in range(slow_count):
        began_s, now_s = now_s, now_s + 2 * SLOW_SECONDS
        shortcut.took(began_s, now_s)
        pause_s = min(PAUSE_SECONDS * 2**number, PAUSE_SECONDS_MAX)
        assert (False, True) == (_is_open(shortcut, now_s + pause_s / 2), _is_open(shortcut, now_s + pause_s))
        now_s += pause_s
    shortcut.took(now_s, now_s + SLOW_SECONDS / 2)
    shortcut.took(now_s, now_s + 2 * SLOW_SECONDS)
    assert _is_open(shortcut, now_s + 2 * SLOW_SECONDS + PAUSE_SECONDS)
