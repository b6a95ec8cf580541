"""The policies that replay compares, by name: each turns the steps of an account into decisions.

none          nothing is marked
automatic     the API's one-line automatic caching: one mark of five minutes at the end (API docs, prompt caching)
5m            marks behind the system prompt and at the end, all of five minutes
1h            the same marks, all of an hour
as-recorded   the marks and lifetimes that were sent, and the pings, if there were any
scrimp-safe   what `levers.hold` decides from what the account has shown so far, within its guard
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from scrimp.core.belief.account import Account
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.replay.emulator import Decision, Emulator, as_recorded
from scrimp.replay.holding import Holder
from scrimp.replay.rates import Rates
from scrimp.replay.regret import input_pico_usd
from scrimp.replay.steps import Step

#: Stands in for the rates of a step whose model has no known price; such steps cost nothing, and are counted.
UNPRICED = RateCard(0, 0, 0, 0, 0)
#: A day on which the latest prices of every model hold, for repricing.
_LATEST_MS = 253_402_300_799_000
_STANDARD = "standard"

_AUTOMATIC = Decision("5m", None)


class Setting(msgspec.Struct, frozen=True):
    """What a policy may know: the emulator with its steps, the rates of each, and the account before the first one.

    `automatic` is what each step costs under automatic caching, in pico-USD, which the guard is measured against.
    """

    emulator: Emulator
    cards: Sequence[RateCard]
    account: Account
    automatic: Sequence[int]


Policy = Callable[[Setting], Sequence[Decision]]


def _always(decision: Decision) -> Policy:
    return lambda setting: [decision] * len(setting.emulator.steps)


def _as_recorded(setting: Setting) -> Sequence[Decision]:
    return [as_recorded(step) for step in setting.emulator.steps]


def _scrimp_safe(setting: Setting) -> Sequence[Decision]:
    return held(setting)[0]


#: name -> policy.
POLICIES: dict[str, Policy] = {
    "none": _always(Decision(None, None)),
    "automatic": _always(_AUTOMATIC),
    "5m": _always(Decision("5m", "5m")),
    "1h": _always(Decision("1h", "1h")),
    "as-recorded": _as_recorded,
    "scrimp-safe": _scrimp_safe,
}


def held(setting: Setting) -> tuple[Sequence[Decision], Account]:
    """Return the decisions of `scrimp-safe`, and what the account has taught by the last step."""
    emulator = setting.emulator
    holder = Holder(emulator.steps, emulator.ways, setting.cards, setting.automatic, setting.account)
    return holder.decide(), holder.account


def setting_of(emulator: Emulator, cards: Sequence[RateCard], account: Account) -> Setting:
    """Return the setting of an account's steps, with automatic caching billed."""
    usages = emulator.bill([_AUTOMATIC] * len(cards)).usages
    automatic = [input_pico_usd(usage, card) for usage, card in zip(usages, cards, strict=True)]
    return Setting(emulator, cards, account, automatic)


def cards_of(steps: Sequence[Step], rates: Rates, *, latest: bool = False) -> list[RateCard]:
    """Return the rates that each step is billed at: those of its day, or the `latest` ones."""
    return [_card(step, rates, _LATEST_MS if latest else step.at_ms) for step in steps]


def _card(step: Step, rates: Rates, at_ms: int) -> RateCard:
    speed = step.cache.partition("|")[2] or _STANDARD
    line = UsageLine(Usage(uncached_input_tokens=step.total_tokens), step.model, speed=speed)
    return rates.cards((line,), at_ms)[0] or UNPRICED


def as_model(steps: Sequence[Step], model: str) -> list[Step]:
    """Return the steps as if all had asked one model; where the recorded models changed, the cache still changes."""
    return [msgspec.structs.replace(step, model=model, cache=f"{step.cache.partition('|')[0]}|") for step in steps]
