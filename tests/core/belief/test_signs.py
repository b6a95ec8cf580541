"""Signs that an answer wants a reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.signs import LONG_CHARACTERS, signs_of
from scrimp.core.wire.spoken import END_CHARACTERS

_LONG = "x" * (LONG_CHARACTERS + 1)


@pytest.mark.parametrize(
    ("text", "tools", "signs"),
    [
        ("Done.", ["Edit"], 0),
        ("Done.", ["Bash", "Read"], 1),
        ("Shall I go on?", ["Write"], 1),
        (_LONG, ["Edit"], 1),
        (_LONG, [], 2),
        (_LONG + " Which one?", [], 3),
        ("What? " + "x" * END_CHARACTERS, ["Edit"], 0),
        ("", [], 1),
    ],
)
def test_signs_are_counted(text: str, tools: list[str], signs: int) -> None:
    """A long text, a question near the end, and a turn that changed no file each count one."""
    assert signs == signs_of(text, tools)


@given(st.text(), st.lists(st.text(max_size=5), max_size=3))
def test_there_are_none_to_three(text: str, tools: list[str]) -> None:
    """Whatever the answer says, the number stands for a group of its own."""
    assert signs_of(text, tools) in range(4)


@given(st.text())
def test_blanks_around_the_text_say_nothing(text: str) -> None:
    """Trailing blank lines do not push a question out of sight."""
    assert signs_of(text, []) == signs_of(f"\n  {text}" + "\n" * END_CHARACTERS, [])
