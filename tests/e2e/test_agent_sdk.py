"""claude-agent-sdk with the Claude Code it bundles, through gateway and simulator: the bytes and the bill."""

from __future__ import annotations

import pytest

from scrimp.core.belief.exchange import Exchange
from tests.e2e.claude import expect_same_bill
from tests.e2e.scripts import KEY, Scripts
from tests.e2e.stand import Stand, Stands

pytestmark = pytest.mark.clients


def _checked(stand: Stand) -> list[Exchange]:
    """Check bytes and bills, and that the client's own headers arrived; return the exchanges."""
    arrived = [dict(seen.headers) for seen in stand.back.seen if seen.method == "POST"]
    assert {("2023-06-01", KEY)} == {(headers["anthropic-version"], headers["x-api-key"]) for headers in arrived}
    assert {True} == {"agent-sdk/0.2.187" in headers["user-agent"] for headers in arrived}
    return stand.checked()


def test_query(stands: Stands, python: Scripts) -> None:
    """`query` runs Claude Code's own loop, and names the bill of the ledger."""
    with stands.make() as stand:
        (told,) = python.run(stand.url, "agent_sdk.py", "query")["results"]
    exchanges = _checked(stand)

    assert (False, 3) == (told["is_error"], told["num_turns"])
    assert ["tool_use"] * 2 + ["end_turn"] == [exchange.stop_reason for exchange in exchanges]
    assert {told["session_id"]} == {exchange.session_id for exchange in exchanges}
    expect_same_bill({**told, "modelUsage": told["model_usage"]}, exchanges)


def test_a_client_with_its_own_tool(stands: Stands, python: Scripts) -> None:
    """Two prompts in one session use a tool that runs in the caller's process; the second adds to the bill."""
    with stands.make() as stand:
        told = python.run(stand.url, "agent_sdk.py", "client")
    exchanges = _checked(stand)
    first, second = told["results"]

    assert ["step-1", "step-2", "step-1"] == told["looked"]
    assert (False, False) == (first["is_error"], second["is_error"])
    assert ["tool_use", "tool_use", "end_turn", "tool_use", "end_turn"] == [each.stop_reason for each in exchanges]
    assert {second["session_id"]} == {exchange.session_id for exchange in exchanges}
    expect_same_bill({**second, "modelUsage": second["model_usage"]}, exchanges)
