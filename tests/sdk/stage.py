"""The real SDK with the middleware in it, before a simulator on a loopback socket: the library as it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.gateway.server import serving
from scrimp.sdk import Middleware
from scrimp.sim.app import create_app
from scrimp.sim.billing import Line
from scrimp.sim.faults import Fault as SimFault
from scrimp.sim.faults import Kind, Script
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.store.ledger import MemoryLedger
from tests.e2e.stand import check_bills

KEY = "sk-ant-fake-sdk"
MODEL = "claude-opus-5-5"
#: Long enough to be cached by every model.
SYSTEM = "Read each file, then say what it is for. " * 600
HELLO: Any = {"model": MODEL, "max_tokens": 1_000, "system": SYSTEM, "messages": [{"role": "user", "content": "Hi."}]}
SHELL = {
    "name": "Bash",
    "description": "Run a command.",
    "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}
START_MS = 1_790_000_000_000


class Ticking(VirtualClock):
    """Virtual time in which no two looks at the clock see the same."""

    def now_ms(self) -> int:
        """Return the time, a millisecond later than it was."""
        self.advance_ms(1)
        return super().now_ms()


class Stage:
    """A simulator at `url`, and a ledger; both live in one virtual time. `asked` are the bodies that arrived."""

    def __init__(
        self, *, rules: Rules | None = None, faults: Iterable[Kind | None] = (), realtime: bool = False
    ) -> None:
        self.clock = Ticking(START_MS)
        self.simulator = Simulator(seed=1, rules=rules or Rules())
        script = Script([None if kind is None else SimFault(kind) for kind in faults])
        self.app = create_app(self.simulator, self.clock, record=True, faults=script, realtime=realtime)
        self.ledger = MemoryLedger()
        self.url = ""

    def middleware(self, **options: Any) -> Middleware:
        """Return a middleware that writes this ledger and lives in this time."""
        return Middleware(**{"ledger": self.ledger, "clock": self.clock, **options})

    def client(self, *middleware: Middleware, **options: Any) -> anthropic.Anthropic:
        """Return a synchronous client."""
        return anthropic.Anthropic(**{"base_url": self.url, "api_key": KEY, "middleware": middleware, **options})

    def async_client(self, *middleware: Middleware, **options: Any) -> anthropic.AsyncAnthropic:
        """Return an asynchronous client."""
        return anthropic.AsyncAnthropic(**{"base_url": self.url, "api_key": KEY, "middleware": middleware, **options})

    @property
    def exchanges(self) -> list[Exchange]:
        """Return what the ledger holds, in the order of opening."""
        return list(self.ledger.exchanges())

    @property
    def lines(self) -> list[Line]:
        """Return the simulator's invoice."""
        return self.simulator.invoice.lines

    @property
    def bill_nano_usd(self) -> int:
        """Return the sum of the invoice, in nano-USD."""
        return self.simulator.invoice.cost_nano_usd

    @property
    def asked(self) -> list[bytes]:
        """Return the bodies that arrived at the Messages API."""
        return [each.body for each in self.app.recorded if each.path == "/v1/messages"]

    @property
    def headers(self) -> list[dict[str, str]]:
        """Return the headers that arrived with them."""
        return [dict(each.headers) for each in self.app.recorded if each.path == "/v1/messages"]

    def checked(self) -> list[Exchange]:
        """Return the exchanges, once they were found to be the invoice."""
        check_bills(self.lines, self.exchanges)
        return self.exchanges


@contextmanager
def staged(stage: Stage | None = None) -> Iterator[Stage]:
    """Serve a stage for as long as the context lasts."""
    stage = stage or Stage()
    with serving(stage.app) as url:
        stage.url = url
        yield stage


def create(client: anthropic.Anthropic) -> Any:
    """Ask for an answer at once."""
    return client.messages.create(**HELLO)


def stream(client: anthropic.Anthropic) -> Any:
    """Ask for a stream and read it."""
    with client.messages.stream(**HELLO) as stream:
        return stream.get_final_message()


async def create_async(client: anthropic.AsyncAnthropic) -> Any:
    """Ask for an answer at once."""
    return await client.messages.create(**HELLO)


async def stream_async(client: anthropic.AsyncAnthropic) -> Any:
    """Ask for a stream and read it."""
    async with client.messages.stream(**HELLO) as stream:
        return await stream.get_final_message()


def unmarked(body: bytes) -> Any:
    """Return what a body says, without its marks; a lone text block is its text."""
    return _unmarked(json.loads(body))


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _unmarked(each) for name, each in value.items() if name != "cache_control"}
        return kept["text"] if kept.keys() == {"type", "text"} else kept
    if isinstance(value, list):
        listed = [_unmarked(each) for each in value]
        return listed[0] if len(listed) == 1 and isinstance(listed[0], str) else listed
    return value


def tool_loop(client: anthropic.Anthropic, turns: int, **fields: Any) -> list[Any]:
    """Let a model work with a shell for some turns; return its messages."""
    messages: list[Any] = [{"role": "user", "content": "SCENARIO:loop30 Mend the test."}]
    told = []
    for turn in range(turns):
        answer = client.messages.create(**{**HELLO, "tools": [SHELL], "messages": messages, **fields})
        told.append(answer)
        messages.append({"role": "assistant", "content": answer.content})
        uses = [block.id for block in answer.content if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": use, "content": f"{turn}: all is well. " * 20} for use in uses
        ]
        messages.append({"role": "user", "content": results or "Go on."})
    return told
