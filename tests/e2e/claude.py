"""Claude Code as the tests run it: headless, in a home and a folder of its own, with a fake key."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import total

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).with_name("package.json")
_PINS: dict[str, str] = json.loads(PACKAGE.read_text(encoding="utf-8"))["dependencies"]
#: The versions that package.json pins and `make check-clients` installs: the newest, and what Node 18 and 20 get.
VERSION = _PINS["@anthropic-ai/claude-code"]
VERSIONS = (VERSION, *(pin.rpartition("@")[2] for name, pin in _PINS.items() if name.startswith("claude-code-")))
KEY = "sk-ant-fake-claude-code"
#: Longer than any run here takes by far; a client that hangs must not hang the suite.
TIMEOUT_SECONDS = 50
#: Claude Code adds its cost up in floats.
ROUNDING_USD = 1e-9
HEADLESS = ("--output-format", "json", "--dangerously-skip-permissions")


@dataclass(frozen=True)
class ClaudeCode:
    """One installation, home and working folder."""

    version: str
    program: str
    home: Path
    folder: Path

    @classmethod
    def within(cls, version: str, program: str, folder: Path) -> Self:
        """Return one whose home and working folder are made within a folder."""
        (folder / "home").mkdir(exist_ok=True)
        (folder / "folder").mkdir()
        return cls(version, program, folder / "home", folder / "folder")

    def environment(self, url: str, **more: str) -> dict[str, str]:
        """Return the whole environment: nothing of the developer's own, and no traffic but the messages."""
        return {
            "PATH": f"{Path(self.program).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "IS_SANDBOX": "1",
            "NO_PROXY": "127.0.0.1",
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            **more,
        }

    def start(self, url: str, prompt: str, *flags: str, **more: str) -> subprocess.Popen[str]:
        """Start one headless run that tells the gateway what each request is for."""
        return subprocess.Popen(
            (self.program, "-p", prompt, *HEADLESS, *flags),
            env=self.environment(url, CLAUDE_CODE_GATEWAY_HINT_HEADERS="1", **more),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, url: str, prompt: str, *flags: str, **more: str) -> tuple[int, dict[str, Any]]:
        """Run to the end; return the exit code and the object that it printed."""
        return finish(self.start(url, prompt, *flags, **more))


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    """Wait for a run to end; return the exit code and the object that it printed."""
    with process:
        try:
            printed, said = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
    assert printed, said
    told: dict[str, Any] = json.loads(printed)
    return process.returncode, told


def blocks(body: bytes, kind: str) -> list[dict[str, Any]]:
    """Return the blocks of one type in the messages of a request."""
    contents = [message["content"] for message in json.loads(body)["messages"]]
    return [block for content in contents if isinstance(content, list) for block in content if block["type"] == kind]


def expect_same_bill(told: dict[str, Any], exchanges: list[Exchange]) -> None:
    """Compare what Claude Code says it used and cost, of all models, with the ledger."""
    used = total(exchange.usage for exchange in exchanges if exchange.usage)
    cost_nano_usd = sum(exchange.cost_nano_usd or 0 for exchange in exchanges)
    models = told["modelUsage"]
    counts = {
        "inputTokens": used.uncached_input_tokens,
        "cacheReadInputTokens": used.cache_read_input_tokens,
        "cacheCreationInputTokens": used.cache_write_5m_input_tokens + used.cache_write_1h_input_tokens,
        "cacheCreationEphemeral5mInputTokens": used.cache_write_5m_input_tokens,
        "cacheCreationEphemeral1hInputTokens": used.cache_write_1h_input_tokens,
        "outputTokens": used.output_tokens,
    }

    assert {exchange.served_model for exchange in exchanges} == {name.removesuffix("[1m]") for name in models}
    assert cost_nano_usd / 1e9 == pytest.approx(told["total_cost_usd"], abs=ROUNDING_USD)
    for model in models.values():  # 2.1.197 does not tell the two kinds of writes apart
        assert {"inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "outputTokens"} <= set(model)
    shown = [name for name in counts if all(name in model for model in models.values())]
    assert {name: counts[name] for name in shown} == {
        name: sum(model[name] for model in models.values()) for name in shown
    }
