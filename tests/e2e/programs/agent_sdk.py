"""claude-agent-sdk: does what its first argument names, and prints what came of it as one JSON value.

More arguments are environment variables of its Claude Code, as NAME=value.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from claude_agent_sdk import (  # type: ignore[import-not-found]  # installed beside, by `make check-clients`
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ResultMessage,
    create_sdk_mcp_server,
    query,
    tool,
)

LOOKED: list[str] = []
MORE = dict(argument.split("=", 1) for argument in sys.argv[2:])


async def _look(given: dict[str, Any]) -> dict[str, Any]:
    LOOKED.append(given["place"])
    return {"content": [{"type": "text", "text": f"looked at {given['place']}"}]}


def _own_tool() -> Any:
    """Return options with one tool of our own and no other."""
    look = tool("look", "Look at a place.", {"place": str})(_look)
    return ClaudeAgentOptions(
        system_prompt="You look at places.",
        tools=[],
        mcp_servers={"own": create_sdk_mcp_server("own", tools=[look])},
        allowed_tools=["mcp__own__look"],
        setting_sources=[],
        env={"ENABLE_TOOL_SEARCH": "false", **MORE},
    )


async def _query() -> list[Any]:
    options = ClaudeAgentOptions(permission_mode="bypassPermissions", setting_sources=[], env=MORE)
    return [message async for message in query(prompt="SCENARIO:loop2 look", options=options)]


async def _client() -> list[Any]:
    messages = []
    async with ClaudeSDKClient(options=_own_tool()) as client:
        for prompt in ("SCENARIO:loop2 look", "SCENARIO:loop1 look again"):
            await client.query(prompt)
            messages += [message async for message in client.receive_response()]
    return messages


async def _main() -> None:
    messages = await {"query": _query, "client": _client}[sys.argv[1]]()
    results = [asdict(message) for message in messages if isinstance(message, ResultMessage)]
    print(json.dumps({"looked": LOOKED, "results": results}, default=str))


asyncio.run(_main())
