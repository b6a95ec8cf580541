"""The order lever on any body: the edited bytes, read anew, are the request that the lever said they would be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from scrimp.core.belief.prefix import NOTHING_HEARD, Mark, Prompt, read_prompt
from scrimp.core.belief.session import Belief
from scrimp.core.belief.templates import Look, look
from scrimp.core.levers.order import Moved, moved, with_marks
from scrimp.core.plan.edits import mark_edits
from scrimp.core.plan.planning import Policy, plan
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import Request, RequestUnreadable, parse
from scrimp.core.wire.splice import SpliceError, splice
from scrimp.core.wire.tokens import count_blocks
from tests.fuzz.inputs import COMPARED_BYTES_MAX, Input
from tests.fuzz.request_target import NOW_MS, prices
from tests.fuzz.splice_target import has_plain_head

_POLICY = Policy(mode="safe", order=True)


def check_order(given: Input) -> None:
    """Put one request in order, its tools too where the input says that they drift, and read what is sent."""
    try:
        request = parse(given.text)
    except RequestUnreadable:
        return
    own = read_prompt(request, _count(request.blocks))
    found = moved(request, own, _drifting(look({}, own), given.ways[0]), NOTHING_HEARD, _count)
    if found is None or len(given.text) > COMPARED_BYTES_MAX or not all(map(_is_plain, request.blocks)):
        return
    bare = msgspec.structs.replace(found.request, automatic_ttl=None)
    standing = msgspec.structs.replace(found.prompt, marks=found.standing)
    marks = found.prompt.marks
    _check_sent(given.text, found, marks, with_marks(found, marks, mark_edits(bare, standing, marks)))
    planned = plan(request, Belief(), _POLICY, prices(), NOW_MS)
    if planned.moved is not None:
        sent = _edited(given.text, planned.edits)
        assert sent is None or _begins(read_prompt(sent, count_blocks(sent.model, sent.blocks)), planned.prompt)


def _is_plain(block: Block) -> bool:
    return bytes(block.raw).startswith(b'"') or has_plain_head(block)


def _count(blocks: Sequence[Block]) -> list[int]:
    return [1_000] * len(blocks)


def _drifting(seen: Look, way: int) -> Look:
    """Return a look that knows the tools to drift: not at all, in their order, or in the order of their keys, too."""
    toolbox = seen.family.toolbox
    if toolbox is None or way % 3 == 0:
        return seen
    return msgspec.structs.replace(seen, toolbox=msgspec.structs.replace(toolbox, drifts=2, is_rekeyed=way % 3 == 2))


def _edited(body: bytes, edits: Sequence[Any]) -> Request | None:
    """Return the edited request as it is read anew, None where it goes as it came."""
    try:
        return parse(splice(body, edits))
    except SpliceError:
        return None


def _begins(whole: Prompt, said: Prompt) -> bool:
    """Whether a prompt begins with the blocks and the marks that were said of it; the tail stands behind them."""
    return whole.digests[: len(said.blocks)] == said.digests and whole.marks == said.marks


def _check_sent(body: bytes, found: Moved, marks: Sequence[Mark], edits: Sequence[Any]) -> None:
    sent = _edited(body, edits)
    if sent is None:
        return
    whole = read_prompt(sent, _count(sent.blocks))
    assert _begins(whole, msgspec.structs.replace(found.prompt, marks=tuple(marks)))
    assert whole.total_tokens == found.prompt.total_tokens
    before, after = json.loads(body), json.loads(splice(body, edits))
    assert Counter(_lines(before)) == Counter(_lines(after)), "a line was lost or made"
    assert Counter(_tools(before)) == Counter(_tools(after)), "a tool was changed"


def _lines(tree: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the system prompt, and every line that the messages say."""
    for content in (tree.get("system"), *(message.get("content") for message in tree["messages"])):
        for block in content if isinstance(content, list) else [{"text": content}]:
            text = block.get("text") if isinstance(block, dict) else None
            yield from filter(str.strip, text.split("\n") if isinstance(text, str) else ())


def _tools(tree: dict[str, Any]) -> Iterator[str]:
    """Yield the tools without their marks, keys in one order."""
    for tool in tree.get("tools") or ():
        bare = {key: each for key, each in tool.items() if key != "cache_control"} if isinstance(tool, dict) else tool
        yield json.dumps(bare, sort_keys=True)
