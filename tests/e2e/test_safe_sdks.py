"""The SDKs in a tool loop through the gateway in safe mode: with marks of their own, with none, with automatic ones.

Requests and answers are the same direct and through the gateway, marks apart, and both bills are compared to the
nano-dollar.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.billed import Bills, ShiftedClock
from tests.e2e.scripts import Scripts

pytestmark = pytest.mark.clients

MODEL = "claude-opus-5-5"
PROMPT = "SCENARIO:loop12 look"
SYSTEM = "Read each file, then say what it is for. " * 400
MARK = {"cache_control": {"type": "ephemeral"}}
SHELL: Any = {
    "name": "Bash",
    "description": "Run a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}


def _own(messages: list[Any]) -> dict[str, Any]:
    """Mark the system prompt and the last block."""
    *before, last = messages
    *others, block = last["content"]
    marked = {**last, "content": [*others, {**block, **MARK}]}
    return {"system": [{"type": "text", "text": SYSTEM, **MARK}], "messages": [*before, marked]}


def _none(messages: list[Any]) -> dict[str, Any]:
    return {"system": SYSTEM, "messages": messages}


def _automatic(messages: list[Any]) -> dict[str, Any]:
    return {**_none(messages), **MARK}


#: Each way of marking a request.
MARKINGS: dict[str, Callable[[list[Any]], dict[str, Any]]] = {"own": _own, "none": _none, "automatic": _automatic}


@pytest.mark.parametrize("marking", MARKINGS)
def test_python(bills: Bills, marking: str) -> None:
    """The anthropic SDK for Python, which holds the conversation itself."""
    from anthropic import Anthropic

    def client(url: str, _clock: ShiftedClock) -> Any:
        messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
        with Anthropic(base_url=url, api_key="sk-ant-fake-sdk") as asking:
            while messages[-1]["role"] == "user":
                message = asking.messages.create(
                    model=MODEL, max_tokens=1000, tools=[SHELL], **MARKINGS[marking](messages)
                )
                content = message.model_dump(exclude_none=True)["content"]
                messages.append({"role": "assistant", "content": content})
                results = [_result(block) for block in content if block["type"] == "tool_use"]
                messages += [{"role": "user", "content": results}] if results else []
        return messages

    billed = bills.make()
    billed.run(client)
    billed.check()


def _result(use: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": use["id"], "content": f"{use['input']['command']} " * 200}


@pytest.mark.parametrize("marking", MARKINGS)
def test_typescript(bills: Bills, typescript: Scripts, marking: str) -> None:
    """The anthropic SDK for TypeScript, likewise."""
    billed = bills.make()
    billed.run(lambda url, _: typescript.run(url, "typescript.mjs", "loop", PROMPT, marking))
    billed.check()


#: Claude Code in the SDK marks its requests itself, unless it is told not to; automatic caching it does not have.
AGENT_MARKINGS = {"own": (), "none": ("DISABLE_PROMPT_CACHING=1",)}


@pytest.mark.parametrize("marking", AGENT_MARKINGS)
@pytest.mark.parametrize("way", ["query", "client"])
def test_agent_sdk(bills: Bills, python: Scripts, way: str, marking: str) -> None:
    """claude-agent-sdk with the Claude Code that it bundles, whose home is empty again in each run."""

    def client(url: str, _clock: ShiftedClock) -> Any:
        _forget(python.folder)
        told = python.run(url, "agent_sdk.py", way, *AGENT_MARKINGS[marking])
        results = [[each[name] for name in ("result", "is_error", "num_turns")] for each in told["results"]]
        return {"looked": told["looked"], "results": results}

    billed = bills.make()
    billed.run(client)
    billed.check()


def _forget(home: Path) -> None:
    """Empty what Claude Code keeps in its home."""
    shutil.rmtree(home / ".claude", ignore_errors=True)
    for file in home.glob(".claude.json*"):
        file.unlink()
