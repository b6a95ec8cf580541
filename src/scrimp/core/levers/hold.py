"""Holding: which lifetime to write, and how often to ping a cache through a pause. Nothing here changes an answer.

The limit is not knowing how long a pause lasts, so the rules are those of renting and buying under a known chance (hold
study, section 4; levers study, 2a):

    what waits                     hold
    ----------------------------   ---------------------------------------------------------------------------------
    a tool or an agent             ping until pings have cost as much as writing anew: it comes back almost surely
    a person (turn, question)      as many pings as cost the least on average, by the account's table of pauses
    a person who went elsewhere    the same with the lower chance of a return that the account shows then
    an agent that has ended        nothing: nobody goes on with it
    a chat without tools           nothing: pings lose there (hold study, section 7)

An hour is written iff the account's shadow ledger says that it would have paid for itself so far. Neither an hour nor a
ping is taken beyond the account's guard, and what promised pings may cost is set aside when they are promised.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Literal

import msgspec

from scrimp.core.belief.account import HOUR_PING_MS, MINUTES_PING_MS, Account, Pings, Tally
from scrimp.core.belief.cache import TTL_MS
from scrimp.core.belief.gaps import EDGES_MS, still_open
from scrimp.core.belief.prior import PRIOR_HOUR_SAVED
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.prices import RateCard

#: What an answer leaves open.
Waiting = Literal["tool", "agent", "question", "turn_ended"]
_MACHINES = ("tool", "agent")

#: How many appended tokens the first belief about an hour's saving is worth.
LEDGER_WEIGHT = 300_000
#: How many tokens the first belief about tails being read again is worth (20 requests in the hold study, section 7),
#: and that belief. Outcomes count by their tokens: long prompts are both dearer and likelier to be gone on from.
TAIL_WEIGHT = 100_000.0
TAIL_CHANCE = 0.5


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known of an answer that has just ended.

    `signs` is what `belief.signs` counts, None if the text was not seen. `is_agent` says that the thread is a
    subagent's. `hour_tokens` of the prompt's front are cached for an hour, the `minutes_tokens` behind them for five
    minutes.
    """

    waiting: Waiting
    hour_tokens: int
    minutes_tokens: int
    signs: int | None = None
    is_agent: bool = False
    has_tools: bool = True


class Settings(msgspec.Struct, frozen=True, gc=False):
    """What the owner may set. `upgrade_ping` replaces a cache of five minutes by one of an hour with a single ping.

    It rests on a reading of the docs that is not proven (an entry behind a live one lives as long as its own mark, as a
    whole; hold study, section 8), so it is off until a probe has shown it.
    """

    upgrade_ping: bool = False


DEFAULTS = Settings()


class Holding(msgspec.Struct, frozen=True, gc=False):
    """How a pause is held: what is granted, what would be best without the guard, and the money to set aside for it.

    A ping every 290 s holds all of the prompt; when those have ended, one every 59 minutes holds its front of an hour.
    `upgrade` asks that the first ping carries a mark of an hour behind everything.
    """

    granted: Pings
    wanted: Pings
    reserved_pico_usd: int
    reason: str
    upgrade: bool = False


class Lifetime(msgspec.Struct, frozen=True, gc=False):
    """The lifetime to write new tokens with, and why."""

    ttl: Ttl
    reason: str


_NONE = Pings()


def group_of(facts: Facts) -> str | None:
    """Return the group of pauses that a person's pause belongs to, None if nothing is known of it."""
    if facts.waiting == "question":
        return "question"
    return None if facts.signs is None else str(facts.signs)


def is_human(facts: Facts) -> bool:
    """Whether a person is waited for who may come back to this very thread."""
    return facts.waiting not in _MACHINES and not facts.is_agent


# --- the lifetime of what is written ---


def lifetime(account: Account, facts: Facts, new_tokens: int, card: RateCard) -> Lifetime:
    """Choose the lifetime of `new_tokens` about to be written, by the account's ledgers and guard."""
    base = card.uncached_input
    if not facts.has_tools or not base or facts.minutes_tokens:
        return Lifetime("5m", "hold: five minutes, as what stands in front")
    premium = card.cache_write_1h - card.cache_write_5m
    believed = LEDGER_WEIGHT * _first_belief(card.cache_read / base)
    saved, paid = account.hour_saved + believed, premium / base * (account.appended + LEDGER_WEIGHT)
    if saved <= paid:
        return Lifetime("5m", "hold: an hour would not have paid for itself so far")
    if new_tokens * premium > account.allowance_pico_usd(card):
        return Lifetime("5m", "hold: an hour is beyond the account's guard")
    return Lifetime("1h", "hold: an hour has paid for itself so far")


def _first_belief(read: float) -> float:
    """Return what an hour is believed to save for each appended token at first, between the prices it is known for."""
    points = PRIOR_HOUR_SAVED
    if read <= points[0][0]:
        return points[0][1]
    for (low, at_low), (high, at_high) in pairwise(points):
        if read <= high:
            return at_low + (at_high - at_low) * (read - low) / (high - low)
    return points[-1][1]


# --- how a pause is held ---


def hold(account: Account, facts: Facts, model: str, card: RateCard, settings: Settings = DEFAULTS) -> Holding:
    """Say how the pause that starts now is held."""
    wanted = wanted_pings(account, facts, card)
    if wanted == _NONE:
        return Holding(_NONE, wanted, 0, "hold: let go, pings would cost more than they save")
    if model in account.refusing:
        return Holding(_NONE, wanted, 0, "hold: let go, this model refuses pings")
    if settings.upgrade_ping and facts.minutes_tokens:
        return _upgraded(account, facts, wanted, card)
    granted, reserved = _within_guard(account, facts, wanted, card)
    if granted == _NONE:
        return Holding(_NONE, wanted, 0, "hold: let go, pings are beyond the account's guard")
    what = "something comes back" if facts.waiting in _MACHINES else "the user is likely to come back"
    return Holding(granted, wanted, reserved, f"hold: ping, {what}")


def wanted_pings(account: Account, facts: Facts, card: RateCard) -> Pings:
    """Return the pings that cost the least on average, for a cache of five minutes and for one of an hour."""
    if not facts.has_tools or not card.cache_read or (facts.is_agent and facts.waiting not in _MACHINES):
        return _NONE
    if facts.waiting in _MACHINES:
        return Pings(_most(card.cache_write_5m, card.cache_read), _most(card.cache_write_1h, card.cache_read))
    return _expected_best(account.table.chances, account.ratio(group_of(facts)), card)


def after_leaving(account: Account, age_ms: int, pings: Pings, card: RateCard) -> Pings:
    """Return how many pings a pause is still worth, all told, when its person began another session at that age."""
    best = _expected_best(account.table.chances, account.ratio("left"), card)
    return Pings(
        min(pings.minutes, max(age_ms // MINUTES_PING_MS, best.minutes)),
        min(pings.hours, max(age_ms // HOUR_PING_MS, best.hours)),
    )


def _most(write: int, read: int) -> int:
    """Return after how many pings writing anew would have been as cheap."""
    return (write - read) // read


@lru_cache(maxsize=1_024)
def _expected_best(chances: tuple[float, ...], ratio: float, card: RateCard) -> Pings:
    return Pings(
        _cheapest(chances, ratio, MINUTES_PING_MS, TTL_MS["5m"], card.cache_write_5m, card.cache_read),
        _cheapest(chances, ratio, HOUR_PING_MS, TTL_MS["1h"], card.cache_write_1h, card.cache_read),
    )


def _cheapest(chances: tuple[float, ...], ratio: float, every_ms: int, life_ms: int, write: int, read: int) -> int:
    """Return the number of pings with the least expected cost: those sent, and a rewrite for who returns too late."""
    most = _most(write, read)
    sent = still_open(chances, ratio, [every_ms * (n + 1) for n in range(most)])
    ended = still_open(chances, ratio, [every_ms * n + life_ms for n in range(most + 1)])
    never = still_open(chances, ratio, [EDGES_MS[-1]])[0]
    best, least, pings = 0, (write - read) * (ended[0] - never), 0.0
    for n in range(1, most + 1):
        pings += read * sent[n - 1]
        cost = pings + (write - read) * (ended[n] - never)
        if cost < least:
            best, least = n, cost
    return best


def _within_guard(account: Account, facts: Facts, wanted: Pings, card: RateCard) -> tuple[Pings, int]:
    """Cut the pings to what the guard allows, and return what to set aside for them."""
    allowance, read = max(0, account.allowance_pico_usd(card)), card.cache_read
    minutes_cost = (facts.hour_tokens + facts.minutes_tokens) * read if facts.minutes_tokens else 0
    hours_cost = facts.hour_tokens * read
    minutes = min(wanted.minutes, allowance // minutes_cost) if minutes_cost else 0
    hours = min(wanted.hours, (allowance - minutes * minutes_cost) // hours_cost) if hours_cost else 0
    return Pings(minutes, hours), minutes * minutes_cost + hours * hours_cost


def _upgraded(account: Account, facts: Facts, wanted: Pings, card: RateCard) -> Holding:
    """Hold everything for hours from the first ping on, under the reading that a mark of an hour allows it."""
    tokens = facts.hour_tokens + facts.minutes_tokens
    whole = msgspec.structs.replace(facts, hour_tokens=tokens, minutes_tokens=0)
    granted, reserved = _within_guard(account, whole, Pings(0, wanted.hours), card)
    first = tokens * card.cache_read
    if reserved + first > account.allowance_pico_usd(card):
        return Holding(_NONE, wanted, 0, "hold: let go, pings are beyond the account's guard")
    return Holding(Pings(1, granted.hours), wanted, reserved + first, "hold: one ping makes it an hour", upgrade=True)


# --- chats without tools ---


def marks_tail(account: Account, kind: str, card: RateCard) -> bool:
    """Whether the end of a chat's prompt is read again often enough to be worth a mark of five minutes.

    `kind` tells first prompts from later ones. A mark pays iff the chance of a read in time is above (write - plain) /
    (write - read) (levers study, 2a).
    """
    tally = account.tails.get(kind, Tally())
    chance = (tally.returns + TAIL_WEIGHT * TAIL_CHANCE) / (tally.foreseen + TAIL_WEIGHT)
    return chance * (card.cache_write_5m - card.cache_read) > card.cache_write_5m - card.uncached_input


def tail_seen(account: Account, kind: str, tokens: int, *, returned: bool) -> Account:
    """Count that the last tokens of a chat's prompt were read again in five minutes, or were not."""
    tally = account.tails.get(kind, Tally())
    seen = Tally(tally.returns + tokens * returned, tally.foreseen + tokens)
    return msgspec.structs.replace(account, tails={**account.tails, kind: seen})
