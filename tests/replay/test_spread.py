"""The same work on many things: one after the other, by joblib, by processes."""

from __future__ import annotations

import importlib.util

import pytest

from scrimp.replay.spread import spread


def _square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("has_joblib", [True, False])
def test_every_thing_is_done_once(jobs: int, has_joblib: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever does the work, and in whatever order it comes."""
    if not has_joblib:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert [0, 1, 4, 9] == sorted(spread(_square, [0, 1, 2, 3], jobs))


def test_nothing_is_nothing() -> None:
    """No things need no process."""
    assert [] == list(spread(_square, [], 4))
