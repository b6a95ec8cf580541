"""Text of others that is kept as a label: names and ids, never long enough to hold a prompt."""

from __future__ import annotations

from typing import overload

#: The longest label, in characters; the rest is cut off.
LABEL_CHARS_MAX = 200


@overload
def clip(label: str) -> str: ...
@overload
def clip(label: None) -> None: ...
def clip(label: str | None) -> str | None:
    """Return a label no longer than `LABEL_CHARS_MAX`."""
    return label if label is None else label[:LABEL_CHARS_MAX]
