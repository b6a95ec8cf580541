"""Signs that an answer wants a reply: what can be seen of it without understanding it.

On real sessions (hold study and our own replay) whoever was left with a long answer, with a question near its end, or
with a turn that changed no file comes back more often, and sooner, than whoever was told in two lines that the work is
done. Only the number of signs is kept, never the text.
"""

from __future__ import annotations

from collections.abc import Iterable

from scrimp.core.wire.spoken import asks

#: An answer of more characters than this is a text to be read, not a note that something is done.
LONG_CHARACTERS = 1_000

#: Tools of coding agents that change files.
EDITING_TOOLS = frozenset({"Edit", "MultiEdit", "NotebookEdit", "Write", "str_replace_based_edit_tool"})


def signs_of(text: str, tools: Iterable[str]) -> int:
    """Count the signs, 0 to 3: a long text, a question near its end, and no file changed by the `tools` of the turn.

    `text` is all that the turn's last answer says; `tools` are the names of those that the whole turn used.
    """
    text = text.strip()
    return signs_in(len(text), asks=asks(text), edited=edits(tools))


def signs_in(characters: int, *, asks: bool, edited: bool) -> int:
    """Count the signs of an answer of so many characters; `edited` says whether its turn changed a file."""
    return (characters > LONG_CHARACTERS) + asks + (not edited)


def edits(tools: Iterable[str]) -> bool:
    """Whether one of these tools changes files."""
    return not EDITING_TOOLS.isdisjoint(tools)
