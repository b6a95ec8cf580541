"""What is believed of one payer's habits, and what holding caches for them has cost so far.

An account (a credential; in recordings, a project's folder) is one immutable value, and every update a small function
of it. It holds:

* how long pauses last in which a person is waited for (`gaps`), and how much likelier a return is for what was seen of
  the answer before: a question left open, or how many signs it bears of wanting a reply (`signs`), or that the person
  began another session meanwhile;
* two shadow ledgers (hold study, section 4): what writing for an hour would have saved so far over five minutes on the
  real pauses, and how many tokens were appended, which is what it would have cost extra;
* the open pauses, with the pings that each was promised and the money set aside for them;
* the guard: what was spent beside what one-line automatic caching would have cost on the same requests.

Shadow ledgers count in tokens at the base input price; money is pico-USD.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.belief.gaps import EDGES_MS, FIRST_MS, LifeTable, expected
from scrimp.core.belief.prior import PRIOR_RATIOS, PRIOR_RETURNS, PRIOR_SECONDS
from scrimp.core.wire.prices import RateCard

#: A ping is sent this long after the last use of an entry: in time, with ten seconds or a minute to spare.
MINUTES_PING_MS = 290_000
HOUR_PING_MS = 3_540_000

#: The guard (hold study, section 6): spending may exceed automatic caching by this share of it, in percent, and by this
#: many tokens at the base price.
SLACK_PERCENT = 2
SLACK_TOKENS = 300_000

#: An open pause is counted anew when it is a tenth older than when it was counted last.
_COUNT_EVERY = 10
#: A pause this old teaches nothing more, and its session is given up.
FORGOTTEN_MS = EDGES_MS[-1]


class Tally(msgspec.Struct, frozen=True, gc=False):
    """Returns of one group of pauses, and how many the table alone foresaw for them."""

    returns: float = 0.0
    foreseen: float = 0.0

    def ratio(self, weight: float) -> float:
        """Return how much likelier than average a return is; `weight` average returns are added to what was seen."""
        return (self.returns + weight) / (self.foreseen + weight)


class Pings(msgspec.Struct, frozen=True, gc=False):
    """How many pings a pause is worth: every 290 s for a cache of five minutes, every 59 minutes for one of an hour."""

    minutes: int = 0
    hours: int = 0


class Pause(msgspec.Struct, frozen=True, gc=False):
    """A thread that waits since `since_ms` with a prompt of `tokens` tokens.

    * `group` is what was seen of the answer: "question", the number of its signs, None if nothing is known of it or
      nobody is waited for.
    * `counted_ms` is the age up to which the pause is in the table already; `left_ms` the age at which the person began
      another session, None while they did not.
    * `reserved_pico_usd` is set aside for pings that were promised.
    """

    session_id: str
    since_ms: int
    tokens: int
    pings: Pings
    is_human: bool
    group: str | None = None
    counted_ms: int = FIRST_MS
    left_ms: int | None = None
    reserved_pico_usd: int = 0


#: The group of pauses whose person began another session.
LEFT = "left"
#: How many average returns each ratio starts from.
RATIO_WEIGHT = 5.0


_PRIOR_TABLE = LifeTable(PRIOR_RETURNS, PRIOR_SECONDS)
_PRIOR_RATIOS = {group: Tally(*counts) for group, counts in PRIOR_RATIOS.items()}


class Account(msgspec.Struct, frozen=True):
    """Everything believed of an account; a fresh one believes what real sessions of other people teach (`prior`).

    * `hour_saved` and `appended` are the shadow ledgers.
    * `tails` counts prompts of chats without tools by how often they were read again in time (see `levers.hold`).
    * `refusing` are the models that refused a ping once; they get none any more.
    """

    table: LifeTable = _PRIOR_TABLE
    ratios: Mapping[str, Tally] = msgspec.field(default_factory=lambda: _PRIOR_RATIOS)
    pauses: Mapping[str, Pause] = {}
    hour_saved: float = 0.0
    appended: float = 0.0
    tails: Mapping[str, Tally] = {}
    spent_pico_usd: int = 0
    automatic_pico_usd: int = 0
    reserved_pico_usd: int = 0
    base_pico_usd: int = 0
    refusing: frozenset[str] = frozenset()

    def ratio(self, pause_group: str | None) -> float:
        """Return how much likelier than average a return is for a group of pauses."""
        tally = self.ratios.get(pause_group or "")
        return 1.0 if tally is None else tally.ratio(RATIO_WEIGHT)

    def base(self, card: RateCard) -> int:
        """Return the lowest base price of a token so far, that of `card` included."""
        return min(self.base_pico_usd or card.uncached_input, card.uncached_input)

    def allowance_pico_usd(self, card: RateCard) -> int:
        """Return what a request billed at `card` may risk: the guard's limit, less what was spent and is set aside."""
        limit = self.automatic_pico_usd * (100 + SLACK_PERCENT) // 100 + SLACK_TOKENS * self.base(card)
        return limit - self.spent_pico_usd - self.reserved_pico_usd


def learnt(account: Account) -> Account:
    """Return only what was learnt of the person: no open pauses, no money. An import of past sessions ends with it."""
    return msgspec.structs.replace(
        account, pauses={}, spent_pico_usd=0, automatic_pico_usd=0, reserved_pico_usd=0, base_pico_usd=0
    )


def billed(account: Account, own_pico_usd: int, automatic_pico_usd: int, card: RateCard) -> Account:
    """Add what a request cost and what automatic caching would have paid; the lowest base price counts."""
    return msgspec.structs.replace(
        account,
        spent_pico_usd=account.spent_pico_usd + own_pico_usd,
        automatic_pico_usd=account.automatic_pico_usd + automatic_pico_usd,
        base_pico_usd=account.base(card),
    )


def refused(account: Account, model: str) -> Account:
    """Remember that a model refused a ping."""
    return msgspec.structs.replace(account, refusing=account.refusing | {model})


def extended(account: Account, tokens: int) -> Account:
    """Add tokens that a request appended to its conversation."""
    return msgspec.structs.replace(account, appended=account.appended + tokens)


# --- pauses ---


def paused(account: Account, thread: str, pause: Pause) -> Account:
    """Open a pause of a thread."""
    return msgspec.structs.replace(
        account,
        pauses={**account.pauses, thread: pause},
        reserved_pico_usd=account.reserved_pico_usd + pause.reserved_pico_usd,
    )


def pinged(account: Account, thread: str, pico_usd: int) -> Account:
    """Take the price of a ping out of what was set aside for it, and spend it."""
    pause = account.pauses[thread]
    taken = min(pico_usd, pause.reserved_pico_usd)
    kept = msgspec.structs.replace(pause, reserved_pico_usd=pause.reserved_pico_usd - taken)
    return msgspec.structs.replace(
        account,
        pauses={**account.pauses, thread: kept},
        reserved_pico_usd=account.reserved_pico_usd - taken,
        spent_pico_usd=account.spent_pico_usd + pico_usd,
    )


def resumed(account: Account, thread: str, now_ms: int, kept_tokens: int, card: RateCard) -> Account:
    """Close a pause: the next request of its thread is here, and `kept_tokens` of the prompt still stand.

    A person who comes back to a conversation that they cut down (a compaction, another model) did return, but nothing
    was saved by holding, so it counts as time at risk only.
    """
    pause = account.pauses.get(thread)
    if pause is None:
        return account
    age_ms = now_ms - pause.since_ms
    if age_ms > FIRST_MS and pause.is_human:
        account = _counted(account, pause, age_ms, returned=2 * kept_tokens >= pause.tokens)
    pauses = {key: value for key, value in account.pauses.items() if key != thread}
    saved = _hour_saved(pause, age_ms, kept_tokens, card) if age_ms > MINUTES_PING_MS else 0.0
    return msgspec.structs.replace(
        account,
        pauses=pauses,
        hour_saved=account.hour_saved + saved,
        reserved_pico_usd=account.reserved_pico_usd - pause.reserved_pico_usd,
    )


def left(account: Account, thread: str, now_ms: int, pings: Pings, reserved_pico_usd: int) -> Account:
    """Note that the person of a pause began another session: it is held by other pings from then on."""
    pause = account.pauses[thread]
    kept = msgspec.structs.replace(
        pause, left_ms=now_ms - pause.since_ms, pings=pings, reserved_pico_usd=reserved_pico_usd
    )
    return msgspec.structs.replace(
        account,
        pauses={**account.pauses, thread: kept},
        reserved_pico_usd=account.reserved_pico_usd + reserved_pico_usd - pause.reserved_pico_usd,
    )


def released(account: Account, thread: str) -> Account:
    """Give back what is still set aside for the pings of a thread that gets none any more; its pause goes on."""
    pause = account.pauses.get(thread)
    if pause is None or not pause.reserved_pico_usd:
        return account
    pauses = {**account.pauses, thread: msgspec.structs.replace(pause, reserved_pico_usd=0)}
    reserved = account.reserved_pico_usd - pause.reserved_pico_usd
    return msgspec.structs.replace(account, pauses=pauses, reserved_pico_usd=reserved)


def dropped(account: Account, thread: str) -> Account:
    """Forget a pause of which nothing more will be known: its client is gone, or the recording ends."""
    pause = account.pauses.get(thread)
    if pause is None:
        return account
    pauses = {key: value for key, value in account.pauses.items() if key != thread}
    reserved = account.reserved_pico_usd - pause.reserved_pico_usd
    return msgspec.structs.replace(account, pauses=pauses, reserved_pico_usd=reserved)


def observed(account: Account, now_ms: int) -> Account:
    """Count how long open pauses have been seen open by now: all that is known of them is that nobody came back yet."""
    counted: dict[str, Pause] = {}
    for thread, pause in account.pauses.items():
        age_ms = min(now_ms - pause.since_ms, FORGOTTEN_MS)
        if pause.is_human and age_ms > pause.counted_ms + pause.counted_ms // _COUNT_EVERY:
            account = _counted(account, pause, age_ms, returned=False)
            counted[thread] = msgspec.structs.replace(pause, counted_ms=age_ms)
    return msgspec.structs.replace(account, pauses={**account.pauses, **counted}) if counted else account


def forgotten(account: Account, now_ms: int) -> list[str]:
    """Return the threads that nobody will come back to, to be dropped once their last pings are accounted for."""
    return [thread for thread, pause in account.pauses.items() if now_ms - pause.since_ms > FORGOTTEN_MS]


def _counted(account: Account, pause: Pause, age_ms: int, *, returned: bool) -> Account:
    """Add what was seen of a pause since it was counted last: to the table, and to the ratio of its group.

    After the person began another session the pause says nothing of people who did not.
    """
    ratios = dict(account.ratios)
    before, after = pause.counted_ms, age_ms
    if pause.left_ms is not None:
        since = max(before, pause.left_ms)
        _tallied(ratios, LEFT, returned, expected(account.table.chances, since, after))
        after, returned = pause.left_ms, False
        if after <= before:
            return msgspec.structs.replace(account, ratios=ratios)
    if pause.group is not None:
        _tallied(ratios, pause.group, returned, expected(account.table.chances, before, after))
    table = account.table.seen(before, after, returned=returned)
    return msgspec.structs.replace(account, table=table, ratios=ratios)


def _tallied(ratios: dict[str, Tally], group: str, returned: bool, foreseen: float) -> None:
    tally = ratios.get(group, Tally())
    ratios[group] = Tally(tally.returns + returned, tally.foreseen + foreseen)


# --- the ledger of what an hour would have saved ---


def idle_tokens(age_ms: int, pings: int, every_ms: int, life_ms: int, read: float) -> tuple[float, bool]:
    """Return what pinging one token through a pause cost, at the base price, and whether it outlived the pause."""
    sent = min(pings, age_ms // every_ms)
    return sent * read, age_ms < every_ms * pings + life_ms


def _hour_saved(pause: Pause, age_ms: int, kept_tokens: int, card: RateCard) -> float:
    """Return what an hour's cache would have saved over one of five minutes in a pause, each with its own pings."""
    base = card.uncached_input
    if not base:
        return 0.0
    read = card.cache_read / base
    minutes, alive_5m = idle_tokens(age_ms, pause.pings.minutes, MINUTES_PING_MS, TTL_MS["5m"], read)
    hours, alive_1h = idle_tokens(age_ms, pause.pings.hours, HOUR_PING_MS, TTL_MS["1h"], read)
    anew_5m = 0.0 if alive_5m else card.cache_write_5m / base - read
    anew_1h = 0.0 if alive_1h else card.cache_write_1h / base - read
    return (minutes - hours) * pause.tokens + (anew_5m - anew_1h) * kept_tokens
