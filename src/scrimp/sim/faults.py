"""What goes wrong between the API and a client, as data: kinds of faults, and a seeded choice of them.

Each run switches some kinds off altogether and weighs the others anew (swarm testing, as TigerBeetle does it), so that
many runs reach combinations that an even mixture never would. A fault is drawn for each request in order, so the same
seed disturbs the same requests in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, get_args

import msgspec

from scrimp.sim.blocks import JsonObject
from scrimp.sim.delivery import MILLION, STREAM, Delivery, Piece
from scrimp.sim.errors import ApiError
from scrimp.sim.stream import Event

Kind = Literal[
    "rate_limit",
    "spend_limit",
    "overloaded",
    "server_error",
    "bad_gateway",
    "reset",
    "lost",
    "cut",
    "end",
    "error_first",
    "error_later",
    "slow",
    "silent",
    "pings",
    "duplicate",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_CUT = "as cut_bill says"
#: kind -> what the client sees, and what of it is billed.
MEANINGS: dict[Kind, tuple[str, str]] = {
    "rate_limit": ("429 with retry-after", "no"),
    "spend_limit": ("429 without, enforced_spend_limit_reached", "no"),
    "overloaded": ("529", "no"),
    "server_error": ("500", "no"),
    "bad_gateway": ("502 with a page of HTML", "no"),
    "reset": ("the connection breaks before a status, nothing was done", "no"),
    "lost": ("the same, after the work was begun", _CUT),
    "cut": ("the connection breaks at any byte of the answer", _CUT),
    "end": ("the answer ends at any byte as if it were whole", _CUT),
    "error_first": ("a stream whose only event is an error; else 529", "no"),
    "error_later": ("a stream that goes over into an error", _CUT),
    "slow": ("every piece comes late, in real time", "in full"),
    "silent": ("nothing for minutes in the middle of an answer, in real time", "in full"),
    "pings": ("nothing but pings for minutes, in real time", "in full"),
    "duplicate": ("whole, but the client sends the request again", "both"),
}

#: What a server can do by itself: a duplicate is the doing of a client.
SERVED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "duplicate")

#: How long a silent answer says nothing, longer than clients wait, and how often pings come, in milliseconds.
SILENCE_MS = 330_000
PING_EVERY_MS = 10_000
SLOW_MS = 2_000

_PERMILLE = 1_000
_WEIGHT_MAX = 10
_OK = 200

OVERLOADED: JsonObject = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>502 Bad Gateway</body>\r\n</html>\r\n"
PING = Event("ping", {"type": "ping"}).encode()

_SPENT = {"error_code": "enforced_spend_limit_reached"}
_REFUSALS: dict[str, ApiError] = {
    "rate_limit": ApiError(429, "Number of requests has exceeded your rate limit.", headers=(("retry-after", "2"),)),
    "spend_limit": ApiError(429, "You have reached your API usage limits.", _SPENT),
    "overloaded": ApiError(529, "Overloaded"),
    "server_error": ApiError(500, "Internal server error"),
    "error_first": ApiError(529, "Overloaded"),
}


class Fault(msgspec.Struct, frozen=True):
    """One fault: its kind, and where in the answer it strikes, in millionths of it."""

    kind: Kind
    where_ppm: int = MILLION // 2

    @property
    def refusal(self) -> ApiError | None:
        """The error that the API answers instead of doing the work; None where it does the work, or hears nothing."""
        return _REFUSALS.get(self.kind)


def swarm(seed: int) -> dict[Kind, int]:
    """Return one run's weights: about half of the kinds are off, the others weigh one to ten."""
    draw = random.Random(f"swarm:{seed}")
    return {kind: draw.randint(1, _WEIGHT_MAX) for kind in KINDS if draw.getrandbits(1)}


class Source(Protocol):
    """Where faults come from."""

    def next(self) -> Fault | None:
        """Return the next request's fault, None for none."""
        ...


class Script:
    """The faults of the first requests, one for each in its order; the requests after them have none."""

    def __init__(self, steps: Iterable[Fault | None]) -> None:
        self._steps = iter(tuple(steps))

    def next(self) -> Fault | None:
        """Return the next request's fault, None for none."""
        return next(self._steps, None)


class Faults:
    """Draws the fault of each request: `permille` of all requests have one, by the weights of their kinds."""

    def __init__(self, seed: int, weights: Mapping[Kind, int] | None = None, permille: int = 250) -> None:
        self.weights = swarm(seed) if weights is None else dict(weights)
        self._permille = permille
        self._draw = random.Random(f"faults:{seed}")

    def next(self) -> Fault | None:
        """Return the next request's fault, None for none."""
        strikes = self._draw.randrange(_PERMILLE) < self._permille
        if not strikes or not self.weights:
            return None
        kind = self._draw.choices(list(self.weights), weights=list(self.weights.values()))[0]
        return Fault(kind, self._draw.randrange(MILLION))


#: What stands before the API answers instead of it: nothing at all, or a page of its own.
INSTEAD: dict[str, Delivery] = {
    "reset": Delivery(status=0, headers=(), pieces=(), is_headless=True),
    "bad_gateway": Delivery(status=502, headers=(("content-type", "text/html"),), pieces=(Piece(0, HTML),)),
}


def as_event(refused: Delivery) -> Delivery:
    """Return a refusal as a stream whose first event says it, as the API does once it has sent its status."""
    headers = tuple((name, STREAM if name == "content-type" else value) for name, value in refused.headers)
    said = Piece(0, Event("error", OVERLOADED).encode())
    return msgspec.structs.replace(refused, status=_OK, headers=headers, pieces=(said,))


def disturb(delivery: Delivery, fault: Fault) -> Delivery:
    """Return what becomes of an answer under a fault; one that is an error already stays as it is."""
    if delivery.status != _OK:
        return delivery
    match fault.kind:
        case "lost":
            return msgspec.structs.replace(delivery, pieces=(), is_headless=True)
        case "cut" | "end":
            return msgspec.structs.replace(delivery, cut_ppm=fault.where_ppm, breaks=fault.kind == "cut")
        case "error_later" if delivery.is_stream:
            at = _place(delivery, fault)
            error = Piece(delivery.pieces[at].at_ms, Event("error", OVERLOADED).encode(), is_answer=False)
            return msgspec.structs.replace(delivery, pieces=(*delivery.pieces[:at], error))
        case "slow" | "silent" | "pings":
            return msgspec.structs.replace(delivery, pieces=tuple(_late(delivery, fault)))
    return delivery


def _place(delivery: Delivery, fault: Fault) -> int:
    """Return the piece where the fault strikes: never the first one of several, which begins the answer."""
    return min(1 + (len(delivery.pieces) - 1) * fault.where_ppm // MILLION, len(delivery.pieces) - 1)


def _late(delivery: Delivery, fault: Fault) -> Iterator[Piece]:
    """Yield the pieces as they come late: every one of them, or all from one place on."""
    place = _place(delivery, fault)
    for at, piece in enumerate(delivery.pieces):
        if at == place and fault.kind == "pings" and delivery.is_stream:
            yield from _pings(piece.at_ms)
        late_ms = SLOW_MS * at if fault.kind == "slow" else SILENCE_MS * (at >= place)
        yield msgspec.structs.replace(piece, at_ms=piece.at_ms + late_ms)


def _pings(since_ms: int) -> Iterator[Piece]:
    for at_ms in range(since_ms + PING_EVERY_MS, since_ms + SILENCE_MS, PING_EVERY_MS):
        yield Piece(at_ms, PING, is_answer=False)
