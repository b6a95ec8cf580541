"""The error envelope."""

from __future__ import annotations

import pytest

from scrimp.sim.errors import TYPES, ApiError, bad_request, envelope


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (413, "request_too_large"), (529, "overloaded_error")]
)
def test_an_error_names_its_type_and_its_request(status: int, kind: str) -> None:
    """The envelope of the API, without details where there are none."""
    expected = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_1"}
    assert expected == envelope(ApiError(status, "no"), "req_1")


def test_details_travel_with_the_error() -> None:
    """Clients decide by `error.details.error_code`."""
    details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    error = bad_request("no threads", details)
    assert 400 == error.status
    assert details == envelope(error, "req_1")["error"]["details"]


def test_each_status_has_a_type_of_its_own() -> None:
    """The table is one to one, so that a status can be told from its type."""
    assert len(TYPES) == len(set(TYPES.values()))
