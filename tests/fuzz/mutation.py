"""Mutations that keep JSON readable: the readers are JSON's first, and bytes at random rarely get past a decoder."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.inputs import CONTROL_BYTES, REPEATED

#: Names and values that some reader looks at, from the API's documentation and the readers' own tables.
WORDS = (
    "role content type text tool_use tool_result thinking redacted_thinking image document base64 source data "
    "media_type name input id tool_use_id tools system messages model max_tokens stream metadata user_id cache_control "
    "ttl 5m 1h ephemeral tool_choice auto any tool none disable_parallel_tool_use budget_tokens enabled disabled "
    "adaptive output_config effort low high format json_schema task_budget context_management edits keep value all "
    "clear_thinking_20251015 speed fast standard inference_geo us thread defer_loading tool_reference tool_name "
    "web_search_20250305 citations signature encrypted_content user assistant usage input_tokens output_tokens "
    "cache_read_input_tokens cache_creation_input_tokens cache_creation ephemeral_5m_input_tokens "
    "ephemeral_1h_input_tokens output_tokens_details thinking_tokens server_tool_use web_search_requests service_tier "
    "batch iterations compaction advisor_message message fallback_message message_start message_delta error delta "
    "stop_reason end_turn uuid parentUuid timestamp sessionId agentId isSidechain requestId version cwd isMeta "
    "isCompactSummary forkedFrom subtype compact_boundary querySource api-request requestRef promptId "
    "resourceSpans scopeSpans spans attributes key intValue stringValue arrayValue values spanId traceId parentSpanId "
    "startTimeUnixNano endTimeUnixNano gen_ai.operation.name chat gen_ai.usage.input_tokens "
    "gen_ai.usage.output_tokens gen_ai.request.model scrimp_export exchange_id opened_at_ms usage_lines unit USD/MTok "
    "pico-USD/token models entries rows rates lane above_tokens geography from lanes prefixes aliases uncached_input "
    "cache_read cache_write_5m cache_write_1h output claude-opus-5 claude-sonnet-4-5 claude-haiku-4-5-20251001"
).split()
_NUMBERS = (0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**9, 10**9 + 1, 10**25, 0.5, -0.0, 1e15, 1e300)
_TEXTS = ("", " ", "\n", "\x00", "\u2028", "😀", "\ud800", "[1m]", "2026-01-31T00:00:00Z", "0001-01-01T00:00:00+23:00")
_OPENING = (
    "x-anthropic-billing-header: cch=1; ",
    "Current time: 12:01:33\n",
    "<command-name>/review</command-name>",
    "<system-reminder>",
    "<command-",
    "</system-reminder>",
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB",
)

Node = dict[str, Any] | list[Any]


def mutate_json(data: bytes, dice: random.Random) -> bytes | None:
    """Return an input with its JSON changed in one to four places; None where its text is no JSON."""
    text = data[CONTROL_BYTES:]
    lines = text.split(b"\n") if b"\n" in text.strip() else [text]
    at = dice.randrange(len(lines))
    start = max(0, lines[at].find(b"{"))
    try:
        tree = json.loads(lines[at][start:])
    except (ValueError, RecursionError):
        return None
    whole = [tree]
    for _ in range(dice.randint(1, 4)):
        _change(whole, dice)
    written = json.dumps(whole[0], ensure_ascii=dice.random() < 0.5, separators=(",", ":"))
    lines[at] = lines[at][:start] + written.encode("utf-8", "surrogatepass")
    return data[:CONTROL_BYTES] + b"\n".join(lines)


def _holders(node: Any) -> list[Node]:
    """Return every object and list in a tree."""
    found: list[Node] = []
    left = [node]
    while left:
        each = left.pop()
        if isinstance(each, dict | list):
            found.append(each)
            left += each.values() if isinstance(each, dict) else each
    return found


def _value(dice: random.Random) -> Any:
    make: tuple[Callable[[], Any], ...] = (
        lambda: dice.choice(_NUMBERS),
        lambda: dice.choice(WORDS),
        lambda: dice.choice(_TEXTS) + dice.choice(_OPENING) * dice.randint(0, 2),
        lambda: dice.choice((None, True, False)),
        lambda: dice.choice(([], {}, [[]], [{}], {"type": dice.choice(WORDS)})),
        lambda: {dice.choice(WORDS): dice.choice(WORDS)},
    )
    return dice.choice(make)()


def _change(whole: list[Any], dice: random.Random) -> None:
    """Change one place of a tree: another value, a copy of one, one less, one more, or one moved."""
    holder = dice.choice(_holders(whole))
    keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    kind = dice.randrange(5)
    if kind == 0 or not keys:
        _add(holder, _value(dice), dice)
        return
    key = dice.choice(keys)
    if kind == 1:
        holder[key] = _value(dice)
    elif kind == 2:
        _add(holder, json.loads(json.dumps(holder[key])), dice)
    elif kind == 3 and holder is not whole:
        del holder[key]
    else:
        other = dice.choice(keys)
        holder[key], holder[other] = holder[other], holder[key]


def _add(holder: Node, value: Any, dice: random.Random) -> None:
    if isinstance(holder, dict):
        holder[dice.choice(WORDS)] = value
    else:
        holder.insert(dice.randint(0, len(holder)), value)


def repeat_part(data: bytes, dice: random.Random) -> bytes:
    """Return an input that asks for one part of its text, from one comma, brace or space to another, to be repeated."""
    text = data[CONTROL_BYTES:].replace(REPEATED, b"")
    cuts = [at for at, byte in enumerate(text) if byte in b',[] {}"\n:'] or [0]
    first = dice.choice(cuts)
    near = [at for at in cuts if first < at <= first + 60] or [min(len(text), first + 1)]
    last = dice.choice(near)
    control = bytes([dice.randint(6, 20)]) + data[1:CONTROL_BYTES].ljust(CONTROL_BYTES - 1, b"\0")
    return control + text[:first] + REPEATED + text[first:last] + REPEATED + text[last:]
