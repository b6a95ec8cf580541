"""What kind of work a request is, without tags and without keeping a word of it.

Claude Code says what its requests are for; the requests of any other client are told by their template (see
`core.belief.task`). A template costs milliseconds, so what tells it is read once, after the answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from hashlib import blake2s
from itertools import islice
from typing import TYPE_CHECKING

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.blocks import block_text
from scrimp.core.wire.request import Request
from scrimp.core.wire.turns import at_once

if TYPE_CHECKING:
    from scrimp.core.belief.task import TaskType

#: Types told apart; past them a request that is like none is "other".
TYPES_MAX = 500
#: Requests whose type is remembered, by what tells it; the least recently used are read again.
NAMES_MAX = 2_000
#: A shorter system prompt says too little by itself: the first user text may decide, too.
SYSTEM_BYTES_MIN = 600
OTHER = "other"


class TaskTypes:
    """The types seen so far, found online: a request joins the most similar one or founds its own."""

    def __init__(self) -> None:
        self._known: tuple[TaskType, ...] = ()
        self._known_names: OrderedDict[bytes, str] = OrderedDict()

    def name(self, exchange: Exchange, request: Request | None) -> str | None:
        """Return the readable type of a request; None where it could not be read."""
        return at_once(self.naming(exchange, request))

    def naming(self, exchange: Exchange, request: Request | None) -> Generator[None, None, str | None]:
        """Name a request as `name` does, in turns where its template is new."""
        if exchange.request_class is not None:
            return _of_claude_code(exchange, request)
        if request is None:
            return None
        key = _telling(request)
        if key in self._known_names:
            self._known_names.move_to_end(key)
            return self._known_names[key]
        name = self._known_names[key] = yield from self._read(request)
        if len(self._known_names) > NAMES_MAX:
            self._known_names.popitem(last=False)
        return name

    def _read(self, request: Request) -> Generator[None, None, str]:
        from scrimp.core.belief.task import assign, templating  # noqa: PLC0415 - its patterns are slow to compile

        tools = [block.name or block.kind for block in request.blocks if block.path.startswith("tools.")]
        system = [block_text(block) for block in request.tier("system")]
        read = yield from templating(tools, system, request.first_user_text, has_format=request.output_format)
        name, known = assign(read, self._known)
        if len(known) > TYPES_MAX:
            return OTHER
        self._known = known
        return name


def _telling(request: Request) -> bytes:
    """Return a digest of what the type of a request may depend on: mostly what stands before its messages."""
    before = [block for block in request.blocks if block.tier != "messages"]
    is_short = sum(block.size for block in before if block.tier == "system") < SYSTEM_BYTES_MIN
    texts = (block for block in request.tier("messages") if block.role == "user" and block.kind == "text")
    before += islice(texts, int(is_short))
    return blake2s(b"".join([b"%d" % request.output_format, *(block.digest for block in before)])).digest()


def _of_claude_code(exchange: Exchange, request: Request | None) -> str:
    """Name a request by its class, its agent and what its first prompt asks for, as transcripts are named."""
    from scrimp.core.belief.work import cluster_of, name_type, tool_cluster  # noqa: PLC0415 - its table is slow to build

    prompt = _first_prompt(request) if request else ""
    command = _command(prompt)
    return name_type(
        exchange.request_class, exchange.agent_type, command, (prompt and cluster_of(prompt)) or tool_cluster(())
    )


def _first_prompt(request: Request) -> str:
    """Return what a person, or the agent that started this one, wrote first; reminders of the client are not that."""
    from scrimp.core.belief.work import clean  # noqa: PLC0415 - as above

    texts = (block_text(block) for block in request.tier("messages") if block.role == "user" and block.kind == "text")
    return next((prompt for text in texts if (prompt := clean(text))), "")


def _command(prompt: str) -> str | None:
    """Return the slash command that the client says it expanded; words after a slash may be anybody's."""
    from scrimp.core.belief.work import command_of, is_local  # noqa: PLC0415 - as above

    command = command_of(prompt) if prompt.startswith("<command-") else None
    return command if command and not is_local(command) else None
