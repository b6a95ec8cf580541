"""The simulator's own biller: its own dated price table, exact arithmetic, one invoice line a request.

Prices are US dollars per million tokens as published in November 2026; nothing here is shared with the price book of
`scrimp.core`. A line is worked out in fractions and rounded once, half up, to a whole nano-dollar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from scrimp.sim.models import day_ms

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000

#: Modifiers (API pricing page): batches halve every class, US-only inference adds a tenth, a search has a fee.
BATCH = Fraction(1, 2)
US_ONLY = Fraction(11, 10)
WEB_SEARCH_USD = Fraction(1, 100)

#: A prompt longer than this is billed by the long card, its output too, where the model has one.
LONG_PROMPT_TOKENS = 100_000


class Card(msgspec.Struct, frozen=True):
    """Prices in US dollars per million tokens, as decimal strings."""

    uncached: str
    write_5m: str
    write_1h: str
    read: str
    output: str


class Row(msgspec.Struct, frozen=True):
    """The cards of some models from a day on (ISO, UTC; None: always)."""

    models: tuple[str, ...]
    card: Card
    fast: Card | None = None
    long: Card | None = None
    since: str | None = None


_OPUS_FAST = Card("10", "12.5", "20", "1", "50")
_FABLE_FAST = Card("16", "20", "32", "0.4", "80")

#: Later rows win over earlier ones once their day has come.
ROWS = (
    Row(
        ("claude-haiku-5-5",),
        Card("0.1", "0.125", "0.2", "0.01", "0.5"),
        long=Card("0.5", "0.625", "1", "0.05", "2.5"),
    ),
    Row(("claude-haiku-4-5-20251001",), Card("1", "1.25", "2", "0.1", "5")),
    Row(("claude-sonnet-5", "claude-sonnet-5-5"), Card("2", "2.5", "4", "0.2", "10")),
    Row(("claude-sonnet-5-5",), Card("2", "2.5", "4", "0.1", "10"), since="2026-10-07"),
    Row(("claude-sonnet-4-6", "claude-sonnet-4-5-20250929"), Card("3", "3.75", "6", "0.3", "15")),
    Row(("claude-opus-5-5",), Card("4", "5", "8", "0.2", "20"), fast=Card("8", "10", "16", "0.4", "40")),
    Row(("claude-opus-5", "claude-opus-4-8"), Card("5", "6.25", "10", "0.5", "25"), fast=_OPUS_FAST),
    Row(("claude-opus-4-8",), Card("5", "6.25", "10", "0.5", "25"), since="2026-11-30"),
    Row(
        ("claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5-20251101"),
        Card("5", "6.25", "10", "0.5", "25"),
    ),
    Row(("claude-fable-5-2", "claude-mythos-5-2"), Card("8", "10", "16", "0.2", "40"), fast=_FABLE_FAST),
    Row(("claude-fable-5-1", "claude-mythos-5-1"), Card("10", "12.5", "20", "0.25", "50")),
    Row(("claude-fable-5", "claude-mythos-5"), Card("10", "12.5", "20", "1", "50")),
    Row(("claude-opus-4-1",), Card("15", "18.75", "30", "1.5", "75")),
)


class Classes(msgspec.Struct, frozen=True):
    """What is billed, in tokens and searches; the token classes are disjoint."""

    uncached_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_5m_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0
    output_tokens: int = 0
    web_search_requests: int = 0

    @property
    def total_input_tokens(self) -> int:
        """The length of the prompt in tokens."""
        return (
            self.uncached_input_tokens
            + self.cache_read_input_tokens
            + self.cache_write_5m_input_tokens
            + self.cache_write_1h_input_tokens
        )


class Terms(msgspec.Struct, frozen=True):
    """What selects the rates of one request."""

    model: str
    at_ms: int
    service_tier: str = "standard"
    speed: str = "standard"
    inference_geo: str = "global"


def _row(terms: Terms) -> Row:
    rows = [row for row in ROWS if terms.model in row.models]
    known = [row for row in rows if row.since is None or day_ms(row.since) <= terms.at_ms]
    if not known:
        raise KeyError(f"no price for {terms.model}")
    return known[-1]


def card_of(terms: Terms, total_input_tokens: int) -> Card:
    """Return the card that a prompt of this length is billed by; KeyError for a model or speed without prices."""
    row = _row(terms)
    if terms.speed == "fast":
        if row.fast is None:
            raise KeyError(f"no fast price for {terms.model}")
        return row.fast
    return row.long if row.long is not None and total_input_tokens > LONG_PROMPT_TOKENS else row.card


def _usd(classes: Classes, terms: Terms, card: Card) -> Fraction:
    per_million = (
        classes.uncached_input_tokens * Fraction(card.uncached)
        + classes.cache_read_input_tokens * Fraction(card.read)
        + classes.cache_write_5m_input_tokens * Fraction(card.write_5m)
        + classes.cache_write_1h_input_tokens * Fraction(card.write_1h)
        + classes.output_tokens * Fraction(card.output)
    )
    usd = per_million / TOKENS_PER_PRICE
    usd *= BATCH if terms.service_tier == "batch" else 1
    usd *= US_ONLY if terms.inference_geo == "us" else 1
    return usd + classes.web_search_requests * WEB_SEARCH_USD


def cost_nano_usd(classes: Classes, terms: Terms) -> int:
    """Return the cost of one request in nano-dollars, rounded half up once."""
    return cost_of_parts((classes,), terms)


def cost_of_parts(parts: Sequence[Classes], terms: Terms) -> int:
    """Return the cost of a request whose parts are each judged by their own length, rounded half up once."""
    usd = sum((_usd(part, terms, card_of(terms, part.total_input_tokens)) for part in parts), start=Fraction(0))
    return (2 * usd.numerator * NANO_PER_USD + usd.denominator) // (2 * usd.denominator)


def added(parts: Iterable[Classes]) -> Classes:
    """Return the sum of every class."""
    names, listed = Classes.__struct_fields__, list(parts)
    return Classes(*(sum(getattr(part, name) for part in listed) for name in names))


class Line(msgspec.Struct, frozen=True):
    """One request on the invoice. `workspace` is a digest of the credential, `parts` are what is priced apart.

    `usage_arrived` says whether the client could see the final usage; where it could not, `classes` hold the output
    that is billed all the same.
    """

    request_id: str
    message_id: str
    workspace: str
    terms: Terms
    classes: Classes
    cost_nano_usd: int
    parts: tuple[Classes, ...] = ()
    usage_arrived: bool = True


#: Lines that an invoice shows; older ones stay in the totals.
LINES_MAX = 1_000_000


class Invoice:
    """Everything billed so far, in the order of the requests. It shows the last `lines_max` of them."""

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self.requests = 0
        self._lines: dict[str, Line] = {}
        self._lines_max = lines_max
        self._past = Classes()
        self._past_nano_usd = 0

    def add(
        self, request_id: str, message_id: str, workspace: str, terms: Terms, classes: Classes | Sequence[Classes]
    ) -> Line:
        """Bill one request, whole or in parts, and return its line."""
        parts = (classes,) if isinstance(classes, Classes) else tuple(classes)
        line = Line(request_id, message_id, workspace, terms, added(parts), cost_of_parts(parts, terms), parts)
        self.requests += 1
        self._lines[request_id] = line
        if len(self._lines) > self._lines_max:
            self._forget(next(iter(self._lines)))
        return line

    def _forget(self, request_id: str) -> None:
        line = self._lines.pop(request_id)
        self._past = added((self._past, line.classes))
        self._past_nano_usd += line.cost_nano_usd

    def cut(self, request_id: str, output_tokens: int | None = None) -> None:
        """Note that the final usage did not arrive, and bill no more output than `output_tokens`, where it is known."""
        line = self._lines.get(request_id)
        if line is None:
            return
        parts = line.parts if output_tokens is None else _with_output(line.parts, output_tokens)
        self._lines[request_id] = msgspec.structs.replace(
            line,
            parts=parts,
            classes=added(parts),
            cost_nano_usd=cost_of_parts(parts, line.terms),
            usage_arrived=False,
        )

    @property
    def lines(self) -> list[Line]:
        """The lines, oldest first."""
        return list(self._lines.values())

    @property
    def cost_nano_usd(self) -> int:
        """The sum of all lines in nano-dollars."""
        return self._past_nano_usd + sum(line.cost_nano_usd for line in self._lines.values())

    def totals(self) -> Classes:
        """Return the sum of every class over all lines."""
        return added((self._past, *(line.classes for line in self._lines.values())))

    def as_json(self) -> dict[str, Any]:
        """Return the invoice as one JSON object: `requests`, `cost_nano_usd`, `usage` (the totals) and `lines`."""
        lines = [_flat(line) for line in self._lines.values()]
        totals = msgspec.to_builtins(self.totals())
        return {"requests": self.requests, "cost_nano_usd": self.cost_nano_usd, "usage": totals, "lines": lines}


def _with_output(parts: Iterable[Classes], output_tokens: int) -> tuple[Classes, ...]:
    """Return the parts with at most so much output, that of the first ones first."""
    cut = []
    for part in parts:
        shown = min(part.output_tokens, output_tokens)
        output_tokens -= shown
        cut.append(msgspec.structs.replace(part, output_tokens=shown))
    return tuple(cut)


def _flat(line: Line) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(line)
    terms, classes = shown.pop("terms"), shown.pop("classes")
    del shown["parts"]
    return {**shown, **terms, **classes}
