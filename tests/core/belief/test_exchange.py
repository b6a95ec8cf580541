"""An exchange is numbers and digests: no field can hold a prompt."""

from __future__ import annotations

import msgspec

from scrimp.core.belief.exchange import ORIGINS, Exchange


def test_unknown_is_none_and_never_zero() -> None:
    """A new exchange claims nothing about usage or money."""
    opened = Exchange(exchange_id="x", opened_at_ms=1, source="gateway")

    assert (None, None, None, None) == (
        opened.usage,
        opened.cost_nano_usd,
        opened.baseline_cost_nano_usd,
        opened.served_model,
    )
    assert opened.origin in ORIGINS


def test_an_exchange_travels_as_json() -> None:
    """Export and import give the same value back."""
    opened = Exchange(exchange_id="x", opened_at_ms=1, source="gateway", task_tag="t", cost_nano_usd=3)

    assert opened == msgspec.json.decode(msgspec.json.encode(opened), type=Exchange)
