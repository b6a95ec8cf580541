"""Breaks injected into what Claude Code really sends: cause, block, byte and price, as in `tests.simulation`."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.e2e.claude import ClaudeCode
from tests.e2e.stand import Seen, Stands
from tests.simulation.breaks import CHANGES, FILLER, MARK, SYSTEM
from tests.simulation.injection import MINUTE_MS, check, explained, invoice

pytestmark = pytest.mark.clients

#: Each kind is injected so often, at other places.
SEEDS = 6
#: What a plain request may not hold without a beta header, and what says nothing about the cache.
_BETA_FIELDS = ("context_management", "diagnostics")


def _plain(seen: Seen) -> dict[str, Any]:
    """Return a recorded body with contents as lists and deferred tools last, and what kinds of breaks need planted."""
    body: dict[str, Any] = json.loads(seen.body)
    for message in body["messages"]:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        for block in message["content"]:
            if block["type"] == "tool_result":
                block["content"] = f"{block['content']} {FILLER[:500]}"
    body["tools"].sort(key=lambda tool: bool(tool.get("defer_loading")))
    body["system"][-1]["text"] = f"{SYSTEM}{body['system'][-1]['text']}"
    return {name: value for name, value in body.items() if name not in _BETA_FIELDS}


def test_breaks_in_recorded_traffic(stands: Stands, claude_code: ClaudeCode) -> None:
    """Every kind of change, and a lifetime that is over, in two requests of one recorded loop."""
    with stands.make() as stand:
        claude_code.run(stand.url, "SCENARIO:loop3 look")
    *_, before, after = [_plain(seen) for seen in stand.messages()]
    assert before["messages"][-1]["content"][-1].get("cache_control") == MARK
    for kind in CHANGES:
        if kind.cause == "effort":  # its messages say their own effort, so that another one breaks nothing
            assert explained(before, after | {"output_config": {"effort": "max"}}, MINUTE_MS) is None
            continue
        for seed in range(SEEDS):
            check(kind, seed, copy.deepcopy(before), copy.deepcopy(after))
    found = explained(before, after, 6 * MINUTE_MS)
    unbroken = invoice([(before, 0), (after, MINUTE_MS)])
    assert found is not None
    assert ("ttl_expired", invoice([(before, 0), (after, 6 * MINUTE_MS)]) - unbroken) == (
        found.cause,
        found.cost_nano_usd,
    )
