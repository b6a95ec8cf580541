"""Clients that live in environments of their own: each is a script of `programs/` that prints one JSON value."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.claude import PACKAGE, ROOT, TIMEOUT_SECONDS

CLIENTS = ROOT / ".clients"
NODE_MODULES = CLIENTS / "node_modules"
#: Stands beside the environment's `bin` once everything is in it.
PYTHON_READY = CLIENTS / "python" / ".ready"
PROGRAMS = Path(__file__).with_name("programs")
KEY = "sk-ant-fake-script"


@dataclass(frozen=True)
class Scripts:
    """An interpreter, and the folder that its scripts are copied into and run in."""

    interpreter: str
    folder: Path

    def run(self, url: str, script: str, *arguments: str) -> Any:
        """Run a script against a base URL; return what it printed, or fail with what it said of its failure."""
        copied = shutil.copy(PROGRAMS / script, self.folder)
        done = subprocess.run(
            (self.interpreter, copied, *arguments),
            env=self._environment(url),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        assert 0 == done.returncode, done.stderr[-4000:]
        return json.loads(done.stdout)

    def _environment(self, url: str) -> dict[str, str]:
        """Return the whole environment: nothing of the developer's own, and no traffic but the messages."""
        return {
            "PATH": f"{Path(self.interpreter).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "IS_SANDBOX": "1",
            "NO_PROXY": "127.0.0.1",
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "LANGSMITH_TRACING": "false",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }


def pinned_versions() -> dict[str, str]:
    """Return the clients that are pinned by hand, in tests/e2e/package.json and requirements/clients.in."""
    npm: dict[str, str] = json.loads(PACKAGE.read_text(encoding="utf-8"))["dependencies"]
    asked = (ROOT / "requirements" / "clients.in").read_text(encoding="utf-8")
    python = dict(re.findall(r"^([\w.-]+(?:\[\w+\])?)==([\w.]+)$", asked, re.MULTILINE))
    return {**{name: pin.rpartition("@")[2] for name, pin in npm.items()}, **python}
