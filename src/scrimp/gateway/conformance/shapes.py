"""Requests as the clients write them: Claude Code and the SDKs, with words of our own."""

from __future__ import annotations

import json
from typing import Any

from scrimp.gateway.conformance.samples import JSON_TYPE
from scrimp.gateway.conformance.trial import PROBE, Request
from scrimp.gateway.conformance.wire import Headers

#: What Claude Code says with each request; the last value is of no beta that exists.
CLAUDE_CODE_BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01,advanced-tool-use-2025-11-20,"
    "effort-2025-11-24,extended-cache-ttl-2025-04-11,dangerous-tool-use-2026-09-03,conformance-beta-2099-01-01"
)
CLAUDE_CODE_HEADERS: Headers = (
    ("accept", "application/json"),
    JSON_TYPE,
    ("user-agent", "claude-cli/2.1.330 (external, sdk-cli)"),
    ("x-claude-code-session-id", "00000000-0000-4000-8000-000000000001"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-lang", "js"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-package-version", "0.128.0"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-runtime", "node"),
    ("x-stainless-runtime-version", "v24.3.0"),
    ("x-stainless-timeout", "600"),
    ("anthropic-beta", CLAUDE_CODE_BETAS),
    ("anthropic-dangerous-direct-browser-access", "true"),
    ("anthropic-version", "2023-06-01"),
    ("x-app", "cli"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
)
SDK_HEADERS: Headers = (
    ("accept", "application/json"),
    JSON_TYPE,
    ("user-agent", "Anthropic/Python 2.12.0"),
    ("anthropic-version", "2026-10-21"),
    ("x-stainless-lang", "python"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-timeout", "600"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
)
_5M, _1H = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}


def compact(value: Any) -> bytes:
    """Return JSON as the clients write it: no spaces, no escapes beyond the needed ones."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def plain(model: str, **changes: Any) -> dict[str, Any]:
    """Return the smallest request of an SDK; `changes` go over it."""
    message = {"role": "user", "content": f"Say hello. {PROBE}"}
    return {"max_tokens": 64, "messages": [message], "model": model, **changes}


def plain_request(model: str, headers: Headers = SDK_HEADERS, **changes: Any) -> Request:
    """Return `plain` as a request."""
    return Request(compact(plain(model, **changes)), headers)


def _tools() -> list[dict[str, Any]]:
    schema = {"type": "object", "properties": {"path": {"type": "string"}, "depth": {"type": "number", "default": 1.0}}}
    return [
        {"name": "Look", "description": "Look at a file — “whole”.", "input_schema": {"required": ["path"], **schema}},
        {"name": "Later", "description": "Not yet.", "input_schema": schema, "defer_loading": True},
    ]


def turns() -> list[dict[str, Any]]:
    """Return a conversation of an agent: thinking, a tool, its result, a system message, a moving breakpoint."""
    return [
        {"role": "user", "content": [{"type": "text", "text": f"What is in the file? {PROBE}"}]},
        {"role": "system", "content": "A note in the middle.", "output_config": {"effort": "medium"}},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I look.", "signature": "EqQBCkYIARgCKkA="},
                {"type": "tool_use", "id": "toolu_01A", "name": "Look", "input": {"path": "a/b.txt", "depth": 2.0}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_01A",
                    "content": [{"type": "text", "text": "line 1\nline 2\té中😀"}],
                    "is_error": False,
                    "cache_control": _5M,
                }
            ],
        },
    ]


def claude_code(model: str) -> dict[str, Any]:
    """Return a request in the shape of Claude Code 2.1.330, its keys in its order."""
    return {
        "model": model,
        "messages": turns(),
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=sdk-cli;"},
            {"type": "text", "text": "You look at files.", "cache_control": _1H},
            {"type": "text", "text": "Be brief & <exact>.", "cache_control": _1H},
        ],
        "tools": _tools(),
        "metadata": {"user_id": '{"device_id":"0","account_uuid":"","session_id":"1"}'},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "stream": False,
    }


def claude_code_request(model: str) -> Request:
    """Return `claude_code` as a request, its query as Claude Code sends it."""
    return Request(compact(claude_code(model)), CLAUDE_CODE_HEADERS, target="/v1/messages?beta=true")
