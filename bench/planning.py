"""What planning a request costs: CPU of one plan by mode and size, of conversations that grow by the same turn.

    python bench/planning.py

Bodies of 2, 50, 200 and 800 KB that are planned as an engine does it, with what it remembers of the session: in observe
mode, in safe mode, and in safe mode with a system prompt of 400 lines one of which changes in every request, left there
or moved ("order"). Planning is recognising the session and `plan`; reading the body stands beside it. All conversations
take turns, request by request; figures are the best round's medians, in milliseconds. Garbage collection is off: it
would strike whichever request is due, in each round the same one.

Exit code 0: the limits hold; 1: one does not.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from peers.bodies import conversation
from scrimp.core.belief.events import FirstToken, RequestArrived, UsageSeen
from scrimp.core.belief.session import Belief, session_of, step, tails_of
from scrimp.core.belief.templates import look
from scrimp.core.plan.planning import Policy, plan
from scrimp.core.wire.request import parse
from scrimp.engine.chains import Chains
from scrimp.engine.readings import Readings
from scrimp.engine.weights import Weights
from scrimp.upstream.pricefeed import load_book

#: The promises: milliseconds of a plan at 200 KB, and how much dearer four times the body may be, with the same turn.
CPU_MS_MAX, GROWTH_MAX = 1.0, 2.0
#: Size in KB -> turns of the first request; 2 KB is a request without tools.
TURNS = {"2": 0, "50": 1, "200": 38, "800": 190}
RATED, LONGEST = "200", "800"
ROUNDS, REQUESTS, WARM = 3, 24, 4
START_MS, PAUSE_MS = 1_790_000_000_000, 20_000
LINES, LINE_WORDS = 400, 5
SAFE, ORDERED = Policy(mode="safe"), Policy(mode="safe", order=True)
#: Name -> what is allowed, whether the system prompt changes, and how many turns each request adds.
WAYS = {
    "observe": (Policy(), False, 1),
    "observe, a line changes": (Policy(), True, 1),
    "safe": (SAFE, False, 1),
    "safe, four new turns": (SAFE, False, 4),
    "safe, a line changes": (SAFE, True, 1),
    "order, a line changes": (ORDERED, True, 1),
}


def bodies(size: str, *, changes: bool, appended: int) -> Iterator[bytes]:
    """Yield the requests of one conversation."""
    grown = conversation("planning", TURNS[size], REQUESTS * appended)
    for number, raw in enumerate(list(grown)[::appended]):
        body = json.loads(raw)
        if size == "2":
            body |= {"system": "Be brief.", "tools": [], "messages": body["messages"][:1]}
        elif changes:
            words = body["system"][0]["text"].split()
            lines = [" ".join(words[at : at + LINE_WORDS]) for at in range(0, LINES * LINE_WORDS, LINE_WORDS)]
            lines[0] = f"Current time: 12:{number // 60:02d}:{number % 60:02d}"
            body["system"][0]["text"] = "\n".join(lines)
        yield json.dumps(body, separators=(",", ":")).encode()


class Costs(NamedTuple):
    """CPU of one request, in milliseconds: reading its body, planning it, and of that its templates."""

    reading: float
    planning: float
    templates: float


class Engine:
    """What stands around `plan` in an engine, for one conversation."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.belief = Belief()
        self.readings, self.weights, self.chains = Readings(), Weights(), Chains()
        self.now_ms = START_MS
        self.prices = load_book()

    def ask(self, body: bytes) -> Costs:
        """Read and plan a request, and believe that it was answered."""
        self.now_ms += PAUSE_MS
        begun = time.process_time()
        request = parse(body, self.readings)
        read = time.process_time()
        found = self.chains.trails(request)
        planned = plan(
            request,
            self.belief,
            self.policy,
            self.prices,
            self.now_ms,
            self.weights.count,
            found,
            chains=self.chains.chain,
        )
        session = session_of(self.belief, request, None, str(self.now_ms), found)
        ended = time.process_time()
        look(self.belief.families, planned.prompt)
        looked = time.process_time()
        self._answered(
            RequestArrived(
                str(self.now_ms),
                session,
                planned.prompt,
                planned.split,
                self.now_ms,
                tails_of(request, found),
                planned.kinds,
                planned.shadows,
                look=planned.look,
            )
        )
        return Costs(*(1e3 * each for each in (read - begun, ended - read, looked - ended)))

    def _answered(self, arrived: RequestArrived) -> None:
        name = arrived.exchange_id
        for event in (
            arrived,
            FirstToken(name, self.now_ms + 1),
            UsageSeen(name, arrived.split.usage, self.now_ms + 2),
        ):
            self.belief = step(self.belief, event)


def measured() -> dict[tuple[str, str], Costs]:
    """Play one round of all conversations, a request of each in turn; return the medians of each."""
    playing = {
        (name, size): (Engine(policy), list(bodies(size, changes=changes, appended=appended)))
        for name, (policy, changes, appended) in WAYS.items()
        for size in TURNS
    }
    costs: dict[tuple[str, str], list[Costs]] = {key: [] for key in playing}
    for number in range(REQUESTS):
        for key, (engine, asked) in playing.items():
            costs[key].append(engine.ask(asked[number]))
    return {key: Costs(*map(median, zip(*each[WARM:], strict=True))) for key, each in costs.items()}


def figures(rounds: list[dict[tuple[str, str], Costs]]) -> dict[str, Any]:
    """Return the best of the rounds as a table, and what was promised of it."""
    best = {key: Costs(*map(min, zip(*(each[key] for each in rounds), strict=True))) for key in rounds[0]}
    table = {
        part: {name: {f"{size} KB": round(getattr(best[name, size], part), 3) for size in TURNS} for name in WAYS}
        for part in Costs._fields
    }
    rated = {name: best[name, RATED].planning for name in WAYS}
    return {
        **{f"{part}_cpu_ms": each for part, each in table.items()},
        "planning_of_800_kb_to_200_kb": {
            name: round(best[name, LONGEST].planning / cost, 2) for name, cost in rated.items()
        },
        "planning_to_reading_at_200_kb": {
            name: round(cost / best[name, RATED].reading, 2) for name, cost in rated.items()
        },
        "promised": {"cpu_ms_at_most_at_200_kb": CPU_MS_MAX, "ratio_800_kb_to_200_kb_at_most": GROWTH_MAX},
    }


def main() -> int:
    """Measure, print one JSON object, and say by the exit code whether the promises hold."""
    gc.disable()
    found = figures([measured() for _ in range(ROUNDS)])
    print(json.dumps(found))
    costs = [each[f"{RATED} KB"] for name, each in found["planning_cpu_ms"].items() if name != "safe, four new turns"]
    grown = found["planning_of_800_kb_to_200_kb"].values()
    return 0 if max(costs) <= CPU_MS_MAX and max(grown) <= GROWTH_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
