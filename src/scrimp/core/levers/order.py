"""Order: stable before volatile. What changes in every request goes behind the last mark; tools keep one order.

A line such as "Current time: 12:01:33" at the head of the system prompt breaks the cache of everything behind it, in
every request. `belief.templates` says which lines are volatile. This lever cuts them out and puts them, unchanged, at
the very end of the request. The owner has to allow it: a model may weigh a line at the end otherwise than one at the
head. Where it may not be done, `pitfall` says what the line costs and what would mend it.

a. The tail is transient. It is not in what the client sends next, so nothing of it has to be remembered: up to the last
   mark, which stands in front of it, the next request says the same again. It is plain input every time, some 25 tokens
   for a line. It stands outside the prompt's chain, where no mark can fall on it; automatic caching, which would mark
   it, becomes an explicit mark on the block in front of it.
b. Preserved thinking is bound to the conversation before it, tail included. The tail is gone when the thinking comes
   back, and the API refuses the request, so on models that may bind thinking (`wire.models.binds_thinking`; unknown
   ones are such) the lever stands down while thinking is on or any thinking block is in the request. A tail that stays
   for ever where it was put would be valid, but needs a memory of what was put where. `clear_at` is for such reminders,
   but needs a beta header, and it is written nowhere that thinking outlives what it clears.
c. The tail is a system message where the model takes those, which keeps the owner's authority; else a text block at the
   end of the last user message, behind its tool results. There it makes a turn of a message that holds results alone,
   and models that keep thinking for some turns only would drop it, so with thinking the lever stands down there, too.
d. A request that ends with the assistant's words (a prefill, a paused turn) has no place for a tail, and one that
   another model, a summary or a server of tools may have a part in is not ours to judge. Both go as they came.
e. Tools are sorted by name once their order was seen to drift twice, and written with sorted keys once those drifted.
   What is deferred stays where it is. A mark keeps its place in the list, not its tool.
f. All this is one more prompt to be priced. A prompt that begins with something volatile is `Fragile`: the chance that
   a mark behind it is found is no better than the chance that the piece comes back, so none is added there in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import sub

import msgspec

from scrimp.core.belief.divergence import cause_of
from scrimp.core.belief.prefix import (
    THINKING,
    Chainer,
    Fragile,
    Heard,
    Mark,
    Prompt,
    chain_of,
    find_marks,
    front_of,
    read_prompt,
)
from scrimp.core.belief.templates import Look, Spot, canonical, text_without
from scrimp.core.levers.placement import write_price
from scrimp.core.wire.blocks import (
    Block,
    CacheControl,
    block_head,
    block_text,
    content_blocks,
    digest_of,
    text_digest,
    unmarked,
)
from scrimp.core.wire.models import binds_thinking, takes_system_messages, traits
from scrimp.core.wire.prices import PICO_USD_PER_NANO_USD, RateCard
from scrimp.core.wire.request import Request
from scrimp.core.wire.splice import (
    Edit,
    InsertBlock,
    MoveBlock,
    Place,
    RemoveBlock,
    ReplaceBlock,
    ReplaceText,
    SetMark,
    SetTop,
    SpliceError,
    place_of,
)
from scrimp.core.wire.surrogates import MENDED

#: Counts the tokens of blocks, in order.
Counter = Callable[[Sequence[Block]], Sequence[int]]

#: What mends each volatile piece, by its cause; any other is left out, or put to the tail.
TO_THE_TAIL = "put it behind the last mark, at the end of the newest message"
FIXES = {
    "date": f"State the time elsewhere: {TO_THE_TAIL}.",
    "tools_reordered": "Sort the tools by name.",
    "key_order": "Write the tools' JSON with sorted keys.",
}


class Pitfall(msgspec.Struct, frozen=True):
    """Something volatile in front of something stable: where, what it costs in each request, and what would mend it.

    `byte` is the offset in the block's text, in UTF-8, of the first volatile line. `cost_nano_usd` is what a request is
    expected to cost more than it would with the piece at its end, None where the model has no price.
    """

    cause: str
    path: str
    byte: int | None
    cost_nano_usd: int | None
    fix: str


class Moved(msgspec.Struct, frozen=True):
    """A request in order. `request` has its blocks without the tail, under the paths that they came with.

    `prompt` carries the client's marks at their places, `standing` are those that stand in the body once the
    `edits` are made, by their blocks' index in the prompt. `tools` are those to be written anew, by their place: where
    each of them goes, and its JSON.
    """

    request: Request
    prompt: Prompt
    standing: tuple[Mark, ...]
    edits: tuple[Edit, ...]
    tools: Mapping[Place, tuple[Place, bytes]]
    reason: str


def fragile(look: Look) -> Fragile | None:
    """Return the first piece of a prompt that changes, None where none is known to."""
    if look.toolbox is not None:
        return Fragile(0, look.toolbox.survival)
    return Fragile(look.spots[0].index, look.survival) if look.spots else None


def refusal(request: Request, look: Look) -> str | None:
    """Say why a request may not be put in order; None where it may, or where it is in order."""
    if not (look.spots or look.toolbox):
        return None
    last = next(reversed(request.blocks), None)
    if last is None or last.tier != "messages" or not _may_follow(last, request.model):
        return "the request does not end with the user's words"
    if request.may_sample_more:
        return "another model or a summary may have a part in the answer"
    has_thinking = not THINKING.isdisjoint([block.kind for block in request.blocks])
    if binds_thinking(request.model) and (has_thinking or _thinks(request)):
        return "thinking would be bound to what is gone from the next request"
    turns = request.thinking_turns or ("all" if traits(request.model).keeps_thinking else 1)
    if has_thinking and turns != "all" and look.spots and not takes_system_messages(request.model):
        return "one more user text would end the turn whose thinking is kept"
    return None


def _may_follow(last: Block, model: str) -> bool:
    return last.role == "user" or (last.role == "system" and takes_system_messages(model))


def _thinks(request: Request) -> bool:
    """Whether the answer may hold thinking: the first of the messages' settings is its mode."""
    mode = msgspec.json.decode(dict(request.settings)["messages"])[0][0]
    return bool(mode != "disabled")


# --- what it costs to leave it ----------------------------------------------------------------------------------------


def pitfall(sent: Prompt, look: Look, card: RateCard | None) -> Pitfall | None:
    """Return what the first volatile piece of a prompt costs; None where there is none, or where nothing is marked."""
    piece = sent.fragile or fragile(look)
    if piece is None or not sent.marks or sent.marks[-1].index < piece.index:
        return None
    mark, block = sent.marks[-1], sent.blocks[piece.index]
    again = min(mark.index, _repeated(sent) - 1)
    front = max((sent.tokens[each.index] for each in sent.marks if each.index < piece.index), default=0)
    behind = max(0, sent.tokens[again] - front)
    cost = None
    if card is not None:
        lost = write_price(card, mark.ttl) - card.cache_read
        cost = round((1 - piece.chance) * behind * lost / PICO_USD_PER_NANO_USD)
    if look.toolbox is not None:
        cause = "key_order" if look.toolbox.is_rekeyed else "tools_reordered"
        return Pitfall(cause, block.path, None, cost, FIXES[cause])
    first, text = look.spots[0].lines[0], look.spots[0].text
    start = len("".join([f"{line}\n" for line in text[:first]]).encode("utf-8", "surrogatepass"))
    cause = cause_of(text[first])
    return Pitfall(cause, block.path, start, cost, FIXES.get(cause, f"Leave it out, or {TO_THE_TAIL}."))


def _repeated(sent: Prompt) -> int:
    """Return how many blocks the request before is likely to have had: all before the last answer, or the messages."""
    blocks = sent.blocks
    last = next((i for i in reversed(range(len(blocks))) if blocks[i].role == "assistant"), None)
    if last is None:
        return front_of(blocks)
    message = blocks[last].message
    return next((i + 1 for i in range(last, -1, -1) if blocks[i].message != message), 0)


def priced_in_words(found: Pitfall) -> str:
    """Return a pitfall as a reason: where it is, what it costs, what to do."""
    cost = "an unknown sum" if found.cost_nano_usd is None else f"{found.cost_nano_usd / 1e9:.6f} USD"
    at = "" if found.byte is None else f" at byte {found.byte}"
    return f"order: {found.cause} in {found.path}{at} costs {cost} a request. {found.fix}"


# --- what it looks like in order --------------------------------------------------------------------------------------


def moved(
    request: Request, own: Prompt, look: Look, heard: Heard, count: Counter, chains: Chainer = chain_of
) -> Moved | None:
    """Return the request in order; None where it is so already, or where it has to stay as it is.

    `chains` may stand in for `chain_of` if it gives the same answers.
    """
    is_refused_anyway = request.is_marked and not own.marks
    if not (look.spots or look.toolbox) or is_refused_anyway or refusal(request, look) is not None:
        return None
    try:
        texts, left, tail_text = _cut(own, look.spots)
        tools = _sorted_tools(request.blocks, look) if look.toolbox else {}
    except SpliceError:
        return None
    size = front_of(request.blocks)
    front = _edited(request.blocks[:size], {**texts, **tools})
    if texts and not any(block.path.startswith("system.") for block in front):
        return None
    front = _in_order(front, has_sorted_tools=bool(look.toolbox))
    ordered = msgspec.structs.replace(request, blocks=(*front, *request.blocks[size:]))
    tail = _tail(request, tail_text) if look.spots else None
    kept = (*front, *own.blocks[size:])
    counted = (*count(front), *map(sub, own.tokens[size:], own.tokens[size - 1 :]))
    prompt = read_prompt(ordered, counted, sum(count((tail,))) if tail else 0, heard, kept, chains)
    standing = prompt.marks
    if request.automatic_ttl is not None:
        standing = find_marks(msgspec.structs.replace(ordered, automatic_ttl=None), kept)
    gone = [i for i, block in enumerate(own.blocks[:size]) if texts.get(block.path, block) is None]
    return Moved(
        request=ordered,
        prompt=msgspec.structs.replace(prompt, marks=_places(own.marks, gone, prompt), is_ordered=True),
        standing=standing,
        edits=tuple(_edits(request, own, look, left, tools, tail)),
        tools=_rewritten(request.blocks, tools),
        reason="order: " + " and ".join(_reasons(look)),
    )


def _reasons(look: Look) -> Iterator[str]:
    if look.toolbox:
        yield "tools whose order drifts are sorted"
    if look.spots:
        yield "text that changes in every request stands behind the last mark"


def _edited(blocks: Iterable[Block], changed: Mapping[str, Block | None]) -> tuple[Block, ...]:
    """Put blocks in the place of others, by their paths; None: take one out."""
    found = (changed.get(block.path, block) for block in blocks)
    return tuple(block for block in found if block is not None)


def _cut(own: Prompt, spots: Sequence[Spot]) -> tuple[dict[str, Block | None], dict[str, str], str]:
    """Return the system blocks without their volatile lines, None for an empty one, what is left, and the lines."""
    texts: dict[str, Block | None] = {}
    left, cut = {}, []
    for spot in spots:
        block = own.blocks[spot.index]
        _check_whole(block)
        left[block.path], goes = text_without(spot.text, spot.lines)
        cut.append(goes)
        texts[block.path] = _with_text(block, left[block.path]) if left[block.path].strip() else None
    return texts, left, "\n".join(cut)


def _check_whole(block: Block) -> None:
    """Refuse to write anew what may have held half a character, for which we only have a stand-in."""
    if MENDED in bytes(block.raw):
        raise SpliceError("half a character cannot be written")


def _with_text(block: Block, text: str) -> Block:
    """Return a system block that says something else, as it will be read from the edited body."""
    old, new = bytes(block.raw), msgspec.json.encode(text)
    said = old if old.startswith(b'"') else bytes(block_head(block.raw).text)
    before, _, after = old.partition(said)
    if said in after:
        raise SpliceError("where a text stands in its block is not clear")
    raw = before + new + after
    digest = text_digest(block.path, block.role, new)
    return msgspec.structs.replace(block, raw=msgspec.Raw(raw), digest=digest, size=len(raw))


def _tail(request: Request, text: str) -> Block:
    """Return the tail under the path that it will have: in a message of its own, or in the last one."""
    _, message, index = place_of(request.blocks[-1].path)[:3]
    raw = msgspec.json.encode({"type": "text", "text": text})
    if takes_system_messages(request.model):
        path, role = f"messages.{int(message) + 1}.content.0", "system"
    else:
        path, role = f"messages.{message}.content.{int(index) + 1}", "user"
    found = next(content_blocks("messages", path, role, msgspec.Raw(b"[%b]" % raw)))
    return msgspec.structs.replace(found, path=path)


def _edits(
    request: Request,
    own: Prompt,
    look: Look,
    left: Mapping[str, str],
    tools: Mapping[str, Block],
    tail: Block | None,
) -> Iterator[Edit]:
    """Yield what makes the body the request in order, marks aside."""
    for spot in look.spots:
        path = own.blocks[spot.index].path
        yield ReplaceText(place_of(path), left[path]) if left[path].strip() else RemoveBlock(place_of(path))
    if look.toolbox and not tools:
        yield from (MoveBlock(place, slot) for place, slot, _ in _slots(request.blocks) if place != slot)
    if request.automatic_ttl is not None:
        yield SetTop("cache_control", None)
    if tail is not None and tail.role == "system":
        message = msgspec.json.encode({"role": "system", "content": block_text(tail)})
        yield InsertBlock(place_of(tail.message), message)
    elif tail is not None:
        yield InsertBlock(place_of(tail.path), bytes(tail.raw))


# --- tools ------------------------------------------------------------------------------------------------------------


def _sorted_tools(blocks: Sequence[Block], look: Look) -> dict[str, Block]:
    """Return the tools that are to be written otherwise, by path: with sorted keys, where these drift."""
    names = [block.name for block in blocks if _is_tool(block)]
    if None in names or len(set(names)) < len(names):
        raise SpliceError("tools without a name of their own have no order")
    if look.toolbox is None or not look.toolbox.is_rekeyed:
        return {}
    return {block.path: _canonical(block) for block in blocks if _is_tool(block)}


def _canonical(tool: Block) -> Block:
    raw = canonical(tool)
    if raw is None:
        raise SpliceError("a tool's JSON cannot be read")
    _check_whole(tool)
    digest = digest_of("", unmarked(raw))
    return msgspec.structs.replace(tool, raw=msgspec.Raw(raw), digest=digest, size=len(raw), ttl=None)


def _is_tool(block: Block) -> bool:
    return block.path.startswith("tools.")


def _in_order(blocks: tuple[Block, ...], *, has_sorted_tools: bool) -> tuple[Block, ...]:
    """Return the blocks with the tools of each tier sorted by name."""
    if not has_sorted_tools:
        return blocks
    tools = sorted(filter(_is_tool, blocks), key=lambda block: (block.tier != "tools", block.name))
    return (*tools, *(block for block in blocks if not _is_tool(block)))


def _slots(blocks: Sequence[Block]) -> Iterator[tuple[Place, Place, Block]]:
    """Yield where each tool stands and where it goes: the first name to the first place that holds no deferred tool."""
    tools = [block for block in blocks if _is_tool(block)]
    slots = sorted(place_of(block.path) for block in tools)
    for slot, tool in zip(slots, sorted(tools, key=lambda block: str(block.name)), strict=True):
        yield place_of(tool.path), slot, tool


def _rewritten(blocks: Sequence[Block], tools: Mapping[str, Block]) -> dict[Place, tuple[Place, bytes]]:
    if not tools:
        return {}
    return {place: (slot, bytes(tools[tool.path].raw)) for place, slot, tool in _slots(blocks)}


# --- marks ------------------------------------------------------------------------------------------------------------


def _places(marks: Iterable[Mark], gone: Sequence[int], prompt: Prompt) -> tuple[Mark, ...]:
    """Return the client's marks in a prompt that lacks the blocks `gone`; that of such a one goes to the one before."""
    placed: dict[int, Mark] = {}
    for mark in marks:
        index = mark.index - sum(each <= mark.index for each in gone)
        if index >= 0 and prompt.blocks[index].markable:
            placed.setdefault(index, Mark(index, mark.ttl))
    return tuple(placed.values())


def with_marks(found: Moved, marks: Sequence[Mark], changed: Iterable[Edit]) -> tuple[Edit, ...]:
    """Return all edits that make the request: `found.edits`, and `changed`, which set the `marks` that do not stand.

    Marks that stand in the body and are not among `marks` are taken away; a tool that is written anew holds its own.
    """
    wanted = {mark.index for mark in marks}
    gone = [place_of(found.prompt.blocks[mark.index].path) for mark in found.standing if mark.index not in wanted]
    setting = {edit.at: edit.cache_control for edit in changed if isinstance(edit, SetMark)}
    setting |= dict.fromkeys(gone)
    tools = [ReplaceBlock(slot, _marked(raw, setting.pop(place, None))) for place, (slot, raw) in found.tools.items()]
    return (*found.edits, *tools, *(SetMark(at, control) for at, control in setting.items()))


def _marked(raw: bytes, control: CacheControl | None) -> bytes:
    return raw if control is None else b'%b,"cache_control":%b}' % (raw[:-1], msgspec.json.encode(control))
