"""Breakpoints: where cache_control stands in a prompt, the automatic one too, and what the API refuses about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scrimp.sim.blocks import JsonObject
from scrimp.sim.errors import bad_request
from scrimp.sim.render import EMPTY_TEXT, THINKING, Position, Prompt
from scrimp.sim.rules import Rules

#: The lifetimes of an entry, in milliseconds.
TTL_MS = {"5m": 300_000, "1h": 3_600_000}

#: Blocks that may not carry a breakpoint.
UNMARKABLE = THINKING | {EMPTY_TEXT}


class Mark(msgspec.Struct, frozen=True):
    """A breakpoint on the position of index `at`, with its lifetime "5m" or "1h"."""

    at: int
    ttl: str


def _ttl(control: Any, path: str) -> str:
    if not isinstance(control, dict) or control.get("type") != "ephemeral":
        raise bad_request(f"{path}.type: Input should be 'ephemeral'")
    ttl = control.get("ttl") or "5m"
    if not isinstance(ttl, str) or ttl not in TTL_MS:
        raise bad_request(f"{path}.ttl: Input should be '5m' or '1h'")
    return ttl


def _explicit(positions: Sequence[Position]) -> list[Mark]:
    marked = ((at, each.path, control) for at, each in enumerate(positions) for control in each.controls)
    return [Mark(at, _ttl(control, f"{path}.cache_control")) for at, path, control in marked]


def _check_places(positions: Sequence[Position]) -> None:
    for position in positions:
        if position.controls and position.kind == EMPTY_TEXT:
            raise bad_request(f"{position.path}.text: cache_control cannot be set for empty text blocks")
        if position.controls and position.kind in UNMARKABLE:
            raise bad_request(f"{position.path}.{position.kind}.cache_control: Extra inputs are not permitted")


def _automatic(control: Any, positions: Sequence[Position], explicit: Sequence[Mark]) -> list[Mark]:
    """Return the mark of a top-level cache_control: on the last block that may carry one, if any."""
    if control is None:
        return []
    ttl = _ttl(control, "cache_control")
    last = next((at for at in reversed(range(len(positions))) if positions[at].kind not in UNMARKABLE), None)
    standing = {mark.ttl for mark in explicit if mark.at == last}
    if standing and ttl not in standing:
        raise bad_request(
            f"cache_control.ttl: the top-level ttl='{ttl}' contradicts the cache_control on "
            f"`{positions[last or 0].path}`, the last block of the request."
        )
    return [] if last is None or standing else [Mark(last, ttl)]


def _check_count(marks: Sequence[Mark], rules: Rules) -> None:
    if len(marks) > rules.max_breakpoints:
        raise bad_request(
            f"A maximum of {rules.max_breakpoints} blocks with cache_control may be provided. Found {len(marks)}."
        )


def _check_order(marks: Sequence[Mark], positions: Sequence[Position]) -> None:
    """Refuse a 1h mark after a 5m one."""
    short = False
    for mark in marks:
        if short and mark.ttl == "1h":
            raise bad_request(
                f"{positions[mark.at].path}.cache_control.ttl: a ttl='1h' cache_control block must not come after a "
                "ttl='5m' cache_control block. Note that blocks are processed in the following order: `tools`, "
                "`system`, `messages`."
            )
        short = short or mark.ttl == "5m"


def _check_deferred(request: JsonObject) -> None:
    for index, tool in enumerate(request.get("tools") or ()):
        if tool.get("defer_loading") and tool.get("cache_control"):
            raise bad_request(f"tools.{index}.cache_control: tools with defer_loading cannot use prompt caching")


def breakpoints(request: JsonObject, prompt: Prompt, rules: Rules) -> tuple[Mark, ...]:
    """Return the request's breakpoints in cache order, at most one a position; raise what the API refuses.

    Each mark inside one position counts towards the maximum, and together they act as one.
    """
    _check_deferred(request)
    _check_places(prompt.positions)
    explicit = _explicit(prompt.positions)
    marks = [*explicit, *_automatic(request.get("cache_control"), prompt.positions, explicit)]
    _check_count(marks, rules)
    _check_order(marks, prompt.positions)
    return tuple({mark.at: mark for mark in reversed(marks)}.values())[::-1]
