"""Claude Code as the tests run it: headless, in a home and a folder of its own, with a fake key."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).with_name("package.json")
#: The version that package.json pins and `make check-clients` installs.
VERSION: str = json.loads(PACKAGE.read_text(encoding="utf-8"))["dependencies"]["@anthropic-ai/claude-code"]
KEY = "sk-ant-fake-claude-code"
#: Longer than any run here takes by far; a client that hangs must not hang the suite.
TIMEOUT_SECONDS = 50
HEADLESS = ("--output-format", "json", "--dangerously-skip-permissions")


@dataclass(frozen=True)
class ClaudeCode:
    """One installation, home and working folder."""

    program: str
    home: Path
    folder: Path

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
    try:
        printed, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()
    told: dict[str, Any] = json.loads(printed)
    return process.returncode, told


def blocks(body: bytes, kind: str) -> list[dict[str, Any]]:
    """Return the blocks of one type in the messages of a request."""
    contents = [message["content"] for message in json.loads(body)["messages"]]
    return [block for content in contents if isinstance(content, list) for block in content if block["type"] == kind]
