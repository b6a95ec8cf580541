"""Half surrogate pairs: JSON that JavaScript writes, and strict decoders refuse."""

from __future__ import annotations

import re

#: Escapes in JSON text: a backslash, a whole pair of surrogates, or (the group) half of one.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def without_half_surrogates(text: bytes) -> bytes:
    """Return JSON with each half of a surrogate pair replaced by the replacement character."""
    return _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)
