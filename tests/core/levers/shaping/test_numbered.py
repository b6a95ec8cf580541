"""Properties of sparse line numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scrimp.core.levers.shaping.contract import Hint
from scrimp.core.levers.shaping.numbered import SHAPER, restore
from scrimp.core.levers.shaping.shape import proved
from tests.core.levers.shaping.recorded import falling_short

shape = partial(proved, SHAPER)

READ = Hint("Read")
_texts = st.text(st.characters(exclude_characters="\n"), max_size=12)
_odd_texts = _texts | st.sampled_from(["", "\r", "7\tx", "     8→y", "→z", "\t", "12→", "10→", "  "])


@st.composite
def _read(draw: st.DrawFn) -> str:
    """Draw what looks like a file read: runs of numbered lines, with other lines between and after them."""
    separator = draw(st.sampled_from("→\t"))
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.sampled_from([1, 6]))
        first = draw(st.integers(0, 25) | st.integers(95, 105) | st.integers(999_990, 1_000_010))
        texts = draw(st.lists(_odd_texts, max_size=30))
        lines += [f"{number:>{width}}{separator}{text}" for number, text in enumerate(texts, first)]
        lines += draw(st.lists(_odd_texts, max_size=2))
    return "\n".join(lines)


@given(_read() | st.text() | st.text("0123456789 →\t\n"), st.sampled_from([READ, Hint(), Hint("Bash")]))
def test_what_is_shaped_comes_back(text: str, hint: Hint) -> None:
    """A shaped text is shorter, gives the original back to the character, and is left alone the second time."""
    shaped = shape(text, hint)
    assert shaped == shape(text, hint)
    if shaped is not None:
        assert len(shaped) < len(text)
        assert text == restore(shaped)
        assert shape(shaped, hint) is None


@given(_read() | st.text("0123456789 →\t\n"))
def test_only_marked_texts_are_restored(text: str) -> None:
    """What is restored grows by its numbers, and was no file read with all of them."""
    try:
        full = restore(text)
    except ValueError:
        return
    assert len(full) > len(text)
    assert shape(text, READ) is None


@given(
    st.lists(_texts, min_size=4, max_size=60), st.integers(0, 2_000), st.sampled_from([("→", 6), ("\t", 6), ("\t", 1)])
)
def test_every_tenth_number_stays(texts: list[str], first: int, style: tuple[str, int]) -> None:
    """The first line of a plain read stays as it is, the last and every tenth keep their numbers, no other does."""
    separator, width = style
    assume(not any(text.strip()[:1].isdigit() for text in texts))
    lines = [f"{number:>{width}}{separator}{text}" for number, text in enumerate(texts, first)]
    shaped = shape("\n".join(lines), READ)
    assume(shaped is not None)
    assert shaped is not None
    last = first + len(texts) - 1
    expected = [
        f"{number}{separator}{text}" if number % 10 == 0 or number == last else text
        for number, text in enumerate(texts, first)
    ]
    assert [lines[0], *expected[1:]] == shaped.split("\n")


def test_what_follows_a_read_stays() -> None:
    """A reminder after the lines is neither numbered nor lost."""
    read = "".join(f"{number:>6}→line\n" for number in range(1, 14))
    shaped = shape(f"{read}\n<reminder>\nBe careful.\n</reminder>\n", READ)
    body = "\n".join(["     1→line", *["line"] * 8, "10→line", *["line"] * 2, "13→line"])
    assert f"{body}\n\n<reminder>\nBe careful.\n</reminder>\n" == shaped


def test_a_table_of_tabs_is_not_taken_for_a_read() -> None:
    """Numbers before tabs are data unless the tool is known to number lines; padded ones are `cat -n` from any tool."""
    table = "\n".join(f"{number}\tcity {number}" for number in range(1, 40))
    padded = "\n".join(f"{number:>6}\tcity {number}" for number in range(1, 40))
    assert shape(table, Hint("Bash")) is None
    assert shape(table, Hint()) is None
    assert shape(table, READ) is not None
    assert shape(padded, Hint("Bash")) is not None


def test_a_line_that_begins_like_a_number_keeps_its_own() -> None:
    """A file that is a table of numbers itself is told apart from the numbers of its lines."""
    read = "\n".join(f"{number:>6}→{number + 3}\tcity" for number in range(1, 9))
    shaped = "\n".join(["     1→4\tcity", *(f"{number}→{number + 3}\tcity" for number in range(2, 9))])
    assert shaped == shape(read, READ)
    assert read == restore(shaped)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no numbers",
        "     1→only one",
        "     1→a\n     3→b\n     5→c",
        "     1→a\n" + "".join(f"{number}→b\n" for number in range(2, 9)),
    ],
)
def test_what_saves_nothing_is_left_alone(text: str) -> None:
    """No numbers, one number, gaps only, two paddings in one run: as it came."""
    assert shape(text, READ) is None


@pytest.mark.parametrize("text", ["", "plain", "     1→a\n     2→b", "     1→a\nb\nc\n5→d", "1\ta\nb\n3\tc"])
def test_a_text_that_was_not_shaped_is_refused(text: str) -> None:
    """`restore` raises where numbers do not count up or too few are left out."""
    with pytest.raises(ValueError, match="no sparse line numbers"):
        restore(text)


@pytest.mark.data
def test_recorded_results_come_back_shorter(data: Path, record_property: Callable[[str, object], None]) -> None:
    """Every recorded file read comes back, and a seventh of its characters is saved."""
    assert [] == falling_short(SHAPER, data, record_property, {"Read": 14.0, "Edit": 8.0})
