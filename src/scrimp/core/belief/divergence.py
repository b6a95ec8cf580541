"""Where two requests of one conversation part: the first block that differs, the byte, and who changed it.

Only what comes first matters, because everything behind it has to be written anew. `reason` is the API's own word for
it (its cache diagnostics), `cause` ours, a finer one: a date, a counter, the order of the tools, a setting. The two
snippets are content: they are for the owner's eyes, stay in memory and go into no ledger and no log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from scrimp.core.belief.prefix import THINKING, kept_blocks
from scrimp.core.wire.blocks import TIERS, Block, Tier, block_text, unmarked
from scrimp.core.wire.cachekey import changed_setting
from scrimp.core.wire.request import Request

#: The API's own values (API docs, cache diagnostics).
CacheMissReason = Literal["model_changed", "tools_changed", "system_changed", "messages_changed"]
_REASONS: dict[Tier, CacheMissReason] = {
    "tools": "tools_changed",
    "system": "system_changed",
    "messages": "messages_changed",
}
#: Causes by which a client puts another history in the place of the last one.
REPLACED = frozenset({"compaction", "rewound"})
#: Settings that messages may hold, and that go with them.
_IN_MESSAGES = frozenset({"images", "effort"})

#: Characters shown on either side of a difference.
_AROUND = 40


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first difference between a request and the one before it.

    * `path` is the first block that cannot be read from the cache any more, e.g. "system.0"; "" where it is the whole
      prompt.
    * `byte` is the offset of the difference in that block's text (its JSON where it is no text), in UTF-8; None where
      no content changed.
    """

    reason: CacheMissReason
    cause: str
    path: str = ""
    byte: int | None = None
    before: str = ""
    after: str = ""


def compare(before: Request, after: Request) -> Divergence | None:
    """Return where `after` parts from `before`, None where it only goes on, or goes back, without changing anything."""
    if before.model != after.model:
        return Divergence(reason="model_changed", cause="model", before=before.model, after=after.model)
    if (before.speed or "standard") != (after.speed or "standard"):
        return Divergence(reason="model_changed", cause="speed")
    blocks = kept_blocks(before), kept_blocks(after)
    for tier in TIERS:
        found = _in_tier(before, after, *blocks, tier)
        if found is not None:
            return found
    return None


def _in_tier(
    before: Request, after: Request, kept_before: Sequence[Block], kept_after: Sequence[Block], tier: Tier
) -> Divergence | None:
    old = [block for block in kept_before if block.tier == tier]
    new = [block for block in kept_after if block.tier == tier]
    setting = changed_setting(tier, dict(before.settings).get(tier, b""), dict(after.settings).get(tier, b""))
    i = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a.digest != b.digest), None)
    if setting is not None:
        if setting in _IN_MESSAGES and i is not None and _of_messages(after, old, new, i) in REPLACED:
            return _messages(after, old, new, i)
        return Divergence(reason=_REASONS[tier], cause=setting, path=new[0].path if new else "")
    if tier == "messages":
        return None if i is None else _messages(after, old, new, i)
    if i is None and len(old) == len(new):
        return None
    i = min(len(old), len(new)) if i is None else i
    if tier == "tools":
        return _tools(old, new, i)
    if i < min(len(old), len(new)):
        return _content(tier, old[i], new[i])
    return Divergence(reason=_REASONS[tier], cause="system_blocks", path=(new or old)[min(i, len(new or old) - 1)].path)


def _tools(old: Sequence[Block], new: Sequence[Block], i: int) -> Divergence:
    """Say what became of the tools: another set, another order, or another definition of one."""
    names, now = [block.name for block in old], [block.name for block in new]
    path = new[i].path if i < len(new) else f"tools.{i}"
    if names == now:
        return _content("tools", old[i], new[i])
    cause = "tools_reordered" if sorted(map(str, names)) == sorted(map(str, now)) else "tools_added_or_removed"
    was, became = (str(each[i]) if i < len(each) else "" for each in (names, now))
    return Divergence(reason="tools_changed", cause=cause, path=path, before=was, after=became)


def _messages(after: Request, old: Sequence[Block], new: Sequence[Block], i: int) -> Divergence:
    """Say what became of the messages: thinking dropped, context compacted or cleared, a turn taken back, an edit."""
    cause = _of_messages(after, old, new, i)
    if cause is None:
        return _content("messages", old[i], new[i])
    return Divergence(reason="messages_changed", cause=cause, path=new[i].path)


def _of_messages(after: Request, old: Sequence[Block], new: Sequence[Block], i: int) -> str | None:
    """Name what a client does to whole blocks; None where the text of one block was changed."""
    one, other = old[i], new[i]
    shorter = len(new) < len(old)
    if one.kind in THINKING and other.kind not in THINKING and _still_sent(one, after):
        return "thinking_dropped"
    if other.kind == "compaction" or (shorter and i <= 1):
        return "compaction"
    if one.kind == other.kind == "tool_result" and _same_result(one, other) and other.size < one.size:
        return "result_cleared"
    if "image" in {one.kind, other.kind} and one.kind != other.kind:
        return "images"
    if one.kind != other.kind or one.role != other.role or (shorter and _is_prompt(other)):
        return "rewound" if _is_prompt(other) else "message_edited"
    return None


def _still_sent(block: Block, request: Request) -> bool:
    return any(each.digest == block.digest for each in request.blocks)


def _is_prompt(block: Block) -> bool:
    return block.role == "user" and block.kind != "tool_result"


def _same_result(one: Block, other: Block) -> bool:
    return bool(_member(one, "tool_use_id") and _member(one, "tool_use_id") == _member(other, "tool_use_id"))


def _member(block: Block, name: str) -> Any:
    decoded = _decoded(block)
    return decoded.get(name) if isinstance(decoded, dict) else None


def _decoded(block: Block) -> Any:
    try:
        return msgspec.json.decode(unmarked(bytes(block.raw)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def shown(block: Block) -> str:
    """Return what a block's bytes are counted in: its text, or its JSON without marks."""
    return block_text(block) if block.kind == "text" else unmarked(bytes(block.raw)).decode("utf-8", "replace")


def _content(tier: Tier, one: Block, other: Block) -> Divergence:
    """Say at which byte the content of one block changed, and what kind of text did."""
    was, now = shown(one), shown(other)
    at = next((i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    start = max(0, at - _AROUND)
    return Divergence(
        reason=_REASONS[tier],
        cause=_cause(tier, one, other, was, now, at),
        path=other.path,
        byte=len(now[:at].encode("utf-8", "surrogatepass")),
        before=was[start : at + _AROUND],
        after=now[start : at + _AROUND],
    )


_ATTRIBUTION = "x-anthropic-billing-header:"
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DAYS = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?"
#: What changes of itself, told by the word that changed and by its line: the first pattern that is found decides.
_VOLATILE: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("date", "word", re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}:\d{2}|\d{1,2}/\d{1,2}/\d{2,4}")),
    ("date", "word", re.compile(rf"^\W*(?:{_DAYS}|{_MONTHS})\W*$", re.IGNORECASE)),
    ("id", "word", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{12,}|[a-z]+_[0-9A-Za-z]{8,}", re.IGNORECASE)),
    ("git_status", "line", re.compile(r"\b(?:git|branch|commits?|HEAD|modified|untracked)\b|^\s*(?:[MADRU?]{1,2}) ")),
    ("git_status", "line", re.compile(r"^[0-9a-f]{7,40} ")),
    ("date", "line", re.compile(rf"\b(?:date|time|today|now)\b.*\d|\b{_MONTHS} \d|\d {_MONTHS}\b", re.IGNORECASE)),
    ("counter", "word", re.compile(r"^\W*\d[\d.,_]*\W*$|\d+$|^\d+")),
)


def cause_of(line: str) -> str:
    """Name what makes a line change of itself; "system_edited" where nothing in it is known to."""
    words = line.split()
    for cause, where, pattern in _VOLATILE:
        if any(map(pattern.search, words if where == "word" else [line])):
            return cause
    return "system_edited"


def _cause(tier: Tier, one: Block, other: Block, was: str, now: str, at: int) -> str:
    if was.startswith(_ATTRIBUTION) and now.startswith(_ATTRIBUTION):
        return "billing_header"
    if one.kind != "text" and _decoded(one) is not None and _decoded(one) == _decoded(other):
        return "key_order"
    words, lines = ([_piece(text, at, apart) for text in (was, now)] for apart in (" \t\n\"'<>,;()[]{}", "\n"))
    # JSON has no lines: what else it says somewhere is no hint.
    found = {"word": words, "line": lines if one.kind == "text" else ["", ""]}
    for cause, where, pattern in _VOLATILE:
        if all(pattern.search(piece) for piece in found[where]):
            return cause
    return {"tools": "tool_changed", "system": "system_edited", "messages": "message_edited"}[tier]


def _piece(text: str, at: int, apart: str) -> str:
    """Return the piece of text around an offset, up to the characters that part pieces."""
    start = max((text.rfind(each, 0, at) for each in apart), default=-1) + 1
    ends = [end for each in apart if (end := text.find(each, at)) >= 0]
    return text[start : min(ends, default=len(text))]
