"""Claude Code under each fault that a run can show: it does through the gateway what it does without it.

Each script is run twice, directly and through the gateway. The expected answers are those that Claude Code asked for
when it was left alone, retries and changed requests included (facts: measured on 2.1.330).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import source
from tests.e2e.claude import VERSION, ClaudeCode
from tests.e2e.source import Answer, Ending, Step, error, event, say, stream, text, tool_use
from tests.e2e.stand import Seen
from tests.e2e.twice import Trials

pytestmark = pytest.mark.clients

HALF = text("The first half.")
LOOK = tool_use("Bash", command="echo looked", description="Look")


def healthy(asked: Seen) -> Answer:
    """Answer with one use of the shell, then with text."""
    body = json.loads(asked.body)
    offered = {tool.get("name") for tool in body.get("tools", [])}
    used = b'"tool_result"' in asked.body or "Bash" not in offered
    return say(text("Done."))(asked) if used else say(text("I look."), LOOK)(asked)


def _broken(*content: dict[str, Any], keep: int, then: Sequence[bytes] = (), ending: Ending = Ending.CUT) -> Step:
    """Stream these blocks' first events and what comes `then`, and end so."""
    return stream(lambda events: [*events[:keep], *then], *content, ending=ending)


BIG = tool_use("Bash", command="head -c 25000 /dev/zero | tr '\\0' x", description="Print much")
TOO_LONG = "prompt is too long: 70000 tokens > 60000 maximum"
STREAM_ERROR = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
OVERLOADED = error(529, "overloaded_error", "Overloaded")
UNKNOWN_KEY = error(401, "authentication_error", "invalid x-api-key")
FAILED = error(500, "api_error", "Internal server error")


def _refused(words: str, times: int = 1) -> list[Step]:
    return [error(400, "invalid_request_error", words)] * times


@dataclass(frozen=True)
class Fault:
    """A script, the answers that the client comes to have, and what it is told at its start.

    * A `p` marks a request for a plain answer, not a stream.
    * `older` is what 2.1.197 has, where that is not the same.
    * `worded` is False where what the user is told cannot be the same: of a connection that was reset the gateway has
      to say something, and says it as a 502 with its own sentence. The requests are the same all the same.
    """

    script: Sequence[Step]
    answers: str
    older: str | None = None
    flags: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    worded: bool = True


GOOD = "200 200"
NINE = "200 200 200 200 200 200 200 200 200"
ONE_RETRY = {"CLAUDE_CODE_MAX_RETRIES": "1"}
FAULTS = {
    "429-retry-after": Fault([error(429, "rate_limit_error", "Slow down", retry_after="2")], f"429 {GOOD}"),
    "429-no-header": Fault([error(429, "rate_limit_error", "Slow down")], f"429 {GOOD}"),
    "500": Fault([FAILED], f"500 {GOOD}"),
    "500-for-good": Fault([FAILED] * 9, "500 500", environment=ONE_RETRY),
    "500-should-not-retry": Fault([error(500, "api_error", "No", x_should_retry="false")], "500"),
    "529-twice": Fault([OVERLOADED] * 2, f"529 529 {GOOD}"),
    "529-other-model": Fault([OVERLOADED] * 3, f"529 529 529 {GOOD}", flags=("--fallback-model", "sonnet")),
    "502-html": Fault([source.html(502)], f"502 {GOOD}"),
    "502-html-for-good": Fault([source.html(502)] * 9, "502 502", environment=ONE_RETRY),
    "401-once": Fault([UNKNOWN_KEY], f"401 {GOOD}"),
    "401-for-good": Fault([UNKNOWN_KEY] * 9, "401 401", environment=ONE_RETRY),
    "413": Fault([error(413, "request_too_large", "Request exceeds the maximum size")] * 9, "413"),
    "404-model": Fault([error(404, "not_found_error", "model: claude-nonesuch")] * 9, "404 404p"),
    "reset": Fault([source.nothing(Ending.RESET)], f"none {GOOD}"),
    "reset-for-good": Fault([source.nothing(Ending.RESET)] * 9, "none none", environment=ONE_RETRY, worded=False),
    "silent": Fault([source.nothing(Ending.SILENT)], f"none {GOOD}", environment={"API_TIMEOUT_MS": "3000"}),
    "400-once": Fault(_refused("Something is not right"), f"400 {GOOD}", "400"),
    "400-thrice": Fault(_refused("Something is not right", 3), f"400 400 400 {GOOD}", "400"),
    "400-beta": Fault(_refused("Unexpected value(s) for the `anthropic-beta` header"), f"400 {GOOD}", "400"),
    "400-field": Fault(_refused("context_management: Extra inputs are not permitted"), f"400 {GOOD}", "400"),
    "400-role": Fault(_refused("messages.1.role: Input should be 'user' or 'assistant'"), f"400 {GOOD}", "400"),
    "400-too-long": Fault(_refused(TOO_LONG), "400"),
    "400-too-long-compacted": Fault([say(BIG)] * 9 + _refused(TOO_LONG), f"{NINE} 400 {GOOD} {GOOD}", f"{NINE} 400"),
    "sse-error-first": Fault([_broken(HALF, keep=0, then=[STREAM_ERROR], ending=Ending.WHOLE)], f"200 {GOOD}"),
    "sse-error-mid-stream": Fault([_broken(HALF, keep=3, then=[STREAM_ERROR], ending=Ending.WHOLE)], "200 200p 200"),
    "cut-before-a-block": Fault([_broken(HALF, keep=3)], f"200 {GOOD}", "200 200p 200"),
    "eof-before-a-block": Fault([_broken(HALF, keep=3, ending=Ending.WHOLE)], f"200 {GOOD}", "200 200p 200"),
    "cut-after-a-block": Fault([_broken(HALF, LOOK, keep=6)], f"200 {GOOD}", "200"),
    "eof-after-a-block": Fault([_broken(HALF, LOOK, keep=6, ending=Ending.WHOLE)], f"200 {GOOD}", "200"),
    "cut-after-the-delta": Fault([_broken(HALF, LOOK, keep=8)], GOOD),
    "eof-after-the-delta": Fault([_broken(HALF, LOOK, keep=8, ending=Ending.WHOLE)], GOOD),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault(trials: Trials, each_claude_code: ClaudeCode, name: str) -> None:
    """Requests, their number, the printed result and the exit code are the same, and each request has its row."""
    fault = FAULTS[name]
    version, program = each_claude_code.version, each_claude_code.program

    def client(url: str, folder: Path) -> Any:
        claude_code = ClaudeCode.within(version, program, folder)
        code, told = claude_code.run(url, "look", *fault.flags, **fault.environment)
        return code, {key: told[key] for key in told if fault.worded and not key.endswith("_ms")}

    trial = trials.make(fault.script, healthy)
    trial.run(client)
    newest = version == VERSION or fault.older is None
    assert (fault.answers if newest else fault.older) == trial.asked()
