"""The headers that the API answers with."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

Pairs = tuple[tuple[str, str], ...]


def rfc3339(at_ms: int) -> str:
    """Return a moment as the API writes it, in whole seconds, rounded up."""
    return datetime.fromtimestamp(-(-at_ms // 1_000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def answer_headers(request_id: str, seed: int, limits: Pairs = ()) -> Pairs:
    """Return the headers of one answer: its id, the organisation and what is left of the rate limits."""
    organisation = sha256(f"organisation:{seed}".encode()).hexdigest()
    return (("request-id", request_id), ("anthropic-organization-id", organisation[:32]), *limits)
