"""`scrimp doctor --probe-upgrade`: does one ping make an hour of a five-minute cache? Asked of the API itself."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from scrimp.errors import UsageError

if TYPE_CHECKING:
    from scrimp.config import Settings
    from scrimp.gateway.upgrade_probe import Answered, Step

#: What a probe ends with.
EXIT_CODES = {"yes": 0, "no": 1, "inconclusive": 2}
_MS_PER_SECOND = 1_000
_MINUTES = 11


async def sleep(wait_ms: int) -> None:
    """Let time pass."""
    await asyncio.sleep(wait_ms / _MS_PER_SECOND)


def credentials(key: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that pay for the probe: a key that was given, or the shell's own, never a subscription."""
    from scrimp.engine.modes import is_subscription

    key, token = key or environ.get("ANTHROPIC_API_KEY"), environ.get("ANTHROPIC_AUTH_TOKEN")
    found = {"x-api-key": key} if key else {"authorization": f"Bearer {token}"} if token else {}
    if not found:
        raise UsageError("There is no API key for the probe.", "Set ANTHROPIC_API_KEY, or pipe one in with --key -.")
    if is_subscription(found):
        raise UsageError("A subscription's token is not billed by the token.", "Probe with an API key.")
    return found


def probe(
    settings: Settings,
    model: str,
    paid_by: Mapping[str, str],
    *,
    agreed: bool,
    as_json: bool,
    wait: Callable[[int], Awaitable[None]] = sleep,
) -> int:
    """Say what the probe costs, ask whether to go on, send it, print what was answered; return the exit code.

    Raises `ScrimpError` where a request is not served.
    """
    from scrimp.clock import SystemClock
    from scrimp.gateway.upgrade_probe import costs, costs_at_most, steps, verdict
    from scrimp.money import dollars, in_usd
    from scrimp.upstream.pricefeed import describe_book, load_current_book

    prices, now_ms = load_current_book(), SystemClock().now_ms()
    asked = steps(model, f"{now_ms:x}")
    at_most = costs_at_most(asked, model, prices, now_ms)
    price = "an unknown sum" if at_most is None else f"at most {dollars(at_most)} at {describe_book()}"
    click.echo(f"{len(asked)} requests to {model} in {_MINUTES} minutes, {price}.", err=True)
    if not agreed:
        click.confirm("Send them?", abort=True, err=True)
    answers = asyncio.run(_asked(settings, asked, paid_by, wait, as_json=as_json))
    found, why = verdict(answers)
    cost = costs(answers, prices, now_ms)
    if as_json:
        told = {"verdict": found, "why": why, "model": model, "cost_usd": in_usd(cost)}
        click.echo(json.dumps({**told, "steps": [_step(each) for each in answers]}))
    else:
        click.echo(f"{found}: {why}. It cost {dollars(cost)}.")
        click.echo(_NEXT[found])
    return EXIT_CODES[found]


_NEXT = {
    "yes": "An upgrade ping pays with this model: set upgrade_ping = true.",
    "no": "An upgrade ping would be a ping of five minutes: leave upgrade_ping off.",
    "inconclusive": "This shows nothing either way: probe again later.",
}


async def _asked(
    settings: Settings,
    asked: tuple[Step, ...],
    paid_by: Mapping[str, str],
    wait: Callable[[int], Awaitable[None]],
    *,
    as_json: bool,
) -> list[Answered]:
    """Send the steps and show each answer as it comes. A gateway of ours on the way is asked to change nothing."""
    from scrimp.gateway.upgrade_probe import asking
    from scrimp.upstream.network import AiohttpUpstream

    upstream = AiohttpUpstream(settings.upstream, trust_env=settings.trust_env)
    headers = {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "accept-encoding": "identity",
        "scrimp-mode": "observe",
        **paid_by,
    }

    async def patiently(wait_ms: int) -> None:
        click.echo(f"Waiting {wait_ms // _MS_PER_SECOND:,} s ...", err=True)
        await wait(wait_ms)

    answers = []
    try:
        async for each in asking(asked, upstream, headers, patiently):
            answers.append(each)
            if not as_json:
                click.echo(_line(each))
                sys.stdout.flush()
    finally:
        await upstream.aclose()
    return answers


def _line(answered: Answered) -> str:
    step, usage = answered.step, answered.usage
    read = f"{usage.cache_read_input_tokens:,} read"
    five, hour = usage.cache_write_5m_input_tokens, usage.cache_write_1h_input_tokens
    return f"{step.name}, which {step.purpose}: {read}, {five:,} written for 5 minutes, {hour:,} for an hour"


def _step(answered: Answered) -> dict[str, Any]:
    usage = answered.usage
    return {
        "name": answered.step.name,
        "after_ms": answered.step.after_ms,
        "uncached_input_tokens": usage.uncached_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_write_5m_input_tokens": usage.cache_write_5m_input_tokens,
        "cache_write_1h_input_tokens": usage.cache_write_1h_input_tokens,
        "output_tokens": usage.output_tokens,
    }
