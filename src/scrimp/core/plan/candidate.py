"""A combination of what the levers offer, priced once: what it costs now, and what it does to the turns to come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from scrimp.core.belief.cache import Split, predict
from scrimp.core.belief.prefix import Prompt
from scrimp.core.belief.session import Belief
from scrimp.core.plan.cost_to_go import HORIZON_REQUESTS, expected_input_nano_usd
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.request import Request
from scrimp.core.wire.usage import Usage, UsageLine


class Prices(Protocol):
    """What planning needs of a price book."""

    def cost_nano_usd(self, lines: Iterable[UsageLine], at_ms: int) -> int | None:
        """Return the price of the lines at a date, None where a model has no price."""
        ...

    def line_card(self, line: UsageLine, at_ms: int, length: int) -> RateCard | None:
        """Return the rates of a line for a prompt of `length` tokens, None where a model has no price."""
        ...


class Candidate(msgspec.Struct, frozen=True):
    """A prompt as it could be sent: what it is expected to read and write now, and the price of that with its future.

    `cost_nano_usd` is the input side of this request, `total_nano_usd` adds the requests that are expected to follow.
    `kinds` are the depths of the prompt (see `belief.sightings`).
    """

    prompt: Prompt
    split: Split
    cost_nano_usd: int | None
    total_nano_usd: float
    reason: str
    kinds: dict[bytes, bytes]


def line_of(request: Request, usage: Usage) -> UsageLine:
    """Return the billing line that a request with this usage is expected to have."""
    return UsageLine(usage, request.model, speed=request.speed, inference_geo=request.inference_geo)


def card_of(request: Request, prompt: Prompt, prices: Prices, now_ms: int) -> RateCard | None:
    """Return the rates that a prompt will be billed at, None where they are not known."""
    return prices.line_card(line_of(request, Usage()), now_ms, prompt.total_tokens)


def priced(
    request: Request,
    prompt: Prompt,
    belief: Belief,
    prices: Prices,
    card: RateCard | None,
    now_ms: int,
    reason: str,
    known: dict[bytes, bytes],
) -> Candidate:
    """Price a prompt with the marks that it carries, sent now; `known` are the kinds of its depths."""
    split = predict(belief.caches.get(prompt.cache, {}), prompt, now_ms, belief.rules)
    cost = prices.cost_nano_usd([line_of(request, split.usage)], now_ms)
    ahead = 0.0 if card is None else expected_input_nano_usd(prompt, prompt.marks, belief.sightings, card, known)
    return Candidate(prompt, split, cost, (cost or 0) + HORIZON_REQUESTS * ahead, reason, known)


def cheapest(candidates: Iterable[Candidate]) -> Candidate:
    """Return the candidate with the lowest total; the first of equals, so that nothing is changed for nothing."""
    return min(candidates, key=lambda each: each.total_nano_usd)
