"""Properties of beginnings that are written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.levers.shaping.contract import Hint
from scrimp.core.levers.shaping.terminal import HEADER, LEAST_SHARED_CHARS, MARKS, SHAPER, restore, shape
from tests.core.levers.shaping.recorded import LOGS, falling_short

BASH = Hint("Bash")
NAMES = [f"shop/internal/orders/test_{name}.py::TestOrders::" for name in ("create", "cancel")]


@st.composite
def _log(draw: st.DrawFn) -> str:
    """Draw what looks like the output of a test run: statuses and names in runs, other lines between them."""
    status = st.sampled_from(["ok  \t", "PASSED ", "    --- PASS: ", "\x1b[32mPASSED\x1b[0m ", ""])
    name = st.sampled_from([*NAMES, "shop/", "…", "⋯‥", "a", "/", "", "\r"])
    line = st.builds(
        "".join, st.tuples(status, name, name, st.text(st.characters(exclude_characters="\n"), max_size=3))
    )
    repeated = st.builds(lambda one, times: [one] * times, line, st.integers(1, 6))
    alike = st.builds(lambda one, ends: [one + end for end in ends], line, st.lists(name, max_size=8))
    return "\n".join(one for run in draw(st.lists(repeated | alike, max_size=8)) for one in run)


@given(_log() | st.text() | st.text("ab/:\n…", max_size=200), st.sampled_from([BASH, Hint(), Hint("Read")]))
def test_what_is_shaped_comes_back(text: str, hint: Hint) -> None:
    """A shaped text is shorter, gives the original back to the character, and is left alone the second time."""
    shaped = shape(text, hint)
    assert shaped == shape(text, hint)
    if shaped is not None:
        assert len(shaped) < len(text)
        assert text == restore(shaped)
        assert shape(shaped, hint) is None


def test_lines_of_a_run_share_their_beginning() -> None:
    """The first line of a run stands whole with the mark in it, the others begin with the mark; a short run stays."""
    names = [f"PASSED {NAMES[0]}test_{number}" for number in range(9)]
    text = "\n".join(
        ["collected 11 items", *names, f"PASSED {NAMES[1]}test_a", f"FAILED {NAMES[1]}test_b", "11 in 2 s"]
    )
    body = text.replace(names[0], f"PASSED {NAMES[0]}…test_0")
    for number in range(1, 9):
        body = body.replace(names[number], f"…test_{number}")
    assert HEADER.format("…") + body == shape(text, BASH)


def test_equal_lines_are_marks_alone() -> None:
    """A line that is the one above is nothing but the mark."""
    line = "waiting for lock /var/lock/build"
    shaped = shape("\n".join([line] * 9), BASH)
    assert HEADER.format("…") + "\n".join([f"{line}…", *["…"] * 8]) == shaped


@pytest.mark.parametrize(("used", "mark"), [("", "…"), ("…", "⋯"), ("…⋯", "‥")])
def test_the_mark_is_a_character_that_the_text_lacks(used: str, mark: str) -> None:
    """The first mark that does not occur is taken."""
    text = "\n".join([f"ok  \texample.com/shop/{number}" for number in range(20)] + [used])
    assert (shape(text, BASH) or "").startswith(HEADER.format(mark))


def test_a_text_with_every_mark_is_left_alone() -> None:
    """Where no mark is free nothing is done."""
    text = "\n".join([f"ok  \texample.com/shop/{number}" for number in range(20)] + [MARKS])
    assert shape(text, BASH) is None


@pytest.mark.parametrize(
    "line",
    [
        "x" * LEAST_SHARED_CHARS,
        "a/b c",
        "    self.assertEqual(self.client.get(path/",
        'import "example.com/shop/',
        "from shop.internal import ",
    ],
)
def test_what_is_short_or_code_stays(line: str) -> None:
    """Nothing is shared that is short, has no mark of a place or a column, or has the quotes and brackets of code."""
    assert shape("\n".join(f"{line}{number}" for number in range(100, 140)), BASH) is None


def test_what_tools_show_of_files_stays() -> None:
    """Reads and Grep give code, whatever it looks like."""
    text = "\n".join(f"ok  \texample.com/shop/{number}" for number in range(40))
    assert [None, None] == [shape(text, Hint(tool)) for tool in ("Read", "Grep")]
    assert shape(text, Hint()) is not None


@pytest.mark.parametrize("text", ["", "plain", "…a\n…b", HEADER[:-1]])
def test_a_text_that_was_not_shaped_is_refused(text: str) -> None:
    """`restore` raises for what does not begin with the header."""
    with pytest.raises(ValueError, match="no header of ours"):
        restore(text)


@pytest.mark.data
def test_recorded_results_come_back_shorter(data: Path, record_property: Callable[[str, object], None]) -> None:
    """Every recorded output comes back, and a twentieth of the characters of commands and of test logs is saved."""
    assert [] == falling_short(SHAPER, data, record_property, {"Bash": 5.0, LOGS: 8.0})
