"""What caching policies cost on recorded sessions beside the optimum, and how well replay predicts recorded bills.

Each half of the sessions is replayed with what the other half teaches, since the shipped prior knows both. The bills
are the recorded ones; no simulator has a part in this. The chart of README is drawn on the way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.prices import nano_usd
from scrimp.money import in_usd
from scrimp.replay.branching import steps_of
from scrimp.replay.chart import svg
from scrimp.replay.compare import Comparison, Outcome, Task, compared, replayed
from scrimp.replay.fidelity import fidelity
from scrimp.replay.gather import Material, gather
from scrimp.replay.policies import POLICIES
from scrimp.replay.rates import Rates
from scrimp.upstream.pricefeed import load_book

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SESSIONS, CHATS = DATA / "claude_code_sessions", DATA / "mooncake"
CHART = ROOT / "docs" / "replay.svg"
ALL = tuple(POLICIES)
#: A model for each price of a read, and how far above the optimum `scrimp-safe` may be with it.
TARGETS = {"claude-opus-4-5": ("0.1", 1.11), "claude-opus-5-5": ("0.05", 1.14), "claude-fable-5-1": ("0.025", 1.16)}
#: How far replay may be off the recorded bills: in all, in the median session; and reads of tool turns that are exact.
TOTAL_OFF, SESSION_OFF, READS_EXACT = 0.05, 0.01, 0.99
TITLE = "Input cost of {requests:,} recorded requests by policy, against the clairvoyant optimum"


def halves(exchanges: Sequence[Exchange]) -> tuple[list[Exchange], list[Exchange]]:
    """Split each project's sessions in the middle, by the time of their first request."""
    order: dict[str | None, dict[str | None, None]] = {}
    for exchange in exchanges:
        order.setdefault(exchange.project, {})[exchange.session_id] = None
    early = {id_ for sessions in order.values() for id_ in list(sessions)[: (len(sessions) + 1) // 2]}
    first = [exchange for exchange in exchanges if exchange.session_id in early]
    return first, [exchange for exchange in exchanges if exchange.session_id not in early]


def crossed(material: Material, model: str | None) -> Comparison:
    """Replay each half with what the other one teaches, at the prices of a model, None for each request's own."""
    from tools.fit_prior import fitted, pauses_of  # noqa: PLC0415 - the tools are beside this folder, not installed

    book = load_book()
    split = [steps_of(half, material.links) for half in halves(material.exchanges)]
    outcomes: list[Outcome] = []
    for taught, told in (split, split[::-1]):
        prior = fitted([pause for steps in taught.values() for pause in pauses_of(steps)])
        outcomes += [replayed(Task(name, steps, ALL, book, model, prior)) for name, steps in told.items()]
    return compared(outcomes, ALL)


def _costs(comparison: Comparison) -> dict[str, Any]:
    optimum = in_usd(nano_usd(comparison.optimum_pico_usd))
    costs = {name: in_usd(nano_usd(each.input_pico_usd)) for name, each in comparison.policies.items()}
    return {"optimum": optimum, **costs}


def _over_optimum(comparison: Comparison) -> dict[str, float]:
    return {name: round(policy.regret or 0, 3) for name, policy in comparison.policies.items()}


def _single(comparison: Comparison) -> dict[str, float]:
    """Return how single sessions fare under `scrimp-safe` beside automatic caching."""
    sessions = comparison.policies["scrimp-safe"].sessions
    if sessions is None:
        return {}
    shares = {"dearer": sessions.dearer, "dearer_by_a_tenth": sessions.by_a_tenth, "worst": sessions.worst}
    return {name: round(share, 3) for name, share in shares.items()}


def _chats(model: str) -> float | None:
    """Return the cost of traffic without tools under `scrimp-safe`, over automatic caching; None without a trace."""
    if not CHATS.is_dir():
        return None
    tasks = [Task(name, steps, ALL, load_book(), model) for name, steps in gather([str(CHATS)]).accounts.items()]
    costs = compared([replayed(task) for task in tasks], ALL).policies
    return round(costs["scrimp-safe"].input_pico_usd / costs["automatic"].input_pico_usd, 3)


def main() -> int:
    """Measure, print one JSON object, and say by the exit code whether the promises hold."""
    if not SESSIONS.is_dir():
        return 2
    material = gather([str(SESSIONS)])
    predicted = fidelity(material.accounts, material.exchanges, material.links, Rates(load_book()))
    own = crossed(material, None)
    by_price = {price: crossed(material, model) for model, (price, _) in TARGETS.items()}
    over = {price: _over_optimum(comparison) for price, comparison in by_price.items()}
    chats = {price: _chats(model) for model, (price, _) in TARGETS.items()}
    figures = {
        "exchanges": own.exchanges,
        "sessions": len({exchange.session_id for exchange in material.exchanges}),
        "fidelity": {
            "total_ratio": round(predicted.total_ratio or 0, 4),
            "median_session_error": round(predicted.median_session_error or 0, 5),
            "tool_turn_reads_exact": round(predicted.tool_turn_reads_exact or 0, 4),
        },
        "input_cost_usd": _costs(own),
        "over_optimum": over,
        "single_sessions": {price: _single(comparison) for price, comparison in by_price.items()},
        "chats_over_automatic": chats,
        "promised_over_optimum": dict(TARGETS.values()),
    }
    CHART.write_text(svg(own, TITLE.format(requests=own.exchanges)) + "\n", encoding="utf-8")
    print(json.dumps(figures))
    is_cheap = all(over[price]["scrimp-safe"] <= limit for price, limit in TARGETS.values())
    is_true = (
        abs((predicted.total_ratio or 0) - 1) <= TOTAL_OFF
        and (predicted.median_session_error or 0) <= SESSION_OFF
        and (predicted.tool_turn_reads_exact or 0) >= READS_EXACT
    )
    return 0 if is_cheap and is_true and all(each is None or each <= 1 for each in chats.values()) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
