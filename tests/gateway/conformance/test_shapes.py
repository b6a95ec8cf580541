"""Requests as the clients write them."""

from __future__ import annotations

import json

from scrimp.gateway.conformance.shapes import (
    CLAUDE_CODE_BETAS,
    claude_code,
    claude_code_request,
    compact,
    plain,
    plain_request,
)
from scrimp.gateway.conformance.trial import PROBE


def test_claude_codes_request_has_its_shape() -> None:
    """Keys in its order, system blocks with the attribution first, one moving breakpoint, deferred tools."""
    body = claude_code("m")
    order = "model messages system tools metadata max_tokens thinking context_management output_config stream".split()
    assert order == list(body)
    assert body["system"][0]["text"].startswith("x-anthropic-billing-header: ")
    assert 3 == compact(body).count(b'"cache_control"')
    assert [False, True] == [tool.get("defer_loading", False) for tool in body["tools"]]
    assert "/v1/messages?beta=true" == claude_code_request("m").target


def test_each_request_has_room_for_its_token() -> None:
    """In its text, which every gateway keeps."""
    assert all(PROBE.encode() in request.body for request in (claude_code_request("m"), plain_request("m")))


def test_changes_go_over_the_smallest_request() -> None:
    """And nothing else is changed."""
    assert {**plain("m"), "max_tokens": 1, "x": 2} == json.loads(plain_request("m", max_tokens=1, x=2).body)


def test_json_is_written_as_the_clients_do() -> None:
    """No spaces, no escapes beyond the needed ones."""
    assert '{"a":[1.0,"é"]}'.encode() == compact({"a": [1.0, "é"]})


def test_one_beta_is_of_the_future() -> None:
    """A list of known ones would drop it."""
    assert "conformance-beta-2099-01-01" in CLAUDE_CODE_BETAS.split(",")
