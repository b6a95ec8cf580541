"""The decoder: any split of the bytes gives the same events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire import sse
from scrimp.core.wire.sse import SseDecoder, SseEvent, SseScanner

LINE = st.sampled_from(
    [b"event: ping", b"event:message_start", b'data: {"a":1}', b"data:x", b"data", b": comment", b"id: 7", b"", b"junk"]
)
STREAM = st.tuples(st.lists(LINE, max_size=30), st.sampled_from([b"\n", b"\r\n", b"\r"])).map(
    lambda parts: parts[1].join(parts[0]) + parts[1]
)


def decode(chunks: list[bytes]) -> list[SseEvent]:
    """Feed the chunks to one decoder."""
    decoder = SseDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@given(STREAM, st.data())
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    """Cutting the stream anywhere, even inside a CRLF, changes nothing."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert decode([stream]) == decode(pieces)


@given(STREAM)
def test_byte_by_byte_equals_all_at_once(stream: bytes) -> None:
    """The smallest chunks give what one chunk gives."""
    assert decode([stream]) == decode([bytes([byte]) for byte in stream])


@given(st.lists(LINE, max_size=30))
def test_line_ends_do_not_matter(lines: list[bytes]) -> None:
    """LF, CRLF and CR end a line alike."""
    expected = decode([b"\n".join([*lines, b""])])

    assert expected == decode([b"\r\n".join([*lines, b""])])
    assert expected == decode([b"\r".join([*lines, b""])])


def test_fields() -> None:
    """Several data lines join with LF, one leading space goes, comments and unknown fields are dropped."""
    stream = b"\xef\xbb\xbfevent: message_delta\n: hi\nid: 1\ndata: a\ndata:  b\n\ndata: alone\n\nevent: empty\n\n"

    assert [SseEvent(b"message_delta", b"a\n b"), SseEvent(b"message", b"alone")] == decode([stream])


def test_an_unfinished_event_is_not_dispatched() -> None:
    """A stream cut before the blank line holds no event."""
    assert [] == decode([b"event: message_start\ndata: {}\n"])


def test_an_endless_line_stops_the_decoder() -> None:
    """Memory is bounded: past the limit the decoder says so and reads no more."""
    decoder = SseDecoder()
    for _ in range(sse.EVENT_BYTES_MAX // (1 << 20) + 1):
        decoder.feed(b"x" * (1 << 20))

    assert decoder.overflowed
    assert [] == decoder.feed(b"\ndata: a\n\n")


def test_an_event_that_never_ends_stops_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short data lines without a blank one are bounded like one long line."""
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 1000)
    decoder = SseDecoder()
    for _ in range(300):
        decoder.feed(b"data: 1234\n")

    assert decoder.overflowed


WORDS = (b"message_start", b"error")
#: Names that are words, that hold one, and that are neither; words in data, in comments and cut by a field's colon.
SCANNED_LINE = st.sampled_from(
    [
        *(b"event: ping", b"event:message_start", b"event: error", b"event: terror", b'data: {"a":1}', b"data: error"),
        *(b"data", b": message_start", b"error:", b"", b"", b"\xef\xbb\xbfevent: error", b"event: message_start "),
    ]
)
SCANNED = st.lists(st.tuples(SCANNED_LINE, st.sampled_from([b"\n"] * 9 + [b"\r\n", b"\r"])), max_size=60).map(
    lambda lines: b"".join(part for line in lines for part in line)
)


def scan(chunks: list[bytes]) -> list[SseEvent]:
    """Feed the chunks to one scanner and keep the events that are named by a word."""
    scanner = SseScanner(WORDS)
    return [event for chunk in chunks for event in scanner.feed(chunk) if event.name in WORDS]


@given(SCANNED, st.data())
def test_a_scan_finds_what_the_decoder_finds(stream: bytes, data: st.DataObject) -> None:
    """However a stream ends its lines and is cut, its events that are named by a word are those of the decoder."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    expected = [event for event in decode([stream]) if event.name in WORDS]

    assert expected == scan([stream])
    assert expected == scan(pieces)
    assert expected == scan([bytes([byte]) for byte in stream])


def test_a_scan_skips_events_without_a_word() -> None:
    """Only events whose bytes hold a word are decoded."""
    stream = b"event: ping\ndata: 1\n\nevent: error\ndata: 2\n\nevent: ping\ndata: an error\n\nevent: ping\ndata: 3\n\n"

    assert [SseEvent(b"error", b"2"), SseEvent(b"ping", b"an error")] == SseScanner(WORDS).feed(stream)


@pytest.mark.parametrize("line", [b"x" * 100, b"data: 1\n" * 10, b"data: 123456\r" * 10])
def test_a_scan_is_bounded_too(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    """An event that never ends stops the scanner, in whichever way it reads."""
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 1000)
    scanner = SseScanner(WORDS)
    for _ in range(30):
        scanner.feed(line)

    assert scanner.overflowed
    assert [] == scanner.feed(b"\n\nevent: error\ndata: 1\n\n")
