"""Properties of paths under headings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.levers.shaping.contract import Hint
from scrimp.core.levers.shaping.listings import MOST_FOLDERS, MOST_LINES, SHAPER, restore
from scrimp.core.levers.shaping.shape import proved
from tests.core.levers.shaping.recorded import falling_short

shape = partial(proved, SHAPER)

GREP = Hint("Grep")
_FOLDERS = st.sampled_from(
    ["", "src/", "src/app/", "src/app-2-b/", "./", "./src/", "/", "/home/dev/shop/", "a b/", "C:\\x\\"]
)
_NAMES = st.sampled_from(["main.go", "a-1-b.go", "12", "7-x", "README.md", "x:y", "", "--", "a.go-3-", "sub/"])
_ENDS = st.sampled_from(["", ":", ":7", ":7:x", "-8-y", "-9-//", "-9-/", ":12:\tcode/more/", "\r", " x"])
_RAW = st.sampled_from(["", "--", "Found 3 files", "total:", "7:x", "8-y", "src/", "./", "/", "main.go:", "7-//"])
_texts = st.text(st.characters(exclude_characters="\n"), max_size=12)


@st.composite
def _listing(draw: st.DrawFn) -> str:
    """Draw what looks like search results or paths: adjacent lines of files and folders, and lines that mislead."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 6))):
        path = draw(_FOLDERS) + draw(_NAMES)
        number = draw(st.integers(0, 120))
        for text in draw(st.lists(_texts | st.sampled_from(["//", "x/"]), max_size=5)):
            number += 1
            lines.append(draw(st.sampled_from([f"{path}:{number}:{text}", f"{path}-{number}-{text}", "--", path])))
        lines += draw(st.lists(st.builds("".join, st.tuples(_FOLDERS, _NAMES, _ENDS)) | _RAW, max_size=3))
    return "\n".join(lines)


@given(_listing() | st.text() | st.text("ab/-:1 \n", max_size=200), st.sampled_from([GREP, Hint(), Hint("Bash")]))
def test_what_is_shaped_comes_back(text: str, hint: Hint) -> None:
    """A shaped text is shorter, gives the original back to the character, and is left alone the second time."""
    shaped = shape(text, hint)
    assert shaped == shape(text, hint)
    if shaped is not None:
        assert len(shaped) < len(text)
        assert text == restore(shaped)
        assert shape(shaped, hint) is None


_plain = st.tuples(st.sampled_from(["src/shop/a.go", "src/shop/b/c.go", "d.go"]), st.text("xy z", max_size=9))


@given(st.lists(_plain, min_size=1, max_size=40))
def test_every_match_stands_in_the_shaped_text(matches: list[tuple[str, str]]) -> None:
    """Of a plain search result each match still has its number and its text on a line, in the same order."""
    ends = [f"{number}:{found}" for number, (_, found) in enumerate(matches)]
    text = "\n".join(f"{path}:{end}" for (path, _), end in zip(matches, ends, strict=True))
    lines = (shape(text, GREP) or text).split("\n")
    kept = [line for line in lines if not line.endswith(("/", "go:"))]
    assert ends == [line[-len(end) :] for line, end in zip(kept, ends, strict=True)]


def test_matches_stand_under_their_file() -> None:
    """A search result with context has the folder once and each file once; a lone match keeps its name on its line."""
    before = """\
internal/shop/cart/main.go-11-
internal/shop/cart/main.go:12:func main() {
internal/shop/cart/main.go-13-    run()
--
internal/shop/cart/main.go:40:func run() {
internal/shop/cart/util.go:7:func again() {
README.md"""
    after = """\
internal/shop/cart/
main.go:
11-
12:func main() {
13-    run()
--
40:func run() {
util.go:7:func again() {
./
README.md"""
    assert after == shape(before, GREP)
    assert before == restore(after)


def test_paths_stand_under_their_folder() -> None:
    """Absolute paths of two folders, in the order they came; a count in front stays as it is."""
    before = ["Found 5 files", *(f"/home/dev/shop/{name}" for name in ("cart/a.go", "cart/b.go", "cart/c.go"))]
    before += [f"/home/dev/shop/internal/storage/{name}.go" for name in "de"]
    after = [
        "Found 5 files",
        "/home/dev/shop/cart/",
        "a.go",
        "b.go",
        "c.go",
        "/home/dev/shop/internal/storage/",
        "d.go",
        "e.go",
    ]
    shaped = shape("\n".join(before), Hint("Glob"))
    assert shaped is not None
    assert "\n".join(before) == restore(shaped)
    assert "\n".join(after) == shaped


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text",
        "src/app/main.go:1:x",
        "\n".join(f"src/my app/{name}.go:1:x" for name in "abcdef"),
        "\n".join(f"C:\\shop\\app\\{name}.go" for name in "abcdef"),
        "\n".join(["src/shop/", *(f"src/shop/{name}.go" for name in "abcdef")]),
        "\n".join(f"src/shop/{name}.go\r" for name in "abcdef"),
    ],
)
def test_what_is_unsure_is_left_alone(text: str) -> None:
    """Prose, one line, blanks in paths, drives, lines that look like our headings, carriage returns: as they came."""
    assert shape(text, GREP) is None


def test_file_reads_are_left_alone() -> None:
    """A file that holds paths is not regrouped."""
    text = "\n".join(f"src/shop/internal/{name}.go" for name in "abcdef")
    assert shape(text, Hint("Read")) is None
    assert shape(text, Hint()) is not None


def test_what_is_too_long_is_left_alone() -> None:
    """Neither many lines nor deep folders take more than their share of memory."""
    assert shape("src/shop/a.go\n" * (MOST_LINES + 1), GREP) is None
    deep = "\n".join("d/" * (MOST_FOLDERS + 9) + name for name in "abc")
    shaped = shape(deep, GREP)
    assert shaped is not None
    assert "\n".join(["d/" * MOST_FOLDERS, *("d/" * 9 + name for name in "abc")]) == shaped


@pytest.mark.parametrize("text", ["", "plain", "src/\n", "main.go:\nnothing", "src/a.go:7:x"])
def test_a_text_that_was_not_shaped_is_refused(text: str) -> None:
    """`restore` raises where no heading has paths below it."""
    with pytest.raises(ValueError, match="no headings of ours"):
        restore(text)


@pytest.mark.data
def test_recorded_results_come_back_shorter(data: Path, record_property: Callable[[str, object], None]) -> None:
    """Every recorded search comes back; a quarter of the characters of Grep and half of Glob's are saved."""
    assert [] == falling_short(SHAPER, data, record_property, {"Grep": 25.0, "Glob": 50.0})
