"""The prompt as the API renders it: a flat sequence of positions in cache order tools, system, messages.

Each position is one block. Its running hash stands for everything rendered up to and including it, so that two
requests share a prefix exactly as far as their hashes agree. What a request says beside its blocks (speed, thinking,
tool_choice, images, citations) enters as the salt of the first tier that depends on it (API docs, prompt caching,
"What invalidates the cache").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import msgspec

from scrimp.sim import tokens
from scrimp.sim.blocks import JsonObject, as_blocks, as_object, canonical, compact, nested, request_blocks
from scrimp.sim.checks import FORCED_CHOICES
from scrimp.sim.models import Model
from scrimp.sim.rules import Rules
from scrimp.sim.thinking import kept_from

THINKING = frozenset({"thinking", "redacted_thinking"})
EMPTY_TEXT = "empty_text"
TIERS = ("tools", "system", "messages")

#: Tools that change the system tier, not the tools tier, when they come or go.
_SYSTEM_TIER_TOOLS = ("web_search_", "web_fetch_")

_ATTRIBUTION = "x-anthropic-billing-header:"
_VOLATILE_ATTRIBUTION = re.compile(r"(?<!\s)\s*\b(?:cch|cc_prev_req|cc_prompt_id)=[^;]*;?")

_COLLAPSING = frozenset({"tool_use", "tool_result"})


class Position(msgspec.Struct, frozen=True):
    """One block of the prompt: where it stands, what it renders to, and how long it is.

    `path` is the API's own name of the place, such as `messages.0.content.2`. `controls` are the cache_control values
    on the block and on blocks inside it, outermost first.
    """

    tier: str
    path: str
    kind: str
    rendered: str
    tokens: int
    controls: tuple[Any, ...] = ()


class Prompt(msgspec.Struct, frozen=True):
    """A rendered prompt: for each position its running hash, the tokens up to its end and its look-back group."""

    positions: tuple[Position, ...]
    hashes: tuple[bytes, ...]
    ends: tuple[int, ...]
    groups: tuple[int, ...]

    @property
    def total_tokens(self) -> int:
        """The length of the whole prompt in tokens."""
        return self.ends[-1] if self.ends else 0


def _kind(block: JsonObject) -> str:
    """Return the block's type; empty text is a kind of its own, because it may not be marked."""
    kind = str(block.get("type"))
    return EMPTY_TEXT if kind == "text" and not block.get("text") else kind


def _controls(block: JsonObject) -> tuple[Any, ...]:
    own = block.get("cache_control")
    inner = tuple(control for child in nested(block) for control in _controls(child))
    return inner if own is None else (own, *inner)


def _is_system_tier(tool: JsonObject) -> bool:
    return str(tool.get("type") or "").startswith(_SYSTEM_TIER_TOOLS)


def _tool_positions(request: JsonObject, model: Model) -> Iterator[Position]:
    """Yield the tools, those of the system tier last; deferred tools are not in the prompt at all."""
    tools = [(index, tool) for index, tool in enumerate(as_blocks(request.get("tools")))]
    shown = [(index, tool) for index, tool in tools if not tool.get("defer_loading")]
    extra = model.tool_prompt.auto
    for index, tool in sorted(shown, key=lambda each: _is_system_tier(each[1])):
        tier = "system" if _is_system_tier(tool) else "tools"
        count = tokens.tool_tokens(tool, model) + extra
        yield Position(tier, f"tools.{index}", "tool", canonical(tool), count, _controls(tool))
        extra = 0


def _system_positions(request: JsonObject, model: Model, rules: Rules) -> Iterator[Position]:
    for index, block in enumerate(as_blocks(request.get("system"))):
        seen = _attribution(block, rules) if index == 0 else block
        if seen is not None:
            count = tokens.block_tokens(seen, model)
            yield Position("system", f"system.{index}", _kind(block), canonical(seen), count, _controls(block))


def _attribution(block: JsonObject, rules: Rules) -> JsonObject | None:
    text = block.get("text")
    if not isinstance(text, str) or not text.startswith(_ATTRIBUTION) or rules.attribution_block == "keep":
        return block
    return None if rules.attribution_block == "strip" else {**block, "text": _VOLATILE_ATTRIBUTION.sub("", text)}


def _expanded(block: JsonObject, deferred: dict[str, JsonObject]) -> JsonObject:
    """Return the block with each tool_reference to a deferred tool carrying the definition it stands for."""
    name = str(block.get("tool_name"))
    if block.get("type") == "tool_reference" and name in deferred:
        return {**block, "definition": deferred[name]}
    inner = nested(block) if isinstance(block.get("content"), list) else []
    return {**block, "content": [_expanded(child, deferred) for child in inner]} if inner else block


def _deferred_tools(request: JsonObject) -> dict[str, JsonObject]:
    tools = as_blocks(request.get("tools"))
    return {str(tool.get("name")): _definition(tool) for tool in tools if tool.get("defer_loading")}


def _definition(tool: JsonObject) -> JsonObject:
    return {key: value for key, value in tool.items() if key not in {"cache_control", "defer_loading"}}


def _message_positions(request: JsonObject, model: Model) -> Iterator[Position]:
    """Yield the messages' blocks; a role's first block pays for the change of speaker.

    What a message carries beside role and content (a per-message effort) is rendered with the next block, so that an
    empty message changes nothing before it.
    """
    deferred = _deferred_tools(request)
    first_kept = kept_from(request, model)
    spoken, pending = "", ""
    for index, message in enumerate(request["messages"]):
        role = str(message.get("role"))
        beside = {key: value for key, value in message.items() if key not in {"role", "content"} and value is not None}
        pending += compact(beside, sort_keys=True) if beside else ""
        for at, block in enumerate(as_blocks(message.get("content"))):
            kind = _kind(block)
            if kind in THINKING and index < first_kept:
                continue
            seen = _expanded(block, deferred)
            count = tokens.block_tokens(seen, model) + (tokens.ROLE_TOKENS if role != spoken else 0)
            path = f"messages.{index}.content.{at}"
            yield Position("messages", path, kind, f"{role}{pending}{canonical(seen)}", count, _controls(block))
            spoken, pending = role, ""


def _effort(request: JsonObject, model: Model) -> Any:
    """Return the effort that the whole conversation depends on, None where the messages carry their own."""
    messages = request.get("messages") or ()
    if any(isinstance(message.get("output_config"), dict) for message in messages):
        return None
    return as_object(request.get("output_config")).get("effort") or model.default_effort


def _thinking(request: JsonObject, model: Model) -> Any:
    """Return the thinking mode; how thinking is shown to the client does not enter the prompt."""
    mode = as_object(request.get("thinking"))
    return [mode.get("type") or model.default_thinking, mode.get("budget_tokens")]


def _tool_choice(request: JsonObject) -> Any:
    choice = as_object(request.get("tool_choice"))
    return [choice.get("type") or "auto", choice.get("name"), bool(choice.get("disable_parallel_tool_use"))]


def _images(request: JsonObject, rules: Rules) -> Any:
    count = sum(block.get("type") == "image" for block in request_blocks(request))
    return {"presence": bool(count), "count": count, "none": None}[rules.image_salt]


def _citations(request: JsonObject) -> bool:
    citing = (block for block in request_blocks(request) if block.get("type") in {"document", "search_result"})
    return any(as_object(block.get("citations")).get("enabled") for block in citing)


def _salts(request: JsonObject, model: Model, rules: Rules, betas: frozenset[str]) -> dict[str, list[Any]]:
    """Return what each tier depends on beside its blocks and the tiers before it."""
    config = as_object(request.get("output_config"))
    salts: dict[str, list[Any]] = {tier: [] for tier in TIERS}
    salts["tools" if rules.speed_scope == "all" else "system"].append(request.get("speed") or "standard")
    salts["tools"].append(sorted(betas) if rules.betas_in_key else None)
    salts["system"].append(_citations(request))
    salts[rules.thinking_tier] += [_thinking(request, model), _effort(request, model)]
    salts["messages"] += [_tool_choice(request), _images(request, rules)]
    salts["messages"] += [config.get("format"), config.get("task_budget")]
    return salts


def _hashes(positions: Iterable[Position], salts: dict[str, list[Any]], model: Model) -> Iterator[bytes]:
    running, entered = sha256(model.name.encode()).digest(), 0
    for position in positions:
        reached = TIERS.index(position.tier) + 1
        for tier in TIERS[entered:reached]:
            running = sha256(running + compact(salts[tier], sort_keys=True).encode()).digest()
        entered = max(entered, reached)
        running = sha256(running + position.rendered.encode("utf-8", "surrogatepass")).digest()
        yield running


def _groups(positions: Iterable[Position], rules: Rules) -> Iterator[int]:
    group, before = 0, ""
    for position in positions:
        joined = rules.collapse_tool_runs and position.kind == before and before in _COLLAPSING
        group += not joined
        before = position.kind
        yield group


def _ends(positions: Iterable[Position]) -> Iterator[int]:
    end = 0
    for position in positions:
        end += position.tokens
        yield end


def _with_forced_choice(positions: tuple[Position, ...], request: JsonObject, model: Model) -> tuple[Position, ...]:
    """Add what a forced tool_choice costs to the first message block: the tiers before it do not change."""
    forced = str(as_object(request.get("tool_choice")).get("type")) in FORCED_CHOICES
    if not forced or not any(position.kind == "tool" for position in positions):
        return positions
    extra = model.tool_prompt.forced - model.tool_prompt.auto
    first = next((at for at, position in enumerate(positions) if position.tier == "messages"), None)
    if first is None:
        return positions
    longer = msgspec.structs.replace(positions[first], tokens=positions[first].tokens + extra)
    return (*positions[:first], longer, *positions[first + 1 :])


def render(request: JsonObject, model: Model, rules: Rules, betas: frozenset[str] = frozenset()) -> Prompt:
    """Render a checked request for `model`; `betas` are the values of its anthropic-beta header."""
    blocks = (
        *_tool_positions(request, model),
        *_system_positions(request, model, rules),
        *_message_positions(request, model),
    )
    positions = _with_forced_choice(blocks, request, model)
    hashes = tuple(_hashes(positions, _salts(request, model, rules, betas), model))
    return Prompt(positions, hashes, tuple(_ends(positions)), tuple(_groups(positions, rules)))
