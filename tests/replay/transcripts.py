"""Small transcripts of Claude Code, made row by row: what the tests of replay read in place of real sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scrimp.core.belief.exchange import Exchange
from scrimp.replay.branching import steps_of
from scrimp.replay.steps import Step
from scrimp.replay.traces import claude_code
from scrimp.replay.traces.claude_history import Link, by_message, read_links
from scrimp.replay.traces.trace import Source

T0_MS = 1_795_600_800_000


class Transcript:
    """Rows of one session, each after the last one; times are in seconds from the beginning."""

    def __init__(self, session: str = "s1", version: str = "2.1.20", model: str = "claude-opus-4-5-20251101") -> None:
        self.session = session
        self.version = version
        self.model = model
        self.rows: list[dict[str, Any]] = []
        self.last: str | None = None

    def _add(self, kind: str, second: float, **more: Any) -> str:
        uuid = f"{self.session}-{len(self.rows)}"
        moment = datetime.fromtimestamp(T0_MS / 1000 + second, UTC).isoformat()
        row = {"type": kind, "uuid": uuid, "parentUuid": self.last, "timestamp": moment}
        self.rows.append(row | {"sessionId": self.session, "version": self.version, "cwd": "shop"} | more)
        self.last = uuid
        return uuid

    def kept_under(self, folder: Path) -> Path:
        """Write the session as Claude Code keeps it, in a project's folder below; return the folder of the projects."""
        project = folder / "projects" / "shop"
        project.mkdir(parents=True)
        (project / "s1.jsonl").write_bytes(self.source().data)
        return project.parent

    def user(self, second: float, content: Any, **more: Any) -> str:
        """Add a prompt, or any other row of the user's."""
        return self._add("user", second, message={"role": "user", "content": content}, **more)

    def result(self, second: float, text: str = "done", **more: Any) -> str:
        """Add a tool's result."""
        return self.user(second, [{"type": "tool_result", "tool_use_id": "t", "content": text}], **more)

    def system(self, second: float, subtype: str, **more: Any) -> str:
        """Add a note of the client."""
        return self._add("system", second, subtype=subtype, **more)

    def made_up(self, second: float, text: str) -> str:
        """Add an answer that the client made up itself."""
        message = {"id": "made-up", "model": "<synthetic>", "content": [{"type": "text", "text": text}]}
        return self._add("assistant", second, message=message)

    def answer(
        self, second: float, name: str, total: int, *, read: int = 0, tail: int = 3, ttl: str = "5m", **more: Any
    ) -> str:
        """Add an answer to a prompt of `total` tokens, `tail` of them behind the last mark, in one row a block."""
        written = total - tail - read
        usage = {
            "input_tokens": tail,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "cache_creation": {f"ephemeral_{ttl}_input_tokens": written},
            "output_tokens": 10,
        }
        blocks = more.pop("blocks", [("thinking", None), ("tool_use", "Read")])
        whole = more.pop("whole", False)
        made = [_block(kind, tool) for kind, tool in blocks]
        message = {"id": name, "role": "assistant", "model": more.pop("model", self.model), "usage": usage}
        for content in [made] if whole else [[block] for block in made]:
            self._add("assistant", second, message=message | {"content": content}, **more)
        return self.last or ""

    def source(self, path: str | None = None) -> Source:
        """Return the session's file."""
        data = b"".join(json.dumps(row).encode() + b"\n" for row in self.rows)
        return Source(path or f"shop/{self.session}.jsonl", data)

    def links(self) -> Mapping[str, Link]:
        """Return the links by message id."""
        return by_message(read_links(self.source()))

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges in the order of opening."""
        return sorted(claude_code.read(self.source()).exchanges, key=lambda exchange: exchange.opened_at_ms)

    def steps(self) -> list[Step]:
        """Return the steps of the one account."""
        (steps,) = steps_of(self.exchanges(), self.links()).values()
        return steps


def _block(kind: str, tool: str | None) -> dict[str, Any]:
    return {"type": kind, kind: "..."} if tool is None else {"type": kind, "id": "t", "name": tool, "input": {}}


def paused_for(seconds: int) -> Transcript:
    """Return a session with one pause."""
    session = Transcript()
    session.user(0, "hi")
    session.answer(1, "m1", 10_000, blocks=[("text", None)])
    session.user(seconds, "go on")
    session.answer(seconds + 1, "m2", 11_000, blocks=[("text", None)])
    return session
