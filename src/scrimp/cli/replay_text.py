"""A replay as a person reads it: the table of policies, where the regret comes from, what to mind last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrimp.cli.report_text import PROBLEMS_SHOWN, count
from scrimp.core.wire.prices import nano_usd
from scrimp.money import dollars
from scrimp.replay.regret import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrimp.replay.compare import Comparison
    from scrimp.replay.fidelity import Fidelity
    from scrimp.replay.gather import Material

#: Causes below this share of the optimum are left out of the second table.
_LEAST_SHARE = 0.0005


def as_text(comparison: Comparison, material: Material, fidelity: Fidelity | None, basis: str) -> str:
    """Return the whole text."""
    where = f"{count(comparison.exchanges, 'request')} in {count(comparison.sessions, 'session')}"
    parts = [
        f"{where}, the input side at {basis}.",
        _policies(comparison),
        "Cost beyond the optimum by cause, in percent of the optimum:",
        _causes(comparison),
        "\n".join(_notes(comparison, material, fidelity)),
    ]
    return "\n\n".join(parts)


def _policies(comparison: Comparison) -> str:
    from tabulate import tabulate

    baseline = comparison.policies.get("automatic")
    rows = [["optimum", dollars(nano_usd(comparison.optimum_pico_usd)), "1.000", ""]]
    for name, policy in comparison.policies.items():
        beside = ""
        if baseline is not None and baseline.input_pico_usd:
            beside = f"{policy.input_pico_usd / baseline.input_pico_usd - 1:+.1%}"
        regret = "" if policy.regret is None else f"{policy.regret:.3f}"
        rows.append([name, dollars(nano_usd(policy.input_pico_usd)), regret, beside])
    headers = ("policy", "input cost", "x optimum", "beside automatic")
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", "right", "right", "right"))


def _causes(comparison: Comparison) -> str:
    from tabulate import tabulate

    optimum = comparison.optimum_pico_usd
    if not optimum:
        return "(nothing was billed)"
    names = list(comparison.policies)
    rows = []
    for cause in CAUSES:
        shares = [comparison.policies[name].causes.get(cause, 0) / optimum for name in names]
        if any(abs(share) >= _LEAST_SHARE for share in shares):
            rows.append([cause.replace("_", " "), *(f"{100 * share:.1f}" if share else "" for share in shares)])
    return tabulate(rows, ["cause", *names], disable_numparse=True, colalign=["left", *["right"] * len(names)])


def _notes(comparison: Comparison, material: Material, fidelity: Fidelity | None) -> Iterator[str]:
    yield (
        "Note: the optimum knows all times beforehand. It covers what leaves every prompt as it was, where each token "
        "keeps the lifetime that it was written with."
    )
    safe = comparison.policies.get("scrimp-safe")
    if safe is not None and safe.sessions is not None:
        yield (
            "Note: an account is guarded, a session is not. Beside automatic caching "
            f"{safe.sessions.dearer:.0%} of the sessions are dearer under scrimp-safe, "
            f"{safe.sessions.by_a_tenth:.0%} by more than a tenth, the worst {safe.sessions.worst:.2f} times as dear: "
            "mostly those that nobody came back to."
        )
    pings = sum(len(step.pings) for steps in material.accounts.values() for step in steps)
    if pings:
        yield f"Note: as-recorded alone counts {count(pings, 'ping')} that Scrimp sent; each policy decides on its own."
    if comparison.unpriced:
        yield f"Note: {count(comparison.unpriced, 'request')} of models without a known price are left out."
    if fidelity is not None and fidelity.total_ratio is not None:
        yield (
            f"Note: replayed as recorded, the sums are {fidelity.total_ratio - 1:+.1%} off the recorded bills, "
            f"in the median session {fidelity.median_session_error or 0:.1%}."
        )
    for problem in material.problems[:PROBLEMS_SHOWN]:
        yield f"Note: {problem}"
    if len(material.problems) > PROBLEMS_SHOWN:
        yield f"Note: {count(len(material.problems) - PROBLEMS_SHOWN, 'more problem')}; --json has them all."
