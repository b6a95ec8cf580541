"""Cuts: spans of a JSON text, and the bytes that take their place.

A list whose parts change places, come or go, and likewise an object, is one cut from the first difference to the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from scrimp.core.wire.spans import Document, Span

#: First byte, the first one after it, and what takes their place.
Cut = tuple[int, int, bytes]
#: What a list will hold: a part that it holds now, by its index, or a new one.
Item = int | bytes


def rearranged(
    document: Document, at: Span, spans: Sequence[Span], order: Sequence[Item], cuts: list[Cut]
) -> list[Cut]:
    """Add to the cuts inside the parts of a list, or object, the one cut that puts its parts in this order.

    A part that stays keeps the white space and comma in front of it. Parts before the first and after the last
    difference are not touched.
    """
    count = len(spans)
    if list(order) == list(range(count)):
        return cuts
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], enumerate(order)))
    rest = min(len(order), count) - same
    backwards = enumerate(reversed(order), 1)
    tail = min(rest, sum(1 for _ in takewhile(lambda pair: pair[1] == count - pair[0], backwards)))
    begin = spans[same - 1][1] if same else spans[0][0] if count else at[0] + 1
    end = spans[count - tail][0] if tail else spans[-1][1] if count else begin
    pieces: list[bytes] = []
    for item in order[same : len(order) - tail]:
        pieces += [_gap(document, spans, item)] if same or pieces else []
        pieces.append(item if isinstance(item, bytes) else applied(document, spans[item], cuts))
    if tail and (same or pieces):
        pieces.append(_gap(document, spans, count - tail))
    return [cut for cut in cuts if not begin <= cut[0] < end] + [(begin, end, b"".join(pieces))]


def _gap(document: Document, spans: Sequence[Span], item: Item) -> bytes:
    """Return what stands between a part and the one before it."""
    if isinstance(item, bytes) or item == 0:
        return b","
    return document.raw((spans[item - 1][1], spans[item][0]))


def applied(document: Document, at: Span, cuts: Iterable[Cut]) -> bytes:
    """Return a span of the body with the cuts inside it made; the body itself where none changes anything."""
    inside = sorted(cut for cut in cuts if at[0] <= cut[0] and cut[1] <= at[1] and document.raw(cut[:2]) != cut[2])
    if not inside:
        return document.raw(at)
    pieces: list[bytes | memoryview] = []
    end, body = at[0], memoryview(document.body)
    for begin, after, raw in inside:
        pieces += [body[end:begin], raw]
        end = after
    return b"".join([*pieces, body[end : at[1]]])
