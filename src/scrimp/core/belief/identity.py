"""Whose request is this: principal, session, agent and what the client says of its work.

Read from Claude Code's headers and metadata and from our own `scrimp-*` headers (facts on clients, section 2.2).
A principal is a digest of the credential, so that sessions and beliefs never cross from one key to another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from scrimp.core.wire.labels import clip
from scrimp.core.wire.surrogates import UNREADABLE

_PRINCIPAL_BYTES = 12
_OLD_USER_ID = re.compile(r"_session_([0-9a-fA-F-]{8,64})$")
_PRODUCT = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.+-]+)?(?: \d[\w.]*)?")


class Identity(msgspec.Struct, frozen=True):
    """Who sent a request, as far as it says; None means it does not."""

    principal: str
    session_id: str | None = None
    agent_id: str | None = None
    parent_agent_id: str | None = None
    agent_type: str | None = None
    request_class: str | None = None
    prompt_id: str | None = None
    client: str | None = None
    task_tag: str | None = None
    tenant: str | None = None


class _UserId(msgspec.Struct, frozen=True):
    """Claude Code's device, account and session, plus what CLAUDE_CODE_EXTRA_METADATA merged in."""

    session_id: str | None = None
    tenant: str | None = None
    team: str | None = None


def principal_of(headers: Mapping[str, str]) -> str:
    """Return a digest of the credential in `x-api-key` or `Authorization`; "anonymous" where there is none."""
    credential = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not credential:
        return "anonymous"
    return blake2b(credential.encode("utf-8", "surrogateescape"), digest_size=_PRINCIPAL_BYTES).hexdigest()


def _read_user_id(user_id: str | None) -> _UserId:
    """Read Claude Code's `metadata.user_id`: a JSON object in a string, or the older form with a suffix."""
    if not user_id:
        return _UserId()
    try:
        return msgspec.json.decode(user_id.encode("utf-8", "replace"), type=_UserId)
    except UNREADABLE:
        found = _OLD_USER_ID.search(user_id)
        return _UserId(session_id=found.group(1)) if found else _UserId()


def client_of(user_agent: str | None) -> str | None:
    """Return the product of a User-Agent with its version: "claude-cli/2.1.330", "Anthropic/Python 2.12.0"."""
    found = _PRODUCT.match(user_agent or "")
    return clip(found.group()) if found else None


def _request_class(headers: Mapping[str, str], agent_id: str | None) -> str | None:
    stated = headers.get("x-claude-code-request-class")
    if stated:
        return clip(stated)
    if agent_id:
        return "subagent"
    return "main" if "x-claude-code-session-id" in headers else None


def identify(headers: Mapping[str, str], user_id: str | None) -> Identity:
    """Read who sent a request from its headers (lower-case names) and its `metadata.user_id`."""

    def label(name: str) -> str | None:
        return clip(headers.get(name)) or None

    agent_id = label("x-claude-code-agent-id")
    user = _read_user_id(user_id)
    session_id = label("scrimp-session") or label("x-claude-code-session-id") or clip(user.session_id)
    return Identity(
        principal=principal_of(headers),
        session_id=session_id,
        agent_id=agent_id,
        parent_agent_id=label("x-claude-code-parent-agent-id"),
        agent_type=label("x-claude-code-agent-type"),
        request_class=_request_class(headers, agent_id),
        prompt_id=label("x-claude-code-prompt-id"),
        client=client_of(headers.get("user-agent")),
        task_tag=label("scrimp-task"),
        tenant=clip(user.tenant or user.team),
    )
