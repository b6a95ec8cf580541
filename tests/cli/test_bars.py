"""Progress bars: shown on a terminal for long work alone, and never in the way of what is worked on."""

from __future__ import annotations

import io

import pytest

from scrimp.cli.bars import watched


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("stderr", "count", "shown"), [(Terminal(), 5, True), (Terminal(), 4, False), (io.StringIO(), 5, False)]
)
def test_a_bar_is_for_much_work_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, count: int, shown: bool
) -> None:
    """Every item comes through in order; the label is written only where somebody can see it move."""
    monkeypatch.setattr("sys.stderr", stderr)
    assert list(range(count)) == list(watched(iter(range(count)), count, "Working", 5))
    assert shown == ("Working" in stderr.getvalue())
