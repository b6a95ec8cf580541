"""What an answer says, as numbers and names: how long its text is, whether it asks something, which tools it wants.

Its text goes past and is not kept: only the last few hundred characters are, until the answer has ended.
"""

from __future__ import annotations

import msgspec

from scrimp.core.wire.labels import clip
from scrimp.core.wire.sse import SseEvent
from scrimp.core.wire.surrogates import UNREADABLE

#: A question mark among this many last characters asks the user something.
END_CHARACTERS = 300
#: Characters of which the end is remembered: an end of white space may hide as many.
_REMEMBERED = 2 * END_CHARACTERS
#: Names of tools that are remembered of one answer.
TOOLS_MAX = 64

#: Events that say something, beside those that tell what it costs.
SPEAKING = frozenset({b"content_block_start", b"content_block_delta"})


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """How many `characters` of text an answer has, whether its end `asks` something, and the client's `tools` it wants.

    White space around the text is not counted.
    """

    characters: int = 0
    asks: bool = False
    tools: frozenset[str] = frozenset()


def asks(text: str) -> bool:
    """Whether a text asks something near its end."""
    return "?" in text.rstrip()[-END_CHARACTERS:]


class _Block(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str | None = None
    name: str | None = None


class _Event(msgspec.Struct, frozen=True):
    content_block: _Block = _Block()
    delta: _Block = _Block()


_read_event = msgspec.json.Decoder(_Event).decode
_read_blocks = msgspec.json.Decoder(list[_Block]).decode


class Listener:
    """Hears one answer, event by event or whole; what it cannot read says nothing."""

    def __init__(self) -> None:
        self._characters = 0
        self._end = ""
        self._tools: set[str] = set()

    def hear(self, event: SseEvent) -> None:
        """Take the next event of a stream."""
        if event.name not in SPEAKING or not (b'"text' in event.data or b'"tool_use"' in event.data):
            return
        try:
            read = _read_event(event.data)
        except UNREADABLE:
            return
        self._block(read.content_block)
        self._block(read.delta)

    def hear_content(self, content: msgspec.Raw) -> None:
        """Take the content of a whole answer."""
        try:
            blocks = _read_blocks(content)
        except UNREADABLE:
            return
        for block in blocks:
            self._block(block)

    def _block(self, block: _Block) -> None:
        if block.type == "tool_use" and block.name and len(self._tools) < TOOLS_MAX:
            self._tools.add(clip(block.name))
        elif block.type in {"text", "text_delta"} and block.text:
            text = block.text if self._characters else block.text.lstrip()
            self._characters += len(text)
            self._end = (self._end + text)[-_REMEMBERED:]

    def spoken(self) -> Spoken:
        """Return what was heard so far."""
        white = len(self._end) - len(self._end.rstrip())
        return Spoken(self._characters - white, asks(self._end), frozenset(self._tools))
