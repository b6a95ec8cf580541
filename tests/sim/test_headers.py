"""The headers of an answer."""

from __future__ import annotations

import pytest

from scrimp.sim.headers import answer_headers, rfc3339


def test_an_answer_names_its_request_its_organisation_and_its_limits() -> None:
    """The limits stand behind, as they were given."""
    headers = answer_headers("req_1", 7, (("anthropic-ratelimit-requests-limit", "5"),))
    assert ("request-id", "req_1") == headers[0]
    assert ("anthropic-ratelimit-requests-limit", "5") == headers[-1]
    assert 3 == len(headers)


def test_a_seed_is_an_organisation() -> None:
    """It does not change between requests, and another seed is another one."""
    owners = [dict(answer_headers("r", seed))["anthropic-organization-id"] for seed in (1, 1, 2)]
    assert owners[0] == owners[1] != owners[2]


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [
        (1_795_564_800_000, "2026-11-25T00:00:00Z"),
        (1_795_564_800_001, "2026-11-25T00:00:01Z"),
        (0, "1970-01-01T00:00:00Z"),
    ],
)
def test_a_moment_is_written_in_whole_seconds(at_ms: int, expected: str) -> None:
    """Rounded up, so that nobody comes back too early."""
    assert expected == rfc3339(at_ms)
