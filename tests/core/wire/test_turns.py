"""Turns taken without a break."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.turns import at_once


@given(st.integers(0, 20))
def test_every_turn_is_taken(count: int) -> None:
    """However many there are, all of the work is done and its result comes back."""

    def work() -> Generator[None, None, int]:
        done = 0
        for _ in range(count):
            done += 1
            yield
        return done

    assert count == at_once(work())


def test_what_a_turn_raises_is_raised() -> None:
    """An error ends the work."""

    def work() -> Generator[None, None, None]:
        yield
        raise KeyError

    with pytest.raises(KeyError):
        at_once(work())
