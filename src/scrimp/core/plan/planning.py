"""`plan` before a request is sent, `settle` after it was answered: both total functions of values.

In observe mode the plan has no edit: it only states what the request, left alone, is expected to read, write and cost.
In safe mode the options of the levers are priced beside the request as it came, and the cheapest is taken; what the
request would have cost alone comes from a second emulation in which nothing was ever changed. Settling puts both beside
the bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import msgspec

from scrimp.core.belief.account import Account
from scrimp.core.belief.answers import heard
from scrimp.core.belief.cache import Split, predict
from scrimp.core.belief.events import Shadow
from scrimp.core.belief.prefix import Chainer, Mark, Prompt, cache_of, chain_of, kept_blocks, read_prompt
from scrimp.core.belief.session import Belief, Trails
from scrimp.core.belief.sightings import kinds
from scrimp.core.belief.templates import Look, look
from scrimp.core.levers import breakpoints, order
from scrimp.core.levers.fanout import Wait, landed, under_way, wait_for
from scrimp.core.levers.hold import Facts, Lifetime, lifetime
from scrimp.core.levers.order import Moved, Pitfall
from scrimp.core.plan.candidate import Candidate, Prices, card_of, cheapest, line_of, priced
from scrimp.core.plan.counterfactual import lines_alone
from scrimp.core.plan.edits import mark_edits
from scrimp.core.wire.blocks import Block, Ttl
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.request import Request
from scrimp.core.wire.splice import Edit
from scrimp.core.wire.tokens import Calibration, count_blocks
from scrimp.core.wire.usage import Metered, Usage

Mode = Literal["observe", "safe", "full"]

#: Counts the tokens of each block of a prompt for a model, in order, with what was learnt of its tokenizer so far.
BlockCounter = Callable[[str, Sequence[Block], Calibration], Sequence[int]]

#: Policies that are followed beside what is sent: nothing ever changed, and one-line automatic caching.
ALONE, AUTOMATIC = "alone", "automatic"

_AS_IT_CAME = "left as it came: nothing that is allowed is expected to be cheaper"
_OBSERVED = "observe: nothing is changed"


#: An account of which nothing is known.
STRANGER = Account()


class Policy(msgspec.Struct, frozen=True):
    """What the owner allows. In `observe` nothing is changed.

    `ttls` are the lifetimes that may be asked for where the client asked for none; `order` lets what is volatile be
    moved behind the last mark and drifting tools be sorted (`levers.order`).
    """

    mode: Mode = "observe"
    ttls: tuple[Ttl, ...] = ("5m", "1h")
    order: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What to do with one request and what that is expected to cost; costs are of the input side, in nano-USD.

    * `prompt` and `split` are the request as it will be sent. `shadows` are what could have been sent instead: the
      client's own request had nothing ever been changed ("alone"; `baseline` is its cost), and one-line automatic
      caching ("automatic"). There are none in observe mode.
    * `edits` turn the client's bytes into what is sent; there are none where it goes as it came.
    * `kinds` are the depths to remember (see `belief.sightings`), none in observe mode; `look` is what the request
      shows of its family (`belief.templates`).
    * `moved` is the request as the order lever changed it, None where it did not; `pitfall` is the volatile piece that
      was left where it is, with its price.
    * `waited` says that it was held back for another request, which it would not have been alone.
    """

    mode: Mode
    prompt: Prompt
    split: Split
    predicted_input_cost_nano_usd: int | None
    baseline_input_cost_nano_usd: int | None
    reason: str
    edits: tuple[Edit, ...] = ()
    kinds: Mapping[bytes, bytes] = {}
    shadows: tuple[Shadow, ...] = ()
    look: Look | None = None
    moved: Request | None = None
    pitfall: Pitfall | None = None
    waited: bool = False

    def shadow(self, policy: str) -> Split:
        """Return what would have been billed under another policy; what was sent, where nothing else is followed."""
        return next((each.split for each in self.shadows if each.policy == policy), self.split)


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
    found: Trails | None = None,
    account: Account = STRANGER,
    chains: Chainer = chain_of,
    waited: Wait | None = None,
) -> Plan:
    """Plan one request; `count` estimates the tokens of its blocks, `found` are its `trails` where they are known.

    `account` is what is known of its payer's habits, on which the choice of lifetimes rests. `chains` may stand in for
    `chain_of` if it gives the same answers, for instance remembered ones. A request that `waited` for another one would
    not have done so alone: what it would have been billed was seen when it came.
    """
    ground = _Ground(belief, policy, prices, now_ms, count, account, chains)
    seen = _seen(request, ground, found)
    own, look = seen.own, seen.look
    if policy.mode == "observe":
        split = predict(belief.caches.get(own.cache, {}), own, now_ms, belief.rules)
        cost = prices.cost_nano_usd([line_of(request, split.usage)], now_ms)
        pitfall = _pitfall(request, own, look, prices, now_ms)
        return Plan(policy.mode, own, split, cost, cost, _told(_OBSERVED, pitfall), look=look, pitfall=pitfall)
    shadows = waited.shadows if waited else _shadows(belief, own, now_ms)
    best, moved = _best(seen, ground)
    edits = mark_edits(request, own, best.prompt.marks) if moved is None else _ordered_edits(moved, best.prompt)
    pitfall = _pitfall(request, best.prompt, look, prices, now_ms) if moved is None else None
    return Plan(
        mode=policy.mode,
        prompt=best.prompt,
        split=best.split,
        predicted_input_cost_nano_usd=best.cost_nano_usd,
        baseline_input_cost_nano_usd=prices.cost_nano_usd([line_of(request, shadows[0].split.usage)], now_ms),
        reason=_told(best.reason, pitfall),
        edits=edits,
        kinds=best.kinds,
        shadows=shadows,
        look=look,
        moved=moved.request if moved else None,
        pitfall=pitfall,
        waited=waited is not None,
    )


class _Ground(msgspec.Struct, frozen=True):
    """What planning stands on, as `plan` was given it."""

    belief: Belief
    policy: Policy
    prices: Prices
    now_ms: int
    count: BlockCounter
    account: Account
    chains: Chainer


class _Seen(NamedTuple):
    """A request as it came: its prompt, what of it is volatile, and as it would be in order, where that is allowed."""

    request: Request
    own: Prompt
    look: Look
    moved: Moved | None


def _seen(request: Request, ground: _Ground, found: Trails | None) -> _Seen:
    belief, model = ground.belief, request.model
    known = heard(belief, request, found)
    kept = kept_blocks(request, known)
    counted = ground.count(model, kept, belief.calibration)
    own = read_prompt(request, counted, heard=known, kept=kept, chains=ground.chains)
    seen = look(belief.families, own)
    if not (seen.spots or seen.toolbox):
        return _Seen(request, own, seen, None)
    own = msgspec.structs.replace(own, fragile=order.fragile(seen))
    if not (ground.policy.order and ground.policy.mode != "observe"):
        return _Seen(request, own, seen, None)
    counting = partial(_counted, ground.count, model, belief.calibration)
    return _Seen(request, own, seen, order.moved(request, own, seen, known, counting, ground.chains))


def _best(seen: _Seen, ground: _Ground) -> tuple[Candidate, Moved | None]:
    """Return the cheapest candidate, and how the request was put in order where that is the cheaper one."""
    offered, moved = _candidates(seen.request, seen.own, ground), seen.moved
    if moved is None:
        return cheapest(offered), None
    # The request as it came is the measure: no mark of ours saves what is lost behind something volatile.
    as_it_came, ordered = next(offered), cheapest(_candidates(moved.request, moved.prompt, ground))
    if ordered.total_nano_usd >= as_it_came.total_nano_usd:
        return cheapest((as_it_came, *offered)), None
    return msgspec.structs.replace(ordered, reason=_and_why(moved.reason, ordered.reason)), moved


def _counted(count: BlockCounter, model: str, calibration: Calibration, blocks: Sequence[Block]) -> Sequence[int]:
    return count(model, blocks, calibration)


def _ordered_edits(moved: Moved, prompt: Prompt) -> tuple[Edit, ...]:
    """Return the edits that put a request in order and give it the marks of a prompt."""
    body = msgspec.structs.replace(moved.request, automatic_ttl=None)
    standing = msgspec.structs.replace(moved.prompt, marks=moved.standing)
    return order.with_marks(moved, prompt.marks, mark_edits(body, standing, prompt.marks))


def _pitfall(request: Request, sent: Prompt, seen: Look, prices: Prices, now_ms: int) -> Pitfall | None:
    """Price the volatile piece of a request that goes with it as it came."""
    return order.pitfall(sent, seen, card_of(request, sent, prices, now_ms)) if sent.fragile else None


def _told(reason: str, pitfall: Pitfall | None) -> str:
    return f"{reason}; {order.priced_in_words(pitfall)}" if pitfall else reason


def _and_why(moved: str, reason: str) -> str:
    return moved if reason == _AS_IT_CAME else f"{moved}; {reason}"


def _instead(own: Prompt) -> list[tuple[str, Prompt]]:
    """Return the prompts that are followed beside the one that is sent, the client's own first."""
    last = next((i for i in reversed(range(len(own.blocks))) if own.blocks[i].markable), None)
    marks = () if last is None else (Mark(last, "5m"),)
    return [(ALONE, own), (AUTOMATIC, msgspec.structs.replace(own, marks=marks))]


def _shadows(belief: Belief, own: Prompt, now_ms: int) -> tuple[Shadow, ...]:
    return tuple(_shadow(belief, policy, prompt, now_ms) for policy, prompt in _instead(own))


def _shadow(belief: Belief, policy: str, prompt: Prompt, now_ms: int) -> Shadow:
    entries = belief.shadows.get(policy, {}).get(prompt.cache, {})
    return Shadow(policy, prompt, predict(entries, prompt, now_ms, belief.rules))


def _candidates(request: Request, own: Prompt, ground: _Ground) -> Iterator[Candidate]:
    """Price the request as it came, and everything that the levers offer beside it.

    Where a person or a tool will go on, the lifetime is the account's: its ledger has seen more pauses than one prompt.
    """
    belief, prices, now_ms, known = ground.belief, ground.prices, ground.now_ms, kinds(own)
    card = card_of(request, own, prices, now_ms)
    if card is None:
        yield priced(request, own, belief, prices, card, now_ms, _AS_IT_CAME, known)
        return
    ttls, reason = ground.policy.ttls, _AS_IT_CAME
    base = own
    if own.blocks and own.blocks[0].tier == "tools":
        life = _lifetime(own, belief, ground.account, card, now_ms)
        ttls = (life.ttl,)
        base = msgspec.structs.replace(own, marks=breakpoints.with_lifetime(own, life.ttl))
        reason = _AS_IT_CAME if base.marks == own.marks else life.reason
    yield priced(request, base, belief, prices, card, now_ms, reason, known)
    for each in breakpoints.options(base, belief, ttls, card, now_ms, known, marked=request.is_marked):
        marked = msgspec.structs.replace(own, marks=each.marks)
        yield priced(request, marked, belief, prices, card, now_ms, each.reason, known)


def _lifetime(own: Prompt, belief: Belief, account: Account, card: RateCard, now_ms: int) -> Lifetime:
    """Ask for the lifetime of what this prompt writes, given what it finds cached."""
    entries = belief.caches.get(own.cache, {})
    split = predict(entries, own, now_ms, belief.rules)
    read = split.usage.cache_read_input_tokens
    front = entries.get(own.digests[split.hit]) if split.hit is not None else None
    is_hour = front is not None and front.ttl == "1h"
    facts = Facts("turn_ended", hour_tokens=read if is_hour else 0, minutes_tokens=0 if is_hour else read)
    return lifetime(account, facts, own.total_tokens - read, card)


def waiting(
    request: Request,
    belief: Belief,
    policy: Policy,
    prices: Prices,
    now_ms: int,
    count: BlockCounter = count_blocks,
    found: Trails | None = None,
    account: Account = STRANGER,
    chains: Chainer = chain_of,
) -> Wait | None:
    """Say whom a request should wait for before it is planned and sent; None where going now is as good.

    The arguments are those of `plan`. What is compared is the request as it would be sent: siblings that differ only in
    what is moved out of their prefix share it.
    """
    ground = _Ground(belief, policy, prices, now_ms, count, account, chains)
    if not under_way(belief, cache_of(request)):
        return None
    seen = _seen(request, ground, found)
    sent = [seen.own, seen.moved.prompt] if seen.moved else [seen.own]
    if under_way(belief, seen.own.cache).isdisjoint(digest for prompt in sent for digest in prompt.digests):
        return None
    now, _ = _best(seen, ground)
    later, _ = _best(seen, msgspec.structs.replace(ground, belief=landed(belief, seen.own.cache)))
    if now.cost_nano_usd is None or later.cost_nano_usd is None:
        return None
    wait = wait_for(later.prompt, later.split, belief, now_ms, now.cost_nano_usd - later.cost_nano_usd)
    return msgspec.structs.replace(wait, shadows=_shadows(belief, seen.own, now_ms)) if wait else None


def settle(metered: Metered, prices: Prices, now_ms: int, planned: Plan | None = None) -> Settlement:
    """Price what an exchange used, and what it would have used without us; with no plan the two are the same."""
    cost = prices.cost_nano_usd(metered.lines, now_ms)
    if planned is None:
        return Settlement(metered.usage, cost, cost)
    lines = lines_alone(metered.lines, planned.split, planned.shadow(ALONE), waited=planned.waited)
    return Settlement(metered.usage, cost, cost if lines == metered.lines else prices.cost_nano_usd(lines, now_ms))
