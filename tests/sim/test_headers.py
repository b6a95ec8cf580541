"""The headers of an answer."""

from __future__ import annotations

from scrimp.sim.headers import answer_headers


def test_an_answer_names_its_request_its_organisation_and_its_limits() -> None:
    """Every limit has its three fields, and resets a minute after the request (RFC 3339)."""
    headers = dict(answer_headers("req_1", 7, 1_795_564_800_999))
    assert "req_1" == headers["request-id"]
    assert "2026-11-25T00:01:00Z" == headers["anthropic-ratelimit-requests-reset"]
    for name in ("requests", "tokens", "input-tokens", "output-tokens"):
        limit, remaining = (int(headers[f"anthropic-ratelimit-{name}-{field}"]) for field in ("limit", "remaining"))
        assert 0 < remaining <= limit


def test_a_seed_is_an_organisation() -> None:
    """It does not change between requests, and another seed is another one."""
    owners = [dict(answer_headers("r", seed, at))["anthropic-organization-id"] for seed, at in ((1, 0), (1, 9), (2, 0))]
    assert owners[0] == owners[1] != owners[2]
