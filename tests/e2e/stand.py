"""Where a real client is tried: client, gateway and simulator on real sockets, with a tap before and one behind.

::

    client  --tap "front"-->  gateway  --tap "back"-->  simulator
                                 |                          |
                              ledger                     invoice

Both taps write down what passes, bytes and headers. `Stand.checked` holds them and both bills against each other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from scrimp.clock import SystemClock
from scrimp.config import Settings
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.gateway.asgi import App, Message, Receive, Scope, Send
from scrimp.gateway.build import build
from scrimp.gateway.server import serving
from scrimp.sim.app import create_app
from scrimp.sim.billing import Line
from scrimp.sim.machine import Simulator
from scrimp.sim.rules import Rules
from scrimp.store.ledger import open_ledger

#: What belongs to one connection and may differ between the two sides (RFC 9110, section 7.6.1).
HOP_HEADERS = frozenset({"connection", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"})
#: What the gateway adds to an answer, and nothing else.
ADDED_HEADERS = frozenset({"scrimp-exchange", "scrimp-plan"})
#: How long a test waits for something that a client does within a second or two.
PATIENCE_SECONDS = 30

MESSAGES = "/v1/messages"
Headers = list[tuple[str, str]]


def _text(headers: list[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]


def end_to_end(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return, in their order, the headers that have to be the same on both sides."""
    return tuple(pair for pair in headers if pair[0] not in HOP_HEADERS | ADDED_HEADERS)


@dataclass
class Seen:
    """One request and its answer as they passed a tap; `left` says that the asking side went before the end."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    status: int | None = None
    answer_headers: Headers = field(default_factory=list)
    answer: bytes = b""
    ended: bool = False
    left: bool = False

    @property
    def is_messages(self) -> bool:
        """Tell whether the Messages API itself is asked, not one of its neighbours."""
        return self.target.partition("?")[0] == MESSAGES

    @property
    def wire(self) -> tuple[object, ...]:
        """Return everything that has to be the same on both sides, in an order that sorts."""
        asked = (self.method, self.target, end_to_end(self.headers), self.body)
        return (*asked, self.status, end_to_end(self.answer_headers), self.answer)


class Tap:
    """An ASGI app that passes everything on to another one and writes it down.

    `answering` is set as soon as the first byte of an answer has passed.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.seen: list[Seen] = []
        self.answering = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        seen = Seen(scope["method"], target.decode("latin-1"), _text(scope["headers"]))
        self.seen.append(seen)
        passing: asyncio.Queue[Message] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(_pump(receive, passing, seen))
            await self._app(scope, passing.get, self._noting(send, seen))
            pump.cancel()

    def _noting(self, send: Send, seen: Seen) -> Send:
        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status, seen.answer_headers = message["status"], _text(message["headers"])
            else:
                seen.answer += message.get("body", b"")
                seen.ended = not message.get("more_body", False)
            await send(message)
            if seen.answer:
                self.answering.set()

        return note


async def _pump(receive: Receive, passing: asyncio.Queue[Message], seen: Seen) -> None:
    """Take in what the asking side says, its leaving too, whether or not the app listens."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            seen.left = not seen.ended
            await passing.put(message)
            return
        seen.body += message.get("body", b"")
        await passing.put(message)


def unchanged(app: App) -> App:
    """Leave the simulator as it is."""
    return app


class Options(TypedDict, total=False):
    """How a stand may differ from what is deployed.

    * `rules`, `realtime` and `compress` are the simulator's: its pace, whether it keeps it, whether it compresses.
    * `disturbed` puts an app of the test's own between gateway and simulator.
    * `delayed`: nothing answers at the simulator's address until `Stand.start_upstream`.
    * `gateway`: False where the client brings its own, which has to keep its ledger at `Stand.db`. Then `url` is the
      simulator's and `front` is `back`.
    """

    rules: Rules
    realtime: bool
    compress: bool
    disturbed: Callable[[App], App]
    delayed: bool
    gateway: bool


class Stand:
    """Gateway and simulator as they are deployed: `url` is what a client is pointed at.

    It is a context manager; what it held is read once it is closed. `closing` is set when an exchange has ended.
    """

    def __init__(self, folder: Path, **options: Unpack[Options]) -> None:
        folder.mkdir()
        self.db = folder / "ledger.db"
        self.simulator = Simulator(seed=1, rules=options.get("rules") or Rules())
        simulated = create_app(
            self.simulator,
            SystemClock(),
            realtime=options.get("realtime", False),
            compress=options.get("compress", False),
        )
        self.front = self.back = Tap(options.get("disturbed", unchanged)(simulated))
        self.closing = threading.Event()
        self._delayed = options.get("delayed", False)
        self._gateway = options.get("gateway", True)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Start both servers."""
        self.url = self.upstream = self._open.enter_context(serving(self.back))
        if self._delayed:
            self._open.close()
        if self._gateway:
            settings = Settings(upstream=self.upstream, db=str(self.db), trust_env=False)
            self.front = Tap(build(settings, lambda _: self.closing.set()))
            self.url = self._open.enter_context(serving(self.front))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both servers; the ledger is complete afterwards."""
        self._open.close()

    def start_upstream(self) -> None:
        """Let the simulator answer at its address from now on."""
        self._open.enter_context(serving(self.back, port=int(self.upstream.rpartition(":")[2])))

    def exchanges(self) -> list[Exchange]:
        """Return what the ledger holds, in the order of opening."""
        with open_ledger(self.db, must_exist=True) as ledger:
            return list(ledger.exchanges())

    def checked(self) -> list[Exchange]:
        """Return the ledger's exchanges, once both bills and both sides' bytes were found to be the same."""
        exchanges = self.exchanges()
        assert sorted(each.wire for each in self.back.seen) == sorted(each.wire for each in self.front.seen)
        assert [] == [each.target for each in self.back.seen if not each.ended or each.left]
        check_bills(self.simulator.invoice.lines, exchanges)
        assert len(self.messages()) == len(exchanges)
        assert all(exchange.planned for exchange in exchanges)
        return exchanges

    def messages(self) -> list[Seen]:
        """Return the client's requests to the Messages API, in the order in which they came."""
        return [seen for seen in self.front.seen if seen.is_messages]


def check_bills(lines: list[Line], exchanges: list[Exchange]) -> None:
    """Hold an invoice against a ledger: the same requests, and for each the same model, classes and nano-dollars."""
    invoice = {line.request_id: (line.message_id, line.terms.model, *_classes(line)) for line in lines}
    priced = [exchange for exchange in exchanges if exchange.cost_nano_usd is not None]
    ledger = {each.request_id: (each.message_id, each.served_model, *_used(each)) for each in priced}

    assert invoice == ledger
    assert len(lines) == len(priced)
    assert all(exchange.usage_complete and 200 == exchange.http_status for exchange in priced)


def _classes(line: Line) -> tuple[int | None, ...]:
    used = line.classes
    return (
        used.uncached_input_tokens,
        used.cache_read_input_tokens,
        used.cache_write_5m_input_tokens,
        used.cache_write_1h_input_tokens,
        used.output_tokens,
        line.cost_nano_usd,
    )


def _used(exchange: Exchange) -> tuple[int | None, ...]:
    used = exchange.usage or Usage()
    return (
        used.uncached_input_tokens,
        used.cache_read_input_tokens,
        used.cache_write_5m_input_tokens,
        used.cache_write_1h_input_tokens,
        used.output_tokens,
        exchange.cost_nano_usd,
    )


class Stands:
    """Makes the stands of one test, so that its requests and their cost can be added up afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: list[Stand] = []

    def make(self, **options: Unpack[Options]) -> Stand:
        """Return a stand that is not started yet; the options are those of `Stand`."""
        stand = Stand(self._folder / f"stand-{len(self.made)}", **options)
        self.made.append(stand)
        return stand

    def row(self) -> dict[str, Any]:
        """Return what the clients did and cost, for the record."""
        exchanges = [exchange for stand in self.made for exchange in stand.exchanges()]
        return {
            "clients": sorted({exchange.client or "unknown" for exchange in exchanges}),
            "requests": sum(len(stand.front.seen) for stand in self.made),
            "exchanges": len(exchanges),
            "ledger_nano_usd": sum(exchange.cost_nano_usd or 0 for exchange in exchanges),
            "invoice_nano_usd": sum(stand.simulator.invoice.cost_nano_usd for stand in self.made),
        }
