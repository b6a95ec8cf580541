"""An answer on its way: its pieces, when each is sent, how they are coded, and how the connection ends."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from scrimp.sim.encodings import DECODERS, ENCODERS, Encoder, Identity
from scrimp.sim.machine import Answer

STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"

MILLION = 1_000_000


class Piece(msgspec.Struct, frozen=True):
    """Bytes before any coding, and when they are sent, in milliseconds after the start.

    `is_answer` is False for what a fault put between.
    """

    at_ms: int
    data: bytes
    is_answer: bool = True


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, and what goes wrong with it.

    `cut_ppm` says after which share of the coded body the sending stops, in millionths; None: it does not. `breaks`
    says that the connection breaks then instead of ending, `is_headless` that it breaks before a status is sent.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    pieces: tuple[Piece, ...]
    encoding: str | None = None
    cut_ppm: int | None = None
    breaks: bool = False
    is_headless: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of events."""
        return ("content-type", STREAM) in self.headers

    def wire(self) -> list[tuple[int, bytes]]:
        """Return the bytes as they go over the wire, each with its time; the last ones may be cut."""
        coded = list(self._coded())
        if self.cut_ppm is None:
            return coded
        left = sum(len(data) for _, data in coded) * self.cut_ppm // MILLION
        kept = []
        for at_ms, data in coded:
            if left > 0:
                kept.append((at_ms, data[:left]))
            left -= len(data)
        return kept

    def _coded(self) -> Iterator[tuple[int, bytes]]:
        encoder: Encoder = ENCODERS[self.encoding]() if self.encoding else Identity()
        for piece in self.pieces:
            yield piece.at_ms, encoder.feed(piece.data)
        if self.pieces and (last := encoder.end()):
            yield self.pieces[-1].at_ms, last

    def seen_bytes(self, sent: bytes) -> int:
        """Return how many bytes of the answer itself a client can read from the bytes that were sent."""
        left = len(DECODERS[self.encoding]()(sent)) if self.encoding else len(sent)
        seen = 0
        for piece in self.pieces:
            seen += min(left, len(piece.data)) if piece.is_answer else 0
            left -= min(left, len(piece.data))
        return seen


def deliver(answer: Answer, encoding: str | None = None) -> Delivery:
    """Return the answer as it is sent to its end, compressed by one of `ENCODERS` or not at all."""
    pieces = [Piece(event.at_ms, event.encode()) for event in answer.events]
    kind = STREAM if answer.events else JSON
    coded = (("content-encoding", encoding),) if encoding else ()
    return Delivery(
        status=answer.status,
        headers=(("content-type", kind), *answer.headers, *coded),
        pieces=tuple(pieces or [Piece(answer.duration_ms, answer.encode())]),
        encoding=encoding,
    )
