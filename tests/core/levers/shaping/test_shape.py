"""Shaping as a whole: exact, never longer, once, the same each time, in linear time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scrimp
from scrimp.core.levers import shaping
from scrimp.core.levers.shaping import shape as room
from scrimp.core.levers.shaping.contract import Hint, Shaped, Shaper
from scrimp.core.levers.shaping.shape import LONGEST_CHARS, SHAPERS, restore, shape

RECORDS = st.lists(
    st.fixed_dictionaries({"id": st.integers(), "path": st.text(max_size=9), "state": st.sampled_from(["open", None])}),
    min_size=2,
    max_size=6,
)
READS = st.lists(st.text(st.characters(exclude_characters="\n"), max_size=20), min_size=1, max_size=30).map(
    lambda lines: "".join(f"{number:6}→{line}\n" for number, line in enumerate(lines, 1))
)
GREPS = st.lists(
    st.tuples(st.sampled_from(["src/some/module.py", "docs/a b.md"]), st.text(max_size=9)), max_size=20
).map(lambda hits: "\n".join(f"{path}:{number}:{line}" for number, (path, line) in enumerate(hits)))
TEXTS = st.one_of(
    st.text(),
    RECORDS.map(json.dumps),
    RECORDS.map(lambda rows: json.dumps(rows, indent=2)),
    RECORDS.map(lambda rows: "\n".join(map(json.dumps, rows))),
    READS,
    GREPS,
)
HINTS = st.builds(Hint, tool=st.none() | st.sampled_from(["Read", "Grep", "Glob", "Bash", "get_order"]))
ROWS = [{"number": n, "state": "open", "name": str(n)} for n in range(9)]


@given(TEXTS, HINTS)
def test_nothing_is_lost_and_nothing_grows(text: str, hint: Hint) -> None:
    """The text comes back to the character; what was shaped is shorter and says so, what was not is as it came."""
    shaped = shape(text, hint)
    assert text == restore(shaped)
    assert len(shaped.text) < len(text) if shaped.steps else text == shaped.text
    assert shaped == shape(text, hint)


@given(TEXTS, HINTS, HINTS)
def test_shaping_twice_is_shaping_once(text: str, hint: Hint, later: Hint) -> None:
    """A text that was shaped bears a mark, and is left alone whatever is said of it the next time."""
    once = shape(text, hint)
    if once.steps:
        assert Shaped(once.text) == shape(once.text, later)
    assert once.text == shape(once.text, hint).text


@given(TEXTS.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text)), HINTS)
def test_what_could_be_sent_still_can(text: str, hint: Hint) -> None:
    """No shaper writes what UTF-8 has no bytes for."""
    assert shape(text, hint).text == shape(text, hint).text.encode().decode()


def faulty(shape_: Any, restore_: Any = lambda text: text[1:]) -> Shaper:
    """Return a shaper of these two functions."""
    return Shaper("faulty", 1, shape_, restore_)


def raising(*_arguments: object) -> str:
    """Fail as no shaper should."""
    raise RuntimeError("a fault of ours")


FAULTY = {
    "it raises": faulty(raising),
    "it cannot restore": faulty(lambda text, _: text[:-1], raising),
    "it loses a character": faulty(lambda text, _: text[:-1], lambda text: text),
    "it grows the text": faulty(lambda text, _: "+" + text),
    "it has nothing to say": faulty(lambda _, __: None),
}


@pytest.mark.parametrize("why", FAULTY)
def test_a_shaper_that_fails_is_left_out(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a shaper does wrong, it is passed over, and those behind it have their turn."""
    text = json.dumps(ROWS)
    expected = shape(text)
    monkeypatch.setattr(room, "SHAPERS", (FAULTY[why]._replace(restore=lambda text: _unmarked(FAULTY[why], text)),
                                          *SHAPERS))  # fmt: skip
    assert expected == shape(text)
    assert expected.steps


def _unmarked(shaper: Shaper, text: str) -> str:
    """Restore with the shaper, but take no whole text for one that was shaped before."""
    if text == json.dumps(ROWS):
        raise ValueError("no mark")
    return shaper.restore(text)


def test_shapers_follow_each_other_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shaper gets what the one before it made, at most once; restoring goes back the same way."""

    def cutting(mark: str) -> Shaper:
        def back(text: str) -> str:
            if not text.startswith(mark):
                raise ValueError("no mark")
            return text.removeprefix(mark) + f"<{mark}>" * 2

        return Shaper(mark, 3, lambda text, _: mark + text[: -2 * len(f"<{mark}>")], back)

    monkeypatch.setattr(room, "SHAPERS", (cutting("a"), cutting("b")))
    text = "text<b><b><a><a>"
    assert Shaped("batext", ("a/3", "b/3")) == shape(text)
    assert text == restore(shape(text))


def test_unknown_steps_are_refused() -> None:
    """What another version shaped cannot be restored here, and the error says with what it can."""
    with pytest.raises(ValueError, match=r"no shaper here is 'json/0'.*version of Scrimp"):
        restore(Shaped("#json\n[1]", ("json/0",)))
    with pytest.raises(ValueError, match="#json"):
        restore(Shaped("[1]", ("json/1",)))


def test_the_longest_text_is_the_limit() -> None:
    """What is longer than the limit goes as it came."""
    text = json.dumps(ROWS)
    longer = text + " " * (LONGEST_CHARS - len(text) + 1)
    assert Shaped(longer) == shape(longer)
    assert shape(longer[:-1]).steps


def test_names_are_unlike() -> None:
    """A step names one shaper."""
    assert len(SHAPERS) == len({shaper.name for shaper in SHAPERS})


@pytest.mark.parametrize("kind", ["table", "unlike", "nested", "lines", "read", "grep", "text", "brackets", "numbers"])
def test_the_work_grows_with_the_text(kind: str) -> None:
    """Twice the text is about twice the steps of the interpreter, counted, not timed."""
    makers: dict[str, Callable[[int], str]] = {
        "table": lambda n: json.dumps(
            [{**ROWS[0], "number": i, "inner": {"x": i, "list": ROWS[:2]}} for i in range(n)]
        ),
        "unlike": lambda n: json.dumps([{f"key {i}": i, f"other {i}": None} for i in range(n)]),
        "nested": lambda n: json.dumps([[[[{"number": i}], [[{"number": i}]]], i] for i in range(n)]),
        "lines": lambda n: "\n".join(json.dumps({"number": i, "state": "open"}) for i in range(n)),
        "read": lambda n: "".join(f"{i:6}→some line of code\n" for i in range(1, n)),
        "grep": lambda n: "".join(f"src/module_{i // 5}.py:{i}:some line of code\n" for i in range(n)),
        "text": lambda n: "".join(f"line {i} of a text\n" for i in range(n)),
        "brackets": lambda n: "[" * 20 * n,
        "numbers": lambda n: "\n".join(f"{i % 100}% done" for i in range(n)),
    }
    steps = [_steps(makers[kind](n)) for n in (200, 400, 800)]
    assert all(after <= 2.5 * before + 1000 for before, after in pairwise(steps)), steps


def _steps(text: str) -> int:
    """Return how many lines of Python run while the text is shaped."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        shape(text)
    finally:
        sys.settrace(before)
    return count


def test_the_public_function() -> None:
    """`scrimp.shape` takes a text and a tool's name, `scrimp.restore` gives the text back."""
    text = json.dumps(ROWS)
    assert shape(text, Hint(tool="get_rows")) == scrimp.shape(text, tool="get_rows")
    assert text == scrimp.restore(scrimp.shape(text))


def test_importing_scrimp_imports_no_shaper() -> None:
    """The public names cost nothing until they are used."""
    code = "import scrimp, sys; print([name for name in sys.modules if 'shaping' in name or name == 'msgspec'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()


def test_the_rooms_docstring_lists_the_shapers_in_order() -> None:
    """The table that a reader starts from is the table that runs."""
    names = [shaper.name for shaper in SHAPERS]
    firsts = [line.split()[0] for line in (shaping.__doc__ or "").splitlines() if line.startswith("    ")]
    assert names == [first for first in firsts if first in names]
