"""Server-sent events without I/O: bytes in, events out, however the bytes were cut.

Follows the WHATWG event-stream grammar as far as the Messages API uses it: lines end in LF, CRLF or CR,
`event:` and `data:` fields are kept, comments and other fields are dropped, a blank line dispatches.

Of a long answer few events matter to whoever meters it, so `SseScanner` looks for their names in the bytes and decodes
only the events around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: A single event larger than this is not one of the API's; decoding stops and `overflowed` says so.
EVENT_BYTES_MAX = 64 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_LF = ord("\n")
_NAME, _DATA = b"event: ", b"data: "


class SseEvent(NamedTuple):
    """One dispatched event: its name ("message" when the stream gave none) and its data bytes."""

    name: bytes
    data: bytes


class SseDecoder:
    """Turns chunks of an event stream into events; feeding byte by byte gives the same as all at once."""

    def __init__(self, *, at_start: bool = True) -> None:
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._at_start = at_start
        self._skip_lf = False
        self._name = b""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self.overflowed = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes and return the events they complete."""
        if self.overflowed or not chunk:
            return []
        if self._skip_lf:
            # A CR ended the last chunk; an LF that opens this one belongs to the same line end.
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if chunk.endswith(b"\r"):
            self._skip_lf = True
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self._lines(chunk)

    def _lines(self, chunk: bytes) -> list[SseEvent]:
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        first, *lines = chunk.split(b"\n")
        rest = lines.pop()
        lines.insert(0, b"".join([*self._tail, first]))
        self._tail, self._tail_bytes = [], 0
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = [event for line in lines if (event := self._line(line)) is not None]
        self._keep(rest)
        return events

    def _keep(self, part: bytes) -> None:
        if part:
            self._tail.append(part)
            self._tail_bytes += len(part)
            self.overflowed = self.overflowed or self._tail_bytes > EVENT_BYTES_MAX

    def _line(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value)
            self.overflowed = self.overflowed or self._data_bytes > EVENT_BYTES_MAX
        elif field == b"event":
            self._name = value
        return None

    def _dispatch(self) -> SseEvent | None:
        name, data = self._name or b"message", self._data
        self._name, self._data, self._data_bytes = b"", [], 0
        return SseEvent(name, b"\n".join(data)) if data else None


class SseScanner:
    """Gives the events of a stream whose bytes hold one of `words`, as `SseDecoder` would; others may be among them.

    Whole events lie between blank lines, so those without a word are skipped as they stand. A stream that ends its
    lines with CR, or begins with a byte order mark, is decoded in full from there on.
    """

    def __init__(self, words: Sequence[bytes]) -> None:
        self._words = words
        self._decoder = SseDecoder()
        self._scans = True
        self._begun = False
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self.overflowed = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes and return events that they complete."""
        if self.overflowed or not chunk:
            return []
        if not self._begun:
            self._begun = True
            self._scans = chunk[0] != _BOM[0]
            self._decoder = SseDecoder(at_start=not self._scans)
        if self._scans and b"\r" in chunk:
            self._scans = False
            chunk = b"".join([*self._tail, chunk])
        if not self._scans:
            return self._decoded(chunk)
        if b"\n\n" not in chunk and not (chunk[0] == _LF and self._tail and self._tail[-1][-1] == _LF):
            self._keep(chunk)
            return []
        text = b"".join([*self._tail, chunk]) if self._tail else chunk
        end = text.rfind(b"\n\n") + 2
        self._tail, self._tail_bytes = [], 0
        self._keep(text[end:])
        return self._found(text, end)

    def _decoded(self, chunk: bytes) -> list[SseEvent]:
        events = self._decoder.feed(chunk)
        self.overflowed = self._decoder.overflowed
        return events

    def _keep(self, part: bytes) -> None:
        if part:
            self._tail.append(part)
            self._tail_bytes += len(part)
            self.overflowed = self._tail_bytes > EVENT_BYTES_MAX

    def _found(self, text: bytes, end: int) -> list[SseEvent]:
        """Decode the events with a word among the whole ones that stand before `end`."""
        events: list[SseEvent] = []
        at = [(place, word) for word in self._words if (place := text.find(word, 0, end)) >= 0]
        begin = 0
        while at:
            first, _ = min(at)
            before = text.rfind(b"\n\n", begin, first)
            stop = text.find(b"\n\n", first) + 2
            whole = text[begin if before < 0 else before + 2 : stop]
            plain = _plain(whole)
            events += [plain] if plain is not None else self._decoded(whole)
            begin = stop
            later = [(place if place >= stop else text.find(word, stop, end), word) for place, word in at]
            at = [(place, word) for place, word in later if place >= 0]
        return events


def _plain(whole: bytes) -> SseEvent | None:
    """Return one whole event that is written as the API writes it, a line of each field; None for any other."""
    name, _, data = whole.partition(b"\n")
    if not (
        name.startswith(_NAME)
        and len(name) > len(_NAME)
        and data.startswith(_DATA)
        and data.find(b"\n") == len(data) - 2
    ):
        return None
    return SseEvent(name[len(_NAME) :], data[len(_DATA) : -2])
