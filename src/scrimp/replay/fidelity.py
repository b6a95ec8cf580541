"""How well replay predicts the bills that were recorded, and every miss with its money.

The prediction is `as_recorded` on steps that know nothing of the recorded reads and writes (see `branching`). Both are
billed from the same card, input only. Pings that were sent do what they did to the cache; nothing is predicted of their
own bills, so those are on neither side. A miss names what the prediction assumed and what was read instead, so that
what stays unexplained can be looked up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec

from scrimp.core.belief.cache import TTL_MS
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.prices import RateCard, nano_usd
from scrimp.core.wire.usage import ZERO, Usage
from scrimp.replay.emulator import bill
from scrimp.replay.rates import Rates, lines_of
from scrimp.replay.steps import ROOT, Step
from scrimp.replay.traces.claude_history import Link

#: An entry may go a little before or after its time; tool turns later than this are not scored (facts on data).
_SURE_SHARE_OF_LIFE = 0.9
#: Reads that are off by no more than this many tokens are the length of texts that was estimated, no miss.
_NEGLIGIBLE_TOKENS = 1_000


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange that was billed otherwise than predicted by more than an estimate's error.

    `kind` says how: "lost" (less was read: an entry was gone, or the prompt changed where nothing shows it), "outlived"
    (an entry was read that should have been gone) or "deeper" (more of a changed prompt still stood than is known).
    `cause` is what the prediction says of the prompt. `cost_nano_usd` is recorded less predicted.
    """

    exchange_id: str
    session_id: str
    at_ms: int
    kind: str
    cause: str | None
    predicted_read_tokens: int
    recorded_read_tokens: int
    cost_nano_usd: int


class Fidelity(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded bills against predicted ones, the input side of all of the client's exchanges whose price is known.

    * `total_ratio` is predicted / recorded; `median_session_error` the median of the sessions' absolute errors.
    * `tool_turn_reads_exact` is the share of `tool_turns`, requests that bring tool results while their prefix lives,
      whose cache read was predicted to the token.
    * `misses` are the dearest first; `missed_nano_usd` sums their absolute money by kind and cause.
    """

    sessions: int
    exchanges: int
    total_ratio: float | None
    median_session_error: float | None
    tool_turns: int
    tool_turn_reads_exact: float | None
    recorded_nano_usd: int
    predicted_nano_usd: int
    missed_nano_usd: dict[str, int]
    misses: list[Miss]


class _Score:
    """Sums over exchanges, in pico-USD."""

    def __init__(self) -> None:
        self.sessions: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.exchanges = self.tool_turns = self.exact = 0
        self.misses: list[Miss] = []

    def add(self, step: Step, recorded: Usage, predicted: Usage, card: RateCard) -> None:
        """Add one exchange."""
        recorded_pico_usd, predicted_pico_usd = _input_cost(recorded, card), _input_cost(predicted, card)
        sums = self.sessions[step.session_id]
        sums[0] += recorded_pico_usd
        sums[1] += predicted_pico_usd
        self.exchanges += 1
        expected, actual = predicted.cache_read_input_tokens, recorded.cache_read_input_tokens
        if abs(expected - actual) > _NEGLIGIBLE_TOKENS:
            self.misses.append(
                Miss(
                    exchange_id=step.exchange_id,
                    session_id=step.session_id,
                    at_ms=step.at_ms,
                    kind=_kind_of(step, expected, actual),
                    cause=step.cause,
                    predicted_read_tokens=expected,
                    recorded_read_tokens=actual,
                    cost_nano_usd=nano_usd(recorded_pico_usd - predicted_pico_usd),
                )
            )

    def fidelity(self) -> Fidelity:
        """Return the score."""
        recorded = sum(sums[0] for sums in self.sessions.values())
        predicted = sum(sums[1] for sums in self.sessions.values())
        errors = [abs(sums[1] - sums[0]) / sums[0] for sums in self.sessions.values() if sums[0]]
        missed: dict[str, int] = defaultdict(int)
        for miss in self.misses:
            missed[f"{miss.kind}, {miss.cause or 'no change seen'}"] += abs(miss.cost_nano_usd)
        return Fidelity(
            sessions=len(self.sessions),
            exchanges=self.exchanges,
            total_ratio=predicted / recorded if recorded else None,
            median_session_error=median(errors) if errors else None,
            tool_turns=self.tool_turns,
            tool_turn_reads_exact=self.exact / self.tool_turns if self.tool_turns else None,
            recorded_nano_usd=nano_usd(recorded),
            predicted_nano_usd=nano_usd(predicted),
            missed_nano_usd=dict(sorted(missed.items(), key=lambda item: -item[1])),
            misses=sorted(self.misses, key=lambda miss: -abs(miss.cost_nano_usd)),
        )


def _input_cost(usage: Usage, card: RateCard) -> int:
    return card.cost_pico_usd(msgspec.structs.replace(usage, output_tokens=0))


def _kind_of(step: Step, expected: int, actual: int) -> str:
    if actual < expected:
        return "lost"
    return "outlived" if expected == 0 or expected < min(step.shared_tokens, step.base_tokens + 1) else "deeper"


def _is_sure_tool_turn(step: Step, steps: Sequence[Step], link: Link | None) -> bool:
    """Whether a request brings tool results while the entry of the one before it surely lives.

    Where no message was recorded, as in a ledger, a request brings results if the one before it stopped for them.
    """
    if step.parent == ROOT:
        return False
    before = steps[step.parent]
    brings_results = before.waiting == "tool" if link is None else link.prompter is None
    used_ms = max((ping.at_ms for ping in before.pings if ping.at_ms < step.at_ms), default=before.at_ms)
    return brings_results and step.at_ms - used_ms < _SURE_SHARE_OF_LIFE * TTL_MS[before.ttl or "5m"]


def fidelity(
    accounts: Mapping[str, Sequence[Step]],
    exchanges: Iterable[Exchange],
    links: Mapping[str, Link],
    rates: Rates,
) -> Fidelity:
    """Predict every recorded bill and compare; exchanges without a known price are left out."""
    known = {exchange.exchange_id: exchange for exchange in exchanges}
    score = _Score()
    for steps in accounts.values():
        predicted = bill(steps, side_requests=True).usages
        for step, usage in zip(steps, predicted, strict=True):
            exchange = known[step.exchange_id]
            recorded = exchange.usage or ZERO
            card = rates.cards(lines_of(exchange), exchange.opened_at_ms)[0]
            if card is None:
                continue
            score.add(step, recorded, usage, card)
            if _is_sure_tool_turn(step, steps, links.get(exchange.message_id or exchange.exchange_id)):
                score.tool_turns += 1
                score.exact += usage.cache_read_input_tokens == recorded.cache_read_input_tokens
    return score.fidelity()
