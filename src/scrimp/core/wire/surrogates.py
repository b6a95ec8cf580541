"""JSON that others wrote: what decoding it may raise, and half surrogate pairs, which JavaScript writes."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: What a decoder raises for text that is not JSON of the shape it asks for, not UTF-8, or nested too deeply.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: What stands in mended JSON text for half a surrogate pair.
MENDED = rb"\ufffd"

#: Escapes in JSON text: a backslash, a whole pair of surrogates, or (the group) half of one.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def decode_mended(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    """Decode JSON, and where that fails for half surrogates alone, decode it mended."""
    try:
        return decoder.decode(text)
    except msgspec.DecodeError:
        mended = without_half_surrogates(text)
        if mended == text:
            raise
        return decoder.decode(mended)


def without_half_surrogates(text: bytes) -> bytes:
    """Return JSON with each half of a surrogate pair replaced by the replacement character."""
    return _ESCAPES.sub(lambda escape: MENDED if escape[1] else escape[0], text)
