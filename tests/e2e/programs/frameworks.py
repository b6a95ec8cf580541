"""langchain-anthropic, pydantic-ai and litellm as clients: prints the text that one of them made of an answer.

Arguments: which one, and `create`, `stream` or `tools`. The tool takes a place and says that it looked at it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

MODEL = "claude-opus-5-5"
SYSTEM = "You look at places. " * 700
LOOKED: list[str] = []


def look(place: str) -> str:
    """Look at a place."""
    LOOKED.append(place)
    return f"looked at {place}"


def langchain(what: str, prompt: str) -> str:
    """Ask with langchain-anthropic; the loop over its tools is the caller's."""
    from langchain_anthropic import ChatAnthropic  # type: ignore[import-not-found]  # as in agent_sdk.py

    model = ChatAnthropic(model=MODEL, max_tokens=1000)
    marked = {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}
    messages: list[Any] = [("system", [marked]), ("human", prompt)]
    if what == "create":
        return str(model.invoke(messages).text)
    if what == "stream":
        return "".join(str(piece.text) for piece in model.stream(messages))
    bound = model.bind_tools([look])
    while (answer := bound.invoke(messages)).tool_calls:
        results = [("tool", {"tool_call_id": use["id"], "content": look(**use["args"])}) for use in answer.tool_calls]
        messages += [answer, *({"role": role, **result} for role, result in results)]
    return str(answer.text)


def pydantic_ai(what: str, prompt: str) -> str:
    """Ask with pydantic-ai, which runs the loop itself."""
    from pydantic_ai import Agent  # type: ignore[import-not-found]  # as in agent_sdk.py

    settings = {"max_tokens": 1000, "anthropic_cache_instructions": True}
    agent = Agent(f"anthropic:{MODEL}", instructions=SYSTEM, tools=[look] if what == "tools" else [])
    if what == "stream":
        with agent.run_stream_sync(prompt, model_settings=settings) as streamed:
            return "".join(streamed.stream_text(delta=True))
    return str(agent.run_sync(prompt, model_settings=settings).output)


def litellm(what: str, prompt: str) -> str:
    """Ask with litellm, in the form of another API; the loop over its tools is the caller's."""
    from litellm import completion  # type: ignore[import-not-found]  # as in agent_sdk.py

    marked = {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}
    messages: list[Any] = [{"role": "system", "content": [marked]}, {"role": "user", "content": prompt}]
    asked = {"model": f"anthropic/{MODEL}", "max_tokens": 1000, "messages": messages}
    asked["api_base"] = os.environ["ANTHROPIC_BASE_URL"]
    if what == "stream":
        return "".join(piece.choices[0].delta.content or "" for piece in completion(stream=True, **asked))
    schema = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
    described = {"name": "look", "description": "Look at a place.", "parameters": schema}
    tools = {"tools": [{"type": "function", "function": described}]} if what == "tools" else {}
    while (answer := completion(**asked, **tools).choices[0].message).tool_calls:
        results = [(use.id, look(**json.loads(use.function.arguments))) for use in answer.tool_calls]
        messages += [answer, *({"role": "tool", "tool_call_id": id_, "content": result} for id_, result in results)]
    return str(answer.content)


ASK = {"langchain": langchain, "pydantic-ai": pydantic_ai, "litellm": litellm}
framework, way = sys.argv[1:]
text = ASK[framework](way, "SCENARIO:loop2 look" if way == "tools" else "SCENARIO:hello Grüße, 你好")
print(json.dumps({"text": text, "looked": LOOKED}))
