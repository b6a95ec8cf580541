"""Search results and lists of paths: what lines that follow each other have in common stands once, as a heading.

    internal/shop/main.go:12:func main() {         internal/shop/
    internal/shop/main.go-13-    run()             main.go:
    --                                             12:func main() {
    internal/shop/main.go:40:func run() {     is   13-    run()
    internal/shop/util.go:7:func again() {         --
    README.md                                      40:func run() {
                                                   util.go:7:func again() {
                                                   ./
                                                   README.md

A folder heading ends in "/", a file heading in ":"; "./" alone goes back to the folder the tool was started in. The
order of lines never changes, so that it is read back as `_unfolded` does, line by line. Of all headings that could be
set the ones that leave the fewest characters are. Where a line of the original would be read as one of ours the text is
left alone, as everything is that does not come back (`shape.proved`). Paths with blanks get no heading (shaping study,
section 3: a quarter of the characters of Grep results, half of Glob's).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, groupby
from operator import itemgetter
from typing import NamedTuple

from scrimp.core.levers.shaping.contract import LEAST_SAVED_CHARS, Hint, Shaper
from scrimp.core.levers.shaping.numbered import READERS

HEADING_CHARS = 4
"""What a heading costs beside its characters: a line more to read, in the characters of a token."""

MOST_FOLDERS = 24
"""Folders above a path that may become its heading, counted from the top."""

MOST_LINES = 200_000
"""A longer text is left alone: each line holds the headings that it could stand under."""

ROOT = "./"
"""The heading for no folder: what stands below it is as the tool wrote it."""

APART = "--"
"""What search tools write between matches that are apart; it ends no heading."""

_PATH = re.compile(r"[^\s:]+")
_MATCH = re.compile(r"([^\s:]+):[0-9]+:")
_CONTEXT = re.compile(r"-[0-9]+-")
_COMMENT = re.compile(r"(?:^|-)[0-9]+-/+$")
_NUMBER = re.compile(r"[0-9]+([:-])")
_AFTER_PATH = re.compile(r"$|:[0-9]+(?::|$)")
_LIKELY = re.compile(r"\n/?[^\s:/]++(?:/|:[0-9]++:)")
_HEADING = re.compile(r"\n[^\s:]++(?:(?<=/)|:)\n")


class _Item(NamedTuple):
    """What stands under one heading as a whole: lines of one file, or one line."""

    lines: tuple[str, ...]
    file: str | None
    folders: list[str]
    #: It is read back as it stands, whatever heading is above it.
    is_absolute: bool

    def has_heading(self) -> bool:
        """Tell whether the lines stand under a heading of their file: a lone match is shorter without."""
        return self.file is not None and len(self.lines) > 1

    def written(self, folder: str) -> Iterator[str]:
        """Yield the lines as they stand under a folder."""
        cut = len(folder)
        if self.file is not None and self.has_heading():
            yield f"{self.file[cut:]}:"
            cut = len(self.file) + 1
        yield from (line if line == APART else line[cut:] for line in self.lines)


def _is_entry(line: str) -> bool:
    """Tell whether a line begins with a path from a folder, and nothing but a count or a match follows."""
    path = _PATH.match(line)
    if path is None or line.startswith("/"):
        return False
    return _AFTER_PATH.match(line, path.end()) is not None or _CONTEXT.search(path[0]) is not None


def _is_folder(line: str) -> bool:
    """Tell whether a line is a folder's heading; "main.go-7-//" and "7-//" are context, an empty comment of C."""
    return len(line) > 1 and line.endswith("/") and bool(_PATH.fullmatch(line)) and not _COMMENT.search(line)


def _later(after: str | None, file: str | None) -> str | None:
    return file or after


def _files(lines: list[str]) -> list[str | None]:
    """Return for each line of a search result whose line it is, None for any other.

    A match names its file up to a colon. A line of context has dashes, as names have: its file is the one before it
    or the next one that has a match. The mark between two matches of one file is that file's.
    """
    found = [match[1] if (match := _MATCH.match(line)) else None for line in lines]
    if not any(found):
        return found
    coming = [*accumulate(reversed(found), _later)][::-1]
    before: str | None = None
    for place, (line, after) in enumerate(zip(lines, coming, strict=True)):
        if found[place] is None:
            near = (file for file in (before, after) if file and line.startswith(file))
            found[place] = next((file for file in near if _CONTEXT.match(line, len(file))), None)
        before = found[place] or before
    for place in range(1, len(lines) - 1):
        if lines[place] == APART and found[place - 1] == found[place + 1]:
            found[place] = found[place - 1]
    return found


def _folders(path: str) -> list[str]:
    """Return the folders above a path that can be its heading, from the top."""
    parts = path[1:].split("/", MOST_FOLDERS)[:-1]
    folders = [*accumulate((f"{part}/" for part in parts), initial=path[:1])][1:]
    return [folder for folder in folders if folder != ROOT and not (folder[-2] in "-/" and _COMMENT.search(folder))]


def _items(text: str) -> Iterator[_Item]:
    """Yield a text's lines: those of a file together, those without a path together, each other one alone."""
    lines = text.split("\n")
    keys = [
        (file, "" if file or not _is_entry(line.removeprefix("/")) else line)
        for line, file in zip(lines, _files(lines), strict=True)
    ]
    for (file, path), group in groupby(zip(keys, lines, strict=True), key=itemgetter(0)):
        members = tuple(line for _, line in group)
        token = file or _PATH.match(path)
        folders = _folders(token if isinstance(token, str) else token[0]) if token else []
        yield _Item(members, file, folders, is_absolute=not token or members[0].startswith("/"))


def _headings(items: list[_Item]) -> list[str]:
    """Return the folder for each item to stand under, "" for none, such that the whole is shortest.

    `chars` has for each folder that the last item could stand under the fewest characters up to there, less those that
    are there in any case; `trail` has for each item which folder the one before it then stands under.
    """
    chars = {"": 0}
    trail: list[dict[str, str]] = []
    for item in items:
        if item.lines[0] == APART:
            trail.append({folder: folder for folder in chars})
            continue
        best = min(chars, key=chars.__getitem__)
        least = chars[best]
        shortened = 1 if item.has_heading() else len(item.lines)
        now: dict[str, int] = {}
        came: dict[str, str] = {}
        for folder in ("", *item.folders):
            free = item.is_absolute and not folder
            moved = least + (0 if free else len(folder or ROOT) + 1 + HEADING_CHARS)
            stayed = chars.get(folder, moved + 1)
            now[folder] = min(stayed, moved) - shortened * len(folder)
            came[folder] = folder if stayed <= moved else best
        chars = now
        trail.append(came)
    folder = min(chars, key=chars.__getitem__)
    chosen: list[str] = []
    for came in reversed(trail):
        chosen.append(folder)
        folder = came[folder]
    return chosen[::-1]


def _folded(text: str) -> Iterator[str]:
    """Yield the lines of a text under headings."""
    items = list(_items(text))
    current = ""
    for item, folder in zip(items, _headings(items), strict=True):
        if folder != current and (folder or not item.is_absolute):
            yield folder or ROOT
        current = folder
        yield from item.written(folder)


def _unfolded(text: str) -> Iterator[str]:
    """Yield the lines of a text that has headings as they were without."""
    folder = ""
    file: str | None = None
    lines = text.split("\n")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        number = _NUMBER.match(line)
        if file is not None and number:
            yield f"{file}{number[1]}{line}"
        elif line == APART:
            yield line
        elif _is_folder(line):
            folder, file = "" if line == ROOT else line, None
        elif line.endswith(":") and _PATH.fullmatch(line, 0, len(line) - 1) and _NUMBER.match(following):
            folder = "" if line.startswith("/") else folder
            file = folder + line[:-1]
        else:
            file = None
            folder = folder if _is_entry(line) else ""
            yield folder + line


def shape(text: str, hint: Hint) -> str | None:
    """Return the text under headings; None where that saves little, and for file reads."""
    if hint.tool in READERS or not _LIKELY.search(f"\n{text}") or text.count("\n") > MOST_LINES:
        return None
    shorter = "\n".join(_folded(text))
    return shorter if len(text) - len(shorter) >= LEAST_SAVED_CHARS else None


def restore(text: str) -> str:
    """Return the text with its paths whole again; ValueError where it has no headings with paths below them."""
    whole = "\n".join(_unfolded(text)) if _HEADING.search(f"\n{text}") else text
    if len(whole) - len(text) < LEAST_SAVED_CHARS:
        raise ValueError("this text has no headings of ours")
    return whole


SHAPER = Shaper("listings", 1, shape, restore)
