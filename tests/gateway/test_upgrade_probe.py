"""The probe of the upgrade ping against the simulator in both readings, and everything that could fool it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.clock import VirtualClock
from scrimp.core.wire.models import traits
from scrimp.core.wire.usage import Metered, Usage
from scrimp.errors import UpstreamError
from scrimp.gateway.upgrade_probe import FRONT_TOKENS, Answered, asking, costs, costs_at_most, steps, verdict
from scrimp.sim.app import create_app
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.upstream.asgi import AsgiUpstream
from scrimp.upstream.pricefeed import load_book

START_MS = 1_795_564_800_000
MODELS = ["claude-opus-5-5", "claude-haiku-5-5", "claude-sonnet-4-6", "claude-haiku-4-5"]
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "content-type": "application/json"}


def asked_of(simulator: Simulator, model: str = MODELS[0], nonce: str = "n") -> list[Answered]:
    """Return what a simulator answers, in virtual time."""
    clock = VirtualClock(START_MS)

    async def wait(wait_ms: int) -> None:
        clock.advance_ms(wait_ms)

    async def ask() -> list[Answered]:
        upstream = AsgiUpstream(create_app(simulator, clock))
        return [each async for each in asking(steps(model, nonce), upstream, HEADERS, wait)]

    return asyncio.run(ask())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("keeps", "expected"), [(False, "yes"), (True, "no")])
def test_it_tells_the_two_readings_apart(model: str, keeps: bool, expected: str) -> None:
    """Whatever the model, and its cost is the invoice, below what was announced."""
    simulator = Simulator(Rules(keeps_lifetimes=keeps))
    answers = asked_of(simulator, model)
    cost, at_most = (
        costs(answers, load_book(), START_MS),
        costs_at_most(steps(model, "n"), model, load_book(), START_MS),
    )
    assert expected == verdict(answers)[0]
    assert simulator.invoice.cost_nano_usd == cost
    assert cost is not None
    assert at_most is not None
    assert cost <= at_most < 6 * cost


def test_what_is_evicted_early_shows_nothing() -> None:
    """An API that keeps nothing is not one that keeps lifetimes."""
    assert "inconclusive" == verdict(asked_of(Simulator(Rules(eviction_permille=1_000))))[0]


def test_a_refusal_ends_it() -> None:
    """A model that is not there, said with what was refused."""
    with pytest.raises(UpstreamError, match=r"caches a prefix for five minutes was not served \(404 not_found_error\)"):
        asked_of(Simulator(), "claude-nonesuch")


@pytest.mark.parametrize("model", MODELS)
def test_the_prefixes_are_long_enough_and_nobody_s(model: str) -> None:
    """Long enough to be cached, no longer than announced, and another run's are others."""
    write, control, *_ = asked_of(Simulator(), model)
    assert 0.8 * FRONT_TOKENS < write.usage.cache_write_5m_input_tokens <= write.step.at_most.total_input_tokens
    assert traits(model).min_cacheable_tokens <= control.usage.cache_write_1h_input_tokens
    assert steps(model, "a")[0].body["system"][0]["text"][:8] != steps(model, "b")[0].body["system"][0]["text"][:8]


TOKENS = st.integers(0, 30_000)
USAGES = st.builds(
    Usage,
    cache_read_input_tokens=TOKENS,
    cache_write_5m_input_tokens=TOKENS,
    cache_write_1h_input_tokens=TOKENS,
    uncached_input_tokens=TOKENS,
)


@given(st.lists(USAGES, min_size=5, max_size=5))
def test_a_verdict_rests_on_what_was_read(usages: list[Usage]) -> None:
    """Yes only where the last request read the first one's prefix; no only where it did not, and the control lived."""
    asked = steps(MODELS[0], "n")
    found, _ = verdict([Answered(step, Metered(usage, ())) for step, usage in zip(asked, usages, strict=True)])
    front = usages[0].cache_read_input_tokens + usages[0].cache_write_input_tokens
    read = [usage.cache_read_input_tokens for usage in usages]
    if found == "yes":
        assert 0 < 0.95 * front <= min(read[2], read[4])
    if found == "no":
        assert read[4] < 0.95 * front <= read[2]
        assert read[3] > 0
