"""Cache diagnostics: why a request could not read what the one before it had cached (API docs, cache diagnostics).

A request takes part by its `diagnostics` field. The answer's own says null where nothing before the end of the earlier
conversation changed, else the first tier that did, in the order model, tools, system, messages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from scrimp.sim.blocks import JsonObject, as_object
from scrimp.sim.models import Model
from scrimp.sim.render import Position, Prompt
from scrimp.sim.rules import Rules

BETA = "cache-diagnosis-2026-04-07"

#: Fingerprints that are remembered; a comparison with a forgotten one says previous_message_not_found.
FINGERPRINTS_MAX = 10_000


class Fingerprint(msgspec.Struct, frozen=True):
    """What is remembered of a request: a digest of each tier, and how much of it was cached, in tokens.

    `messages` are as many as the request had; a longer conversation that starts with them has not changed.
    """

    workspace: str
    model: str
    tools: bytes
    system: bytes
    messages: tuple[bytes, ...]
    cached_input_tokens: int


def _digest(positions: Iterable[Position]) -> bytes:
    running = sha256(b"")
    for position in positions:
        running.update(sha256(position.rendered.encode("utf-8", "surrogatepass")).digest())
    return running.digest()[:16]


def fingerprint(
    workspace: str, request: JsonObject, prompt: Prompt, model: Model, cached_input_tokens: int
) -> Fingerprint:
    """Return what is remembered of a request."""
    is_tool = [position.path.startswith("tools.") for position in prompt.positions]
    tools = [position for position, tool in zip(prompt.positions, is_tool, strict=True) if tool]
    others = [position for position, tool in zip(prompt.positions, is_tool, strict=True) if not tool]
    return Fingerprint(
        workspace,
        f"{model.name}|{request.get('speed') or 'standard'}",
        _digest(tools),
        _digest(position for position in others if position.tier == "system"),
        tuple(_digest([position]) for position in others if position.tier == "messages"),
        cached_input_tokens,
    )


def _changed(before: Fingerprint, now: Fingerprint) -> str | None:
    for tier in ("model", "tools", "system"):
        if getattr(before, tier) != getattr(now, tier):
            return f"{tier}_changed"
    return None if now.messages[: len(before.messages)] == before.messages else "messages_changed"


class Diagnostics:
    """Every workspace's fingerprints, by the id of the answer."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: OrderedDict[str, Fingerprint] = OrderedDict()

    def asked(self, request: JsonObject, betas: frozenset[str]) -> bool:
        """Say whether the request takes part."""
        return isinstance(request.get("diagnostics"), dict) and (BETA in betas or not self._rules.diagnostics_need_beta)

    def keep(self, message_id: str, now: Fingerprint) -> None:
        """Remember a request under the id of its answer."""
        self._known[message_id] = now
        if len(self._known) > FINGERPRINTS_MAX:
            self._known.popitem(last=False)

    def compare(self, request: JsonObject, now: Fingerprint, read_input_tokens: int) -> JsonObject | None:
        """Return the answer's `diagnostics`."""
        name = as_object(request.get("diagnostics")).get("previous_message_id")
        if name is None:
            return None
        before = self._known.get(name) if isinstance(name, str) else None
        if before is None or before.workspace != now.workspace:
            return {"cache_miss_reason": {"type": "previous_message_not_found"}}
        kind = _changed(before, now)
        if kind is None:
            return None
        missed = max(0, before.cached_input_tokens - read_input_tokens)
        return {"cache_miss_reason": {"type": kind, "cache_missed_input_tokens": missed}}
