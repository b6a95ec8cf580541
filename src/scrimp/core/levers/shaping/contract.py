"""What a shaper is, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

LEAST_SAVED_CHARS = 16
"""What saves less is not worth a form of its own."""


class Hint(msgspec.Struct, frozen=True):
    """What is known of a tool result beside its text.

    `tool` is the tool's name ("Read", "Bash", "get_user_details"), None where unknown; `input` the tool's input as
    JSON, empty where unknown.
    """

    tool: str | None = None
    input: bytes = b""


class Shaper(NamedTuple):
    """One way to write a text shorter and lose nothing.

    `shape` returns None where it has nothing to say, else a text that is taken where it is shorter and
    `restore(shape(t)) == t`, character for character (`shape.proved`): it need not prove that itself. `restore`
    raises ValueError for a text that bears no mark of this shaper: by that a text is known that was shaped before.
    `version` goes up whenever `shape` writes the same text otherwise or `restore` reads another form: what was sent
    once is rendered by the version that wrote it.
    """

    name: str
    version: int
    shape: Callable[[str, Hint], str | None]
    restore: Callable[[str], str]


class Shaped(msgspec.Struct, frozen=True):
    """A text as the model is to see it.

    `steps` names the shapers that wrote it, with their versions, in order ("json/1"); empty: it is as it came.
    """

    text: str
    steps: tuple[str, ...] = ()
