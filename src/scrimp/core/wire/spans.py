"""Where the parts of a JSON text stand in its bytes: one level at a time, without building what is skipped.

A decoder in C tells how long each value is; only the keys and the gaps between values are walked here. What a level
holds is read when it is asked for, so a caller pays for the way to what it looks for and for nothing beside it.
"""

from __future__ import annotations

import re
from itertools import accumulate, count
from operator import add

import msgspec

from scrimp.core.wire.surrogates import without_half_surrogates

#: A piece of a text: its first byte, and the first one after it.
Span = tuple[int, int]

_READ_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_READ_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_KEY = re.compile(rb'[,\s]*("[^"\\]*(?:\\.[^"\\]*)*"\s*:\s*)', re.DOTALL)
_GAP = re.compile(rb"[,\s]*")
_OUTSIDE = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_WHITE_SPACE = b" \t\r\n"


class SpanError(ValueError):
    """The text is not JSON, or an object that was looked into holds a key twice."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """A member of an object: the first byte of its key, and where its value stands."""

    begins: int
    value: Span

    @property
    def span(self) -> Span:
        """The whole member, from its key to the end of its value."""
        return self.begins, self.value[1]


class Document:
    """A JSON text and the places in it. A byte order mark in front is no part of it; half surrogates are forgiven.

    Spans are good for `body`; they are looked for in `text`, which is the body as a strict decoder takes it.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.text = body

    def mend(self) -> bool:
        """Make half surrogates readable, which changes no place; False where there are none."""
        before, self.text = self.text, without_half_surrogates(self.body)
        return before != self.text

    @property
    def whole(self) -> Span:
        """The text without what may stand around it."""
        begin = _OUTSIDE.match(self.text)
        return begin.end() if begin else 0, len(self.text.rstrip(_WHITE_SPACE))

    def starts(self, at: Span) -> bytes:
        """Return the byte that tells what kind of value stands there."""
        return self.text[at[0] : at[0] + 1]

    def raw(self, at: Span) -> bytes:
        """Return the original bytes of a span."""
        return self.body[at[0] : at[1]]

    def members(self, at: Span) -> dict[str, Member]:
        """Return the members of the object that stands there, in order."""
        try:
            found = _READ_OBJECT.decode(memoryview(self.text)[at[0] : at[1]])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise SpanError(f"no object could be read: {error}") from error
        members, end = {}, at[0] + 1
        for name, raw in found.items():
            key = _KEY.match(self.text, end)
            # The decoder keeps the last value of a key that comes twice, which is then not what stands here.
            if key is None or not self.text.startswith(raw, key.end()):
                raise SpanError("an object holds a key twice")
            end = key.end() + memoryview(raw).nbytes
            members[name] = Member(key.start(1), (key.end(), end))
        if self._after_gap(end) != at[1] - 1:
            raise SpanError("an object holds a key twice")
        return members

    def elements(self, at: Span) -> list[Span]:
        """Return where the elements of the list that stands there are."""
        try:
            found = _READ_LIST.decode(memoryview(self.text)[at[0] : at[1]])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise SpanError(f"no list could be read: {error}") from error
        sizes = [memoryview(raw).nbytes for raw in found]
        if sum(sizes) + len(sizes) + 1 == at[1] - at[0]:  # so each gap is one comma
            begins = list(map(add, accumulate(sizes[:-1], initial=at[0] + 1), count()))[: len(sizes)]
            return list(zip(begins, map(add, begins, sizes), strict=True))
        spans, end = [], at[0] + 1
        for size in sizes:
            begin = self._after_gap(end)
            end = begin + size
            spans.append((begin, end))
        return spans

    def _after_gap(self, at: int) -> int:
        gap = _GAP.match(self.text, at)
        return gap.end() if gap else at
