"""What the gateway stands on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.clock import VirtualClock
from scrimp.config import Settings
from scrimp.gateway.services import Services, new_exchange_id
from scrimp.store.ledger import MemoryLedger
from scrimp.upstream.network import AiohttpUpstream
from scrimp.upstream.pricefeed import load_book

#: Until the year 9999.
MOMENTS = st.integers(0, 253_402_300_799_000)


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_time(one_ms: int, other_ms: int) -> None:
    """The order of the ids is the order of the moments."""
    one, other = new_exchange_id(one_ms), new_exchange_id(other_ms)
    assert (one_ms < other_ms) == (one[:15] < other[:15])
    assert (one_ms == other_ms) == (one[:15] == other[:15])
    assert len(one) == len(other) == 27


def test_ids_of_one_moment_differ() -> None:
    """A thousand within one millisecond."""
    assert 1000 == len({new_exchange_id(5) for _ in range(1000)})


def test_the_defaults_are_those_of_the_settings() -> None:
    """A gateway made by hand observes, and reads bodies as long as the settings' own."""
    services = Services(AiohttpUpstream("http://127.0.0.1:1"), MemoryLedger(), load_book(), VirtualClock())
    assert ("observe", Settings().body_limit_bytes) == (services.policy.mode, services.body_limit_bytes)
