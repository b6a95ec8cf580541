"""A client tried twice, each time against a simulator of its own: directly, and through the gateway in safe mode.

::

    client  ----------------------------->  tap, simulator
    client  --> scrimp up --mode safe  --->  tap, simulator
                     |                            |
                  ledger                       invoice

Safe mode moves marks, so bytes are not the same: what is compared is every request without its marks, what the client
made of the answers, and both bills.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypedDict, Unpack

import msgspec

from scrimp.clock import SystemClock
from scrimp.config import Settings
from scrimp.core.belief.exchange import PING, Exchange
from scrimp.gateway.app import create_app as create_gateway
from scrimp.gateway.asgi import App
from scrimp.gateway.build import parts_of
from scrimp.gateway.server import serving
from scrimp.sim.app import create_app
from scrimp.sim.billing import Classes, Line, cost_of_parts
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.store.ledger import open_ledger
from tests.e2e.stand import Seen, Tap, check_bills, unchanged

#: How long a gateway may take to stop, its ledger written.
STOP_SECONDS = 60
#: What an account may lose to wrong guesses beside a fiftieth of its bill, in tokens at the plain input price.
GUARD_TOKENS = 300_000
#: How far a baseline may be from what was not sent, as a share.
ESTIMATE = 0.005
#: How often a sleeper looks at the clock, and how long it is given for what it wakes for.
TICK_SECONDS, PING_SECONDS = 0.005, 0.3
#: Names the agent that a request is of, where it is one of Claude Code's subagents.
_AGENT = "x-claude-code-agent-id"
#: What differs from run to run without anything being different: ids of sessions, devices and agents, ports, durations.
_PASSING = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{64}\b|\ba[0-9a-f]{16}\b|127\.0\.0\.1:\d+"
    r"|(?<=<duration_ms>)\d+|(?<=duration_ms: )\d+"
)


class ShiftedClock:
    """The machine's clock, moved ahead when told to; who sleeps by it wakes in between, when that is due."""

    def __init__(self) -> None:
        self._ahead_ms = 0
        self._due_ms: list[int] = []

    def now_ms(self) -> int:
        """Return the time in milliseconds since the epoch."""
        return SystemClock().now_ms() + self._ahead_ms

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""
        until_ms = self.now_ms() + round(seconds * 1_000)
        self._due_ms.append(until_ms)
        try:
            while self.now_ms() < until_ms:  # noqa: ASYNC110 - a thread of its own moves the clock
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._due_ms.remove(until_ms)

    def advance_ms(self, delta_ms: int) -> None:
        """Let so much time pass; whoever wakes within it is given time to send a ping."""
        end_ms = self.now_ms() + delta_ms
        while (due_ms := min(self._due_ms, default=end_ms)) < end_ms:
            self._move_to(due_ms)
            time.sleep(PING_SECONDS)
        self._move_to(end_ms)

    def _move_to(self, at_ms: int) -> None:
        self._ahead_ms += max(0, at_ms - self.now_ms())


#: A client: it is given a base URL and the clock that it may move, and returns what it made of the answers, as JSON
#: has it. It starts from the same state each time it is called.
Client = Callable[[str, ShiftedClock], Any]
#: Runs a gateway before an upstream, with this ledger, clock and setting of `order`; it yields its address.
Gateway = Callable[[str, Path, ShiftedClock, bool], AbstractContextManager[str]]


@contextmanager
def scrimp_up(upstream: str, db: Path, _clock: ShiftedClock, order: bool) -> Generator[str]:
    """Run `scrimp up --mode safe`; it keeps its own time."""
    command = ("up", "--mode", "safe", "--port", "0", "--upstream", upstream, "--db", str(db))
    environment = {**os.environ, "SCRIMP_ORDER": str(int(order)), "NO_PROXY": "*", "PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        (sys.executable, "-m", "scrimp", *command), env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[3]
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()
    assert 0 == process.returncode


@contextmanager
def beside(upstream: str, db: Path, clock: ShiftedClock, order: bool) -> Generator[str]:
    """Run the same gateway in this process, where it tells the time by a clock that can be moved."""
    services, stop = parts_of(Settings(upstream=upstream, db=str(db), mode="safe", order=order, trust_env=False))
    with serving(create_gateway(dataclasses.replace(services, clock=clock, sleep=clock.sleep), stop)) as url:
        yield url


@dataclass
class Side:
    """One of both runs: what passed before the simulator, its invoice, and what the client made of it."""

    simulator: Simulator
    tap: Tap
    told: Any = None
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def input_nano_usd(self) -> int:
        """Return what the input costs by the invoice, in nano-USD."""
        return sum(map(_input_nano_usd, self.simulator.invoice.lines))

    @property
    def output_nano_usd(self) -> int:
        """Return what everything but the input costs by the invoice, in nano-USD."""
        return self.simulator.invoice.cost_nano_usd - self.input_nano_usd

    @property
    def pings(self) -> list[Exchange]:
        """Return what the gateway sent of itself."""
        return [exchange for exchange in self.exchanges if exchange.origin == PING]

    @property
    def total_input_tokens(self) -> int:
        """Return how long all prompts of the client are together."""
        pinged = sum(each.usage.total_input_tokens for each in self.pings if each.usage)
        return self.simulator.invoice.totals().total_input_tokens - pinged

    def messages(self) -> list[Seen]:
        """Return the client's requests to the Messages API, in the order in which they came: without our own pings."""
        return [seen for seen in self.tap.seen if seen.is_messages and json.loads(seen.body).get("max_tokens") != 0]

    def bare(self) -> list[str]:
        """Return each request without its marks and what passes, in an order that does not hang on timing."""
        return sorted(bare(seen.body) for seen in self.messages())

    def agents(self) -> list[str]:
        """Return the same of what subagents sent."""
        return sorted(bare(seen.body) for seen in self._of_agents())

    @property
    def agents_nano_usd(self) -> int:
        """Return what the subagents cost by the invoice, in nano-USD."""
        names = {dict(seen.answer_headers)["request-id"] for seen in self._of_agents()}
        return sum(line.cost_nano_usd for line in self.simulator.invoice.lines if line.request_id in names)

    def _of_agents(self) -> list[Seen]:
        return [seen for seen in self.messages() if _AGENT in dict(seen.headers)]

    def refusals(self) -> list[int | None]:
        """Return the statuses of what was not answered."""
        return sorted((seen.status for seen in self.messages() if seen.status != HTTPStatus.OK), key=str)


def _input_nano_usd(line: Line) -> int:
    return cost_of_parts([msgspec.structs.replace(part, output_tokens=0) for part in line.parts], line.terms)


def bare(body: bytes) -> str:
    """Return a request without its marks and what passes: a text is the same, whether it stands in a block or alone.

    Results of tools that ran beside each other, and notes of agents that did, come in the order in which these ended.
    """
    request = json.loads(body)
    request.pop("metadata", None)
    for message in request["messages"]:
        content = message["content"]
        if isinstance(content, list) and any(map(_came_as_it_ended, content)):
            message["content"] = sorted(content, key=lambda block: _named(_without_marks(block)))
    return _named(_without_marks(request))


def _came_as_it_ended(block: dict[str, Any]) -> bool:
    return block["type"] == "tool_result" or "<task-notification>" in str(block.get("text"))


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_marks(each) for name, each in value.items() if name != "cache_control"}
        return kept["text"] if kept.keys() == {"type", "text"} else kept
    if isinstance(value, list):
        listed = [_without_marks(each) for each in value]
        return listed[0] if len(listed) == 1 and isinstance(listed[0], str) else listed
    return value


def _named(value: Any) -> str:
    return _PASSING.sub("PASSING", json.dumps(value, sort_keys=True))


class Options(TypedDict, total=False):
    """How a trial may differ: the simulator's rules and pace, the gateway's `order`, and which gateway it is.

    `disturbed` puts an app of the test's own before each simulator.
    """

    rules: Rules
    realtime: bool
    disturbed: Callable[[App], App]
    order: bool
    gateway: Gateway


#: A simulator that takes time only until the first token, so that siblings meet while nothing can be read yet.
PACED: Options = {
    "rules": Rules(first_token_ms=400, uncached_ms_per_1000_tokens=0, output_token_ms=0),
    "realtime": True,
}


class Billed:
    """One client's two runs."""

    def __init__(self, folder: Path, name: str) -> None:
        self._db = folder / "ledger.db"
        self._name = name
        folder.mkdir()

    def run(self, client: Client, **options: Unpack[Options]) -> None:
        """Run the client directly, then through the gateway."""
        self.direct = self._side(client, options, None)
        self.through = self._side(client, options, options.get("gateway", scrimp_up))
        with open_ledger(self._db, must_exist=True) as ledger:
            self.through.exchanges = list(ledger.exchanges())

    def _side(self, client: Client, options: Options, gateway: Gateway | None) -> Side:
        clock, simulator = ShiftedClock(), Simulator(seed=1, rules=options.get("rules") or Rules())
        simulated = create_app(simulator, clock, realtime=options.get("realtime", False))
        side = Side(simulator, Tap(options.get("disturbed", unchanged)(simulated)))
        with ExitStack() as open_:
            url = open_.enter_context(serving(side.tap))
            if gateway is not None:
                url = open_.enter_context(gateway(url, self._db, clock, options.get("order", False)))
            side.told = client(url, clock)
        return side

    def check(self) -> None:
        """Check that nothing is dearer, refused or different, and that the ledger knows both bills."""
        self.check_bills()
        self._check_same()

    def check_agents(self) -> None:
        """Check that the agents asked the same, that waiting for each other paid, and that the ledger has both bills.

        Of what was not sent alone the ledger knows no length, so its baseline is an estimate.
        """
        self.check_bills()
        assert self.direct.agents() == self.through.agents()
        assert self.through.agents_nano_usd < self.direct.agents_nano_usd
        alone = sum(each.baseline_cost_nano_usd or 0 for each in self.through.exchanges if each.agent_id)
        assert abs(alone - self.direct.agents_nano_usd) <= ESTIMATE * self.direct.agents_nano_usd

    def check_gambled(self) -> None:
        """Check the same as `check` of a session whose cache was held in vain: all that it lost are its pings.

        They stay within what an account may lose at most (facts on holding, section 6; issue C, "Cost").
        """
        self._check_ledger()
        self._check_same()
        pinged = sum(each.cost_nano_usd or 0 for each in self.through.pings)
        assert self.through.input_nano_usd - pinged <= self.direct.input_nano_usd
        assert 100 * self.through.input_nano_usd <= 102 * self.direct.input_nano_usd + 100 * self._guard_nano_usd

    def check_bills(self) -> None:
        """Check that the bill is no higher, that nothing more was refused, and that the ledger is the invoice."""
        self._check_ledger()
        assert self.through.input_nano_usd <= self.direct.input_nano_usd + self._slack_nano_usd

    def _check_ledger(self) -> None:
        print(self.line())
        assert self.direct.refusals() == self.through.refusals()
        assert sum(seen.is_messages for seen in self.through.tap.seen) == len(self.through.exchanges)
        assert all(exchange.planned for exchange in self.through.exchanges)
        check_bills(self.through.simulator.invoice.lines, self.through.exchanges)

    def _check_same(self) -> None:
        assert self.direct.bare() == self.through.bare()
        assert self.direct.told == self.through.told
        assert abs(self.direct.input_nano_usd - self._baseline_input_nano_usd) <= self._slack_nano_usd

    @property
    def _baseline_input_nano_usd(self) -> int:
        """Return the input's part of the baseline; the output is the same with us and without."""
        return self.baseline_nano_usd - self.through.output_nano_usd

    @property
    def _slack_nano_usd(self) -> int:
        """Return what the tokens may cost by which the runs differ of themselves, because a duration has more digits.

        It is zero where all prompts are equally long, and both bills are then compared to the nano-dollar.
        """
        tokens = abs(self.direct.total_input_tokens - self.through.total_input_tokens)
        return self._price(Classes(cache_write_1h_input_tokens=tokens))

    @property
    def _guard_nano_usd(self) -> int:
        return self._price(Classes(uncached_input_tokens=GUARD_TOKENS))

    def _price(self, classes: Classes) -> int:
        """Return what this costs with the model that the client asked first, in nano-USD."""
        return cost_of_parts([classes], self.direct.simulator.invoice.lines[0].terms)

    @property
    def baseline_nano_usd(self) -> int:
        """Return what the ledger says that the run would have cost alone, in nano-USD."""
        return sum(each.baseline_cost_nano_usd or 0 for each in self.through.exchanges)

    def line(self) -> str:
        """Return both bills as one line for a person to read."""
        direct, through = self.direct, self.through
        bills = f"input {direct.input_nano_usd} direct, {through.input_nano_usd} in safe mode"
        alone = f"the ledger's baseline of it {self._baseline_input_nano_usd} nano-USD"
        counts = f"{len(direct.messages())} and {len(through.messages())} requests, {len(through.pings)} pings"
        return f"\nmeasured: {self._name}: {bills}, {alone}; {counts}"


class Bills:
    """Makes the trials of one test, so that what they cost can be recorded."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._made: list[Billed] = []

    def make(self) -> Billed:
        """Return a trial that is not run yet."""
        made = Billed(self._folder / f"bill-{len(self._made)}", self._name)
        self._made.append(made)
        return made

    def row(self) -> dict[str, Any]:
        """Return what the clients did and cost, for the record."""
        exchanges = [exchange for made in self._made for exchange in made.through.exchanges]
        return {
            "clients": sorted({exchange.client or "unknown" for exchange in exchanges}),
            "exchanges": len(exchanges),
            "direct_input_nano_usd": sum(made.direct.input_nano_usd for made in self._made),
            "safe_input_nano_usd": sum(made.through.input_nano_usd for made in self._made),
            "ledger_nano_usd": sum(exchange.cost_nano_usd or 0 for exchange in exchanges),
            "baseline_nano_usd": sum(made.baseline_nano_usd for made in self._made),
        }
