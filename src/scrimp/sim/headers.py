"""The headers that the API answers with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

#: Limits of a small account, per minute (API docs, rate limits). They are shown, not enforced.
_LIMITS = {"requests": 1_000, "input-tokens": 2_000_000, "output-tokens": 400_000, "tokens": 2_400_000}


def _reset(now_ms: int) -> str:
    moment = datetime.fromtimestamp(now_ms // 1_000, UTC) + timedelta(minutes=1)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def answer_headers(request_id: str, seed: int, now_ms: int) -> tuple[tuple[str, str], ...]:
    """Return the headers of one answer: its id, the organisation and what is left of the rate limits."""
    organisation = sha256(f"organisation:{seed}".encode()).hexdigest()
    limits = [
        (f"anthropic-ratelimit-{name}-{field}", value)
        for name, limit in _LIMITS.items()
        for field, value in (("limit", str(limit)), ("remaining", str(limit)), ("reset", _reset(now_ms)))
    ]
    return (("request-id", request_id), ("anthropic-organization-id", organisation[:32]), *limits)
