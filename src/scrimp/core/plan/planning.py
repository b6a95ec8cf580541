"""`plan` before a request is sent, `settle` after it was answered: both total functions of values.

In observe mode the plan has no action: it only states what the request, left alone, is expected to read, write and
cost. Settling compares that with what the API billed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from scrimp.core.belief.cache import Split, predict
from scrimp.core.belief.prefix import Prompt, kept_blocks, read_prompt
from scrimp.core.belief.session import Belief
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.request import Request
from scrimp.core.wire.tokens import Calibration, count_blocks
from scrimp.core.wire.usage import Metered, Usage, UsageLine

Mode = Literal["observe", "safe", "full"]

#: Counts the tokens of each block of a prompt for a model, in order, with what was learnt of its tokenizer so far.
BlockCounter = Callable[[str, Sequence[Block], Calibration], Sequence[int]]


class Prices(Protocol):
    """What planning needs of a price book."""

    def cost_nano_usd(self, lines: Iterable[UsageLine], at_ms: int) -> int | None:
        """Return the price of the lines at a date, None where a model has no price."""
        ...


class Policy(msgspec.Struct, frozen=True):
    """What the owner allows. In `observe` nothing is changed."""

    mode: Mode = "observe"


class Plan(msgspec.Struct, frozen=True):
    """What to do with one request and what that is expected to cost; costs are of the input side, in nano-USD.

    `prompt` and `split` carry the prediction on to the event that records the sending. `baseline` is the cost of
    the client's own request; with no action it is the predicted cost.
    """

    mode: Mode
    prompt: Prompt
    split: Split
    predicted_input_cost_nano_usd: int | None
    baseline_input_cost_nano_usd: int | None
    reason: str


class Settlement(msgspec.Struct, frozen=True):
    """What an exchange really cost, in nano-USD, beside what it would have cost without us."""

    usage: Usage
    cost_nano_usd: int | None
    baseline_cost_nano_usd: int | None


def plan(
    request: Request,
    belief: Belief,
    policy: Policy,
    prices: Prices,
    now_ms: int,
    count: BlockCounter = count_blocks,
) -> Plan:
    """Plan one request; `count` estimates the tokens of its blocks."""
    prompt = read_prompt(request, count(request.model, kept_blocks(request), belief.calibration))
    split = predict(belief.caches.get(prompt.cache, {}), prompt, now_ms, belief.rules)
    line = UsageLine(split.usage, request.model, speed=request.speed, inference_geo=request.inference_geo)
    cost = prices.cost_nano_usd([line], now_ms)
    return Plan(policy.mode, prompt, split, cost, cost, "observe: nothing is changed")


def settle(metered: Metered, prices: Prices, now_ms: int) -> Settlement:
    """Price what an exchange used. Nothing was changed, so the baseline is the cost itself."""
    cost = prices.cost_nano_usd(metered.lines, now_ms)
    return Settlement(metered.usage, cost, cost)
