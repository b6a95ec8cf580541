"""Fit what an account believes of pauses before it knows its user: prints `src/scrimp/core/belief/prior.py`.

Usage: python tools/fit_prior.py PATH... > src/scrimp/core/belief/prior.py

PATH are recorded sessions. The table is that of all their pauses in which a person was waited for, scaled down to
`WORTH` pauses, so that a user's own soon outweigh it. What an hour saves is measured by replaying the same sessions
with the fitted table, so the two are fitted one after the other.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from scrimp.core.belief.account import LEFT, Account, Tally
from scrimp.core.belief.gaps import EDGES_MS, FIRST_MS, LifeTable, expected
from scrimp.replay.branching import steps_of
from scrimp.replay.emulator import Emulator
from scrimp.replay.policies import as_model, cards_of, held, setting_of
from scrimp.replay.rates import Rates
from scrimp.replay.steps import ROOT, Step
from scrimp.replay.traces.discover import find, merge, read_file
from scrimp.replay.traces.links import links_of
from scrimp.upstream.pricefeed import load_book

#: How many pauses of its own user the table is worth, and how many times the share of the groups' ratios.
WORTH = 150
RATIO_SHARE = 3
#: A model for each price of a read, as a share of the base price.
MODELS = ("claude-fable-5-1", "claude-opus-5-5", "claude-opus-4-5")

Pause = tuple[str | None, int, bool, int | None]


def pauses_of(steps: Sequence[Step]) -> Iterator[Pause]:
    """Yield (group, age, whether the person returned, age at which they began another session) of each pause."""
    starts = sorted({step.session_id: step.at_ms for step in reversed(steps)}.items(), key=lambda item: item[1])
    times = [at_ms for _, at_ms in starts]
    waiting: dict[tuple[str, str], Step] = {}
    for step in steps:
        before = waiting.pop((step.session_id, step.thread), None)
        if before is not None:
            kept = step.shared_tokens if step.parent != ROOT else 0
            yield _pause(before, step.at_ms - before.at_ms, 2 * kept >= before.end_tokens, starts, times)
        if step.waiting in {"question", "turn_ended"} and not step.thread:
            waiting[step.session_id, step.thread] = step
    for before in waiting.values():
        yield _pause(before, EDGES_MS[-1], False, starts, times)


def _pause(before: Step, age_ms: int, returned: bool, starts: list[tuple[str, int]], times: list[int]) -> Pause:
    group = "question" if before.waiting == "question" else None if before.signs is None else str(before.signs)
    later = bisect_right(times, before.at_ms)
    left_ms = times[later] - before.at_ms if later < len(starts) else None
    return group, age_ms, returned, left_ms if left_ms is not None and left_ms < age_ms else None


def fitted(pauses: Sequence[Pause]) -> Account:
    """Return an account that knows these pauses, scaled down."""
    table = LifeTable()
    for _, age_ms, returned, left_ms in pauses:
        until_ms = min(age_ms if left_ms is None else left_ms, EDGES_MS[-1])
        table = table.seen(FIRST_MS, until_ms, returned=returned and left_ms is None)
    ratios: dict[str, Tally] = {}
    for group, age_ms, returned, left_ms in pauses:
        end_ms = min(age_ms, EDGES_MS[-1])
        if left_ms is None:
            _add(ratios, group, returned and age_ms > FIRST_MS, expected(table.chances, FIRST_MS, end_ms))
        else:
            _add(ratios, LEFT, returned and age_ms > FIRST_MS, expected(table.chances, max(FIRST_MS, left_ms), end_ms))
            _add(ratios, group, False, expected(table.chances, FIRST_MS, left_ms))
    factor = WORTH / len(pauses)
    share = min(1.0, factor * RATIO_SHARE)
    scaled = {group: Tally(tally.returns * share, tally.foreseen * share) for group, tally in ratios.items()}
    return Account(table=table.scaled(factor), ratios=scaled)


def _add(ratios: dict[str, Tally], group: str | None, returned: bool, foreseen: float) -> None:
    if group is not None:
        tally = ratios.get(group, Tally())
        ratios[group] = Tally(tally.returns + returned, tally.foreseen + foreseen)


def hour_saved(accounts: Sequence[Sequence[Step]], account: Account, model: str) -> tuple[float, float]:
    """Return the price of a read and what an hour would have saved for each appended token, at a model's prices."""
    rates = Rates(load_book())
    saved = appended = share = 0.0
    for recorded in accounts:
        steps = as_model(recorded, model)
        cards = cards_of(steps, rates, latest=True)
        learnt = held(setting_of(Emulator(steps), cards, account))[1]
        saved, appended = saved + learnt.hour_saved, appended + learnt.appended
        share = cards[0].cache_read / cards[0].uncached_input
    return share, saved / appended


def main(paths: list[str]) -> None:
    """Fit, and print the module."""
    found = find(paths)
    recording = merge([read_file(path, named=False) for path in found.files], found.problems)
    accounts = list(steps_of(recording.exchanges, links_of(paths)).values())
    account = fitted([pause for steps in accounts for pause in pauses_of(steps)])
    saved = [hour_saved(accounts, account, model) for model in MODELS]
    ratios = {group: (round(tally.returns, 2), round(tally.foreseen, 2)) for group, tally in account.ratios.items()}
    print(
        TEMPLATE.format(
            returns=_row(account.table.returns),
            seconds=_row(account.table.seconds, digits=0),
            ratios="".join(f'    "{group}": {counts},\n' for group, counts in sorted(ratios.items())),
            saved=", ".join(f"({share:g}, {value:.2f})" for share, value in saved),
        ),
        end="",
    )


def _row(values: Sequence[float], digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


TEMPLATE = '''"""What real sessions of other people teach about pauses, for an account of which nothing is known yet.

Printed by `tools/fit_prior.py` from recorded Claude Code sessions of three public projects (entire_cli, ccviewer and
sniffly, MIT licence): numbers only. The table is worth {worth} pauses of a user's own.
"""

from __future__ import annotations

#: For each span of `gaps.EDGES_MS`: returns of people, and the seconds that they were waited for.
PRIOR_RETURNS = (
    {returns}
)
PRIOR_SECONDS = (
    {seconds}
)

#: group of pauses -> returns, and those that the table alone foresees for it.
PRIOR_RATIOS = {{
{ratios}}}

#: Price of a read over the base price -> what an hour saves, in tokens at the base price, for each appended token.
PRIOR_HOUR_SAVED = ({saved})
'''.replace("{worth}", str(WORTH))

if __name__ == "__main__":
    main(sys.argv[1:])
