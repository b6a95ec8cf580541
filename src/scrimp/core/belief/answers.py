"""What earlier answers left in a request: thinking of another model, and the breakpoints that the API set itself.

A request holds the answers to the ones before it, and says of none which model wrote it or whether the API cached parts
of it on its own. Both follow from what was sent: an answer stands right after the end of the request that it answers,
and ends of conversations are remembered (`Belief.tails`). What was never seen going past is taken as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from scrimp.core.belief.prefix import NOTHING_HEARD, THINKING, Heard, Searched, cache_of
from scrimp.core.belief.session import Belief, Tail, Trails, offers_server_tools, trails
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import Request

_DATE = re.compile(r"-20\d{6}$")
#: Ends the kind of a result of the API's own tools; a client's own is a `tool_result` (SDK, content blocks).
_SERVER_RESULT = "_tool_result"


def heard(belief: Belief, request: Request, found: Trails | None = None) -> Heard:
    """Return what is known of the answers that a request holds; `found` are its `trails`, for a caller that has them.

    Where only one model is in use and the API has no tools of its own, nothing needs to be looked at.
    """
    several = belief.rules.foreign_thinking_dropped and bool(belief.caches.keys() - {cache_of(request)})
    searches = belief.rules.server_tool_marks and offers_server_tools(request.blocks)
    if not (several or searches):
        return NOTHING_HEARD
    answers = list(_answers(belief, request, found or trails(request)))
    foreign = (answer for answer in answers if several and _is_foreign(answer, request))
    marked = (answer for answer in answers if searches and _is_marked(answer, request))
    return Heard(
        foreign=frozenset(answer.block.path for answer in foreign),
        own_marks={each.block.path: Searched(each.after, each.tail.prefix, each.tail.at_ms) for each in marked},
    )


class _Answered(msgspec.Struct, frozen=True):
    """A block of an answer: where that answer begins, whether the block ends it, and the end of what it answers."""

    block: Block
    after: str
    is_last: bool
    tail: Tail


def _answers(belief: Belief, request: Request, found: Trails) -> Iterator[_Answered]:
    """Yield each block that tells something and that answers a request that was seen."""
    blocks, (whole, messages_alone) = list(request.tier("messages")), found
    telling = [at for at, block in enumerate(blocks) if block.kind in THINKING or block.kind.endswith(_SERVER_RESULT)]
    for at in telling:
        before = at - 1
        while before >= 0 and blocks[before].message == blocks[at].message:
            before -= 1
        tail = belief.tails.get(whole[before]) or belief.tails.get(messages_alone[before]) if before >= 0 else None
        if tail is not None:
            is_last = at + 1 == len(blocks) or blocks[at + 1].message != blocks[at].message
            yield _Answered(blocks[at], blocks[before].path, is_last, tail)


def _is_foreign(answer: _Answered, request: Request) -> bool:
    return answer.block.kind in THINKING and _undated(answer.tail.model) != _undated(request.model)


def _undated(model: str) -> str:
    return _DATE.sub("", model)


def _is_marked(answer: _Answered, request: Request) -> bool:
    """Whether the API marked this block itself: a result of its own tools, before it read on."""
    is_result = answer.block.kind.endswith(_SERVER_RESULT) and not answer.is_last
    return is_result and answer.tail.is_marked and answer.tail.cache == cache_of(request)
