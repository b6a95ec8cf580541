"""Who sent a request, from headers and metadata."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.identity import client_of, identify, principal_of
from scrimp.core.wire.labels import LABEL_CHARS_MAX


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80))
def test_both_auth_headers_name_one_principal(key: str) -> None:
    """Claude Code sends x-api-key, the SDK a bearer token; the key decides, and is not in the digest."""
    bearer, plain = principal_of({"authorization": f"Bearer {key}"}), principal_of({"x-api-key": key})

    assert bearer == plain
    assert plain != principal_of({"x-api-key": key + "x"})
    assert 24 == len(plain)


def test_no_credential_is_anonymous() -> None:
    """A local test server needs no key."""
    assert "anonymous" == principal_of({})
    assert "anonymous" == principal_of({"authorization": "Bearer "})


def test_claude_code_headers() -> None:
    """Session, agent and hints come from the client's own headers."""
    who = identify(
        {
            "x-claude-code-session-id": "s1",
            "x-claude-code-agent-id": "a1",
            "x-claude-code-parent-agent-id": "a0",
            "x-claude-code-agent-type": "Explore",
            "x-claude-code-prompt-id": "p1",
            "user-agent": "claude-cli/2.1.330 (external, sdk-cli)",
            "scrimp-task": "nightly review",
        },
        None,
    )

    assert ("s1", "a1", "a0", "Explore", "subagent", "p1", "claude-cli/2.1.330", "nightly review") == (
        who.session_id,
        who.agent_id,
        who.parent_agent_id,
        who.agent_type,
        who.request_class,
        who.prompt_id,
        who.client,
        who.task_tag,
    )


@pytest.mark.parametrize(
    ("user_id", "session", "tenant"),
    [
        (json.dumps({"device_id": "d", "account_uuid": "", "session_id": "s2"}), "s2", None),
        (json.dumps({"session_id": "s2", "team": "blue"}), "s2", "blue"),
        (
            "user_abc_account__session_0d9d0f52-1111-2222-3333-444455556666",
            "0d9d0f52-1111-2222-3333-444455556666",
            None,
        ),
        ("someone@example", None, None),
        ("{torn", None, None),
        ("[" * 100_000, None, None),
        ('{"session_id": 5}', None, None),
        ("\ud800", None, None),
        (None, None, None),
    ],
)
def test_metadata_user_id(user_id: str | None, session: str | None, tenant: str | None) -> None:
    """A JSON object in a string, the older suffix, or anything else."""
    who = identify({}, user_id)

    assert (session, tenant) == (who.session_id, who.tenant)


def test_our_own_header_wins() -> None:
    """An owner's session id is stronger than the client's."""
    assert "mine" == identify({"scrimp-session": "mine", "x-claude-code-session-id": "theirs"}, None).session_id


def test_main_is_only_said_where_the_client_has_agents() -> None:
    """A hint wins, a subagent is known by its id, and other clients say nothing."""
    assert "main" == identify({"x-claude-code-session-id": "s"}, None).request_class
    hinted = {"x-claude-code-session-id": "s", "x-claude-code-request-class": "compaction"}
    assert "compaction" == identify(hinted, None).request_class
    assert identify({}, None).request_class is None


def test_labels_are_bounded() -> None:
    """A header cannot grow the ledger."""
    task = identify({"scrimp-task": "x" * 10_000}, None).task_tag

    who = identify(
        {"x-claude-code-request-class": "y" * 10_000}, json.dumps({"session_id": "s" * 10_000, "team": "t" * 999})
    )

    assert [LABEL_CHARS_MAX] * 4 == [
        len(label or "") for label in (task, who.request_class, who.session_id, who.tenant)
    ]


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        (None, None),
        ("", None),
        ("(odd)", None),
        ("Anthropic/Python 2.12.0", "Anthropic/Python 2.12.0"),
        ("claude-cli/2.1.330 (external, cli)", "claude-cli/2.1.330"),
    ],
)
def test_client_of(agent: str | None, client: str | None) -> None:
    """The first product token, or nothing."""
    assert client == client_of(agent)
