"""Replays accounts under several policies, and sums up what each costs beside the clairvoyant optimum.

An account is replayed as a whole and in order of time, since what is learnt and the guard belong to it; accounts know
nothing of each other, so they may be replayed side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from scrimp.core.belief.account import SLACK_PERCENT, SLACK_TOKENS, Account
from scrimp.core.plan.optimum import Visit, lossless
from scrimp.core.wire.prices import PriceBook, RateCard, nano_usd
from scrimp.errors import InternalError
from scrimp.money import dollars
from scrimp.replay.emulator import Emulator
from scrimp.replay.policies import POLICIES, UNPRICED, as_model, cards_of, setting_of
from scrimp.replay.rates import Rates
from scrimp.replay.regret import Cause, Course, causes_of
from scrimp.replay.steps import Step

#: What single sessions are compared with.
BASELINE = "automatic"
GUARDED = "scrimp-safe"


class Task(msgspec.Struct, frozen=True):
    """One account to replay: its steps, the policies, and a model to price everything as, if any."""

    account: str
    steps: Sequence[Step]
    policies: tuple[str, ...]
    book: PriceBook
    model: str | None = None
    before: Account = msgspec.field(default_factory=Account)


class Outcome(msgspec.Struct, frozen=True):
    """What one account's steps cost, in pico-USD, inputs only.

    `sessions` holds for each policy what each session costs, `causes` the regret by cause. `over_guard_pico_usd` is by
    how much `scrimp-safe` is above its guard (see `core.belief.account`): always nothing.
    """

    account: str
    exchanges: int
    unpriced: int
    output_pico_usd: int
    optimum_pico_usd: int
    costs: dict[str, int]
    causes: dict[str, dict[Cause, int]]
    sessions: dict[str, dict[str, int]]
    over_guard_pico_usd: int = 0


def replayed(task: Task) -> Outcome:
    """Replay one account."""
    steps = [_markable(step) for step in (task.steps if task.model is None else as_model(task.steps, task.model))]
    cards = cards_of(steps, Rates(task.book), latest=task.model is not None)
    emulator = Emulator(steps)
    setting = setting_of(emulator, cards, task.before)
    bound = lossless([_visit(step) for step in steps], cards)
    costs = {BASELINE: sum(setting.automatic)}
    causes: dict[str, dict[Cause, int]] = {}
    sessions = {BASELINE: _by_session(steps, setting.automatic)}
    for name in task.policies:
        decisions = POLICIES[name](setting)
        course = Course(steps, emulator.ways, cards, decisions, emulator.bill(decisions))
        each = course.costs()
        costs[name], sessions[name], causes[name] = sum(each), _by_session(steps, each), causes_of(course, bound)
    return Outcome(
        account=task.account,
        exchanges=len(steps),
        unpriced=sum(card is UNPRICED for card in cards),
        output_pico_usd=sum(step.output_tokens * card.output for step, card in zip(steps, cards, strict=True)),
        optimum_pico_usd=bound.cost_pico_usd,
        costs=costs,
        causes=causes,
        sessions=sessions,
        over_guard_pico_usd=_over_guard(costs, cards),
    )


def _markable(step: Step) -> Step:
    """Return a step that any policy can mark to its end, where the client itself marked nothing."""
    return step if step.marked_tokens else msgspec.structs.replace(step, marked_tokens=None)


def _visit(step: Step) -> Visit:
    return Visit(step.at_ms, step.total_tokens, step.parent, step.shared_tokens, step.given_tokens)


def _by_session(steps: Sequence[Step], costs: Iterable[int]) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for step, cost in zip(steps, costs, strict=True):
        sums[step.session_id] += cost
    return dict(sums)


def _over_guard(costs: Mapping[str, int], cards: Sequence[RateCard]) -> int:
    if GUARDED not in costs:
        return 0
    base = min((card.uncached_input for card in cards if card is not UNPRICED), default=0)
    limit = costs[BASELINE] * (100 + SLACK_PERCENT) // 100 + SLACK_TOKENS * base
    return max(0, costs[GUARDED] - limit)


class Dearer(msgspec.Struct, frozen=True):
    """How single sessions fare under a policy beside automatic caching: shares of all sessions, and the worst ratio."""

    dearer: float
    by_a_tenth: float
    worst: float


class PolicySum(msgspec.Struct, frozen=True):
    """What a policy costs over all accounts, in pico-USD; `regret` is its cost over the optimum's, None without any."""

    input_pico_usd: int
    regret: float | None
    causes: dict[Cause, int]
    sessions: Dearer | None


class Comparison(msgspec.Struct, frozen=True):
    """Everything that replay found out about all accounts together."""

    exchanges: int
    sessions: int
    unpriced: int
    output_pico_usd: int
    optimum_pico_usd: int
    policies: dict[str, PolicySum]


def compared(outcomes: Sequence[Outcome], policies: Sequence[str]) -> Comparison:
    """Add up outcomes of accounts, which may come in any order.

    Raises InternalError where `scrimp-safe` cost an account more than its guard allows: that is never right.
    """
    for outcome in outcomes:
        if outcome.over_guard_pico_usd:
            beyond = dollars(nano_usd(outcome.over_guard_pico_usd))
            raise InternalError(
                f"scrimp-safe went {beyond} beyond the guard of {outcome.account}.", "Please report it."
            )
    optimum = sum(outcome.optimum_pico_usd for outcome in outcomes)
    return Comparison(
        exchanges=sum(outcome.exchanges for outcome in outcomes),
        sessions=sum(len(outcome.sessions[BASELINE]) for outcome in outcomes),
        unpriced=sum(outcome.unpriced for outcome in outcomes),
        output_pico_usd=sum(outcome.output_pico_usd for outcome in outcomes),
        optimum_pico_usd=optimum,
        policies={name: _summed(name, outcomes, optimum) for name in policies},
    )


def _summed(name: str, outcomes: Sequence[Outcome], optimum: int) -> PolicySum:
    cost = sum(outcome.costs[name] for outcome in outcomes)
    causes: dict[Cause, int] = defaultdict(int)
    for outcome in outcomes:
        for cause, amount in outcome.causes[name].items():
            causes[cause] += amount
    ratios = [ratio for outcome in outcomes for ratio in _ratios(outcome, name)]
    return PolicySum(cost, cost / optimum if optimum else None, dict(causes), _dearer(ratios))


def _ratios(outcome: Outcome, name: str) -> list[float]:
    baseline = outcome.sessions[BASELINE]
    return [cost / baseline[session] for session, cost in outcome.sessions[name].items() if baseline[session]]


def _dearer(ratios: Sequence[float]) -> Dearer | None:
    if not ratios:
        return None
    above = [sum(ratio > limit for ratio in ratios) / len(ratios) for limit in (1.0, 1.1)]
    return Dearer(above[0], above[1], max(ratios))
