"""Claude Code through the gateway in safe mode: never dearer than direct, and its requests stay valid.

Both runs begin in the same empty home and folder, so that the client sends the same prompts; ids and durations, and the
order in which parallel work ends, are all that differs (`billed.bare`).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.billed import PACED, Bills, Client, Options, ShiftedClock, beside
from tests.e2e.claude import ClaudeCode

pytestmark = pytest.mark.clients

MINUTE_MS = 60_000
#: An agent of one's own with a prompt of some 45,000 tokens.
_RULES = " ".join(f"Rule {number} says to be kind to number {number}." for number in range(2_500))
_HOUSE = json.dumps({"general-purpose": {"description": "Helps.", "prompt": f"The rules of this house: {_RULES}"}})


@dataclass(frozen=True)
class Scenario:
    """Prompts of one session, each in a process of its own, and the time that passes between two of them."""

    prompts: tuple[str, ...]
    flags: tuple[str, ...] = ()
    pause_ms: int = 0
    options: Options = field(default_factory=Options)

    def client(self, claude_code: ClaudeCode) -> Client:
        """Return the client that plays it from the beginning each time."""

        def play(url: str, clock: ShiftedClock) -> Any:
            for folder in (claude_code.home, claude_code.folder):
                shutil.rmtree(folder)
                folder.mkdir()
            told = []
            for at, prompt in enumerate(self.prompts):
                clock.advance_ms(self.pause_ms if at else 0)
                code, printed = claude_code.run(url, prompt, *self.flags, *(["--continue"] if at else []))
                told.append((code, printed["is_error"], printed["num_turns"], printed["result"]))
            return told

        return play


_RESUMED = ("SCENARIO:loop5 look", "SCENARIO:loop3 look again", "SCENARIO:loop3 look again")
SCENARIOS = {
    "thirty turns": Scenario(("SCENARIO:long30 look",)),
    "resumed at once": Scenario(_RESUMED),
    "resumed after 2 minutes": Scenario(_RESUMED, pause_ms=2 * MINUTE_MS, options={"gateway": beside}),
    "resumed after 9 minutes": Scenario(_RESUMED, pause_ms=9 * MINUTE_MS, options={"gateway": beside}),
    "4 tools at once": Scenario(("SCENARIO:loop2 look", "SCENARIO:para4 look", "SCENARIO:loop2 look again")),
    "15 tools at once": Scenario(("SCENARIO:loop2 look", "SCENARIO:para15 look", "SCENARIO:loop2 look again")),
}
#: Longer than a cache is held that nobody may come back to.
GIVEN_UP = Scenario(_RESUMED, pause_ms=70 * MINUTE_MS, options={"gateway": beside})
#: Without a shell, or with nothing else, Agent is the tool that the simulated model uses.
FAN_OUTS = {
    "3 agents": Scenario(("SCENARIO:para3 ask somebody",), ("--disallowedTools", "Bash"), options=PACED),
    "6 agents": Scenario(("SCENARIO:para6 ask somebody",), ("--tools", "Agent", "--agents", _HOUSE), options=PACED),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_session(bills: Bills, each_claude_code: ClaudeCode, name: str) -> None:
    """Loops, resumed sessions and parallel tools: the same requests and answers, and no higher a bill."""
    scenario, billed = SCENARIOS[name], bills.make()
    billed.run(scenario.client(each_claude_code), **scenario.options)
    billed.check()


def test_a_session_that_was_given_up(bills: Bills, each_claude_code: ClaudeCode) -> None:
    """Resumed long after its cache was held in vain: the bill is the direct one and the pings, within the guard."""
    billed = bills.make()
    billed.run(GIVEN_UP.client(each_claude_code), **GIVEN_UP.options)
    billed.check_gambled()


@pytest.mark.parametrize("name", FAN_OUTS)
def test_agents_at_once(bills: Bills, each_claude_code: ClaudeCode, name: str) -> None:
    """Several agents begin at once on one prefix: one writes it, and the others read it.

    How long each took stands in the last prompt, by which the simulator words its answer, and whether agents are told
    of together hangs on when they ended: so the agents' requests are compared, and of both bills which is lower.
    """
    scenario, billed = FAN_OUTS[name], bills.make()
    billed.run(scenario.client(each_claude_code), **scenario.options)
    billed.check_agents()


@pytest.mark.parametrize("name", SCENARIOS | FAN_OUTS)
def test_in_order(bills: Bills, claude_code: ClaudeCode, name: str) -> None:
    """The same with the order lever allowed: no higher a bill, and nothing refused."""
    scenario, billed = (SCENARIOS | FAN_OUTS)[name], bills.make()
    billed.run(scenario.client(claude_code), **(scenario.options | {"order": True}))
    billed.check_bills()
