"""What the gateway stands on."""

from __future__ import annotations

from scrimp.clock import VirtualClock
from scrimp.config import Settings
from scrimp.gateway.services import Services
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.network import AiohttpUpstream
from scrimp.upstream.pricefeed import load_book


def test_the_defaults_are_those_of_the_settings() -> None:
    """A gateway made by hand observes, and reads bodies as long as the settings' own."""
    services = Services(
        upstream=AiohttpUpstream("http://127.0.0.1:1"),
        ledger=MemoryLedger(),
        prices=load_book(),
        clock=VirtualClock(),
    )
    assert ("observe", Settings().body_limit_bytes) == (services.policy.mode, services.body_limit_bytes)
