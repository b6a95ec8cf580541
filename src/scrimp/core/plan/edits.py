"""From marks to the edits of bytes that set them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from scrimp.core.belief.prefix import Mark, Prompt
from scrimp.core.wire.blocks import CacheControl, block_head
from scrimp.core.wire.request import Request
from scrimp.core.wire.splice import Edit, SetMark, SetTop, place_of


def mark_edits(request: Request, own: Prompt, marks: Iterable[Mark]) -> tuple[Edit, ...]:
    """Return the edits that turn the client's own marks into `marks`; none where they are the same."""
    return tuple(_edits(request, own, marks))


def _edits(request: Request, own: Prompt, marks: Iterable[Mark]) -> Iterator[Edit]:
    before = {mark.index: mark.ttl for mark in own.marks}
    for mark in marks:
        block, wanted = own.blocks[mark.index], CacheControl(ttl=mark.ttl)
        if before.get(mark.index) == mark.ttl:
            continue
        if mark.index in before and block.ttl is None and request.automatic_ttl is not None:
            yield SetTop("cache_control", msgspec.json.encode(wanted))
        elif mark.index not in before or block_head(block.raw).cache_control is not None:
            yield SetMark(place_of(block.path), wanted)
