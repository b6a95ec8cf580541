"""What went through since the start, in Prometheus' text format (its exposition format, version 0.0.4).

One worker of several counts for itself and pins its counts to a board that all of them read (`SharedMetrics`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from operator import attrgetter

import msgspec

from scrimp.core.belief.exchange import Exchange
from scrimp.gateway.board import Board
from scrimp.money import usd
from scrimp.telemetry import METRICS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Models told apart; past them a model is "other", so that no client can grow the page.
MODELS_MAX = 100
OTHER = "other"

_CLASSES = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "cache_write_5m_input_tokens",
    "cache_write_1h_input_tokens",
    "output_tokens",
)
_OF_CLASS = tuple(("class", name) for name in _CLASSES)
_counts_of = attrgetter(*_CLASSES)
#: What is true of a process now, not counted since its start; it ends with the process.
_GAUGES = ("in_flight", "ledger_trouble")
_Labels = tuple[tuple[str, str], ...]
_Counts = dict[str, Counter[_Labels]]


class _Pinned(msgspec.Struct):
    """What one worker has counted, as it stands on the board."""

    models: list[str]
    counts: dict[str, list[tuple[_Labels, int]]]


_decode = msgspec.json.Decoder(_Pinned).decode


class Metrics:
    """Counts exchanges as they open and close."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._counts: _Counts = {name: Counter() for name in METRICS}
        self._models: set[str] = set()

    def opened(self) -> None:
        """Count one exchange under way."""
        self.in_flight += 1

    def closed(self, exchange: Exchange) -> None:
        """Count one exchange that ended."""
        self.in_flight -= 1
        model = self._model(exchange)
        ended = exchange.error_type or ("ok" if exchange.usage_complete else "incomplete")
        self._counts["exchanges"][(("model", model), ("ended", ended))] += 1
        if exchange.usage is None:
            return
        tokens, of_model = self._counts["tokens"], ("model", model)
        for of_class, count in zip(_OF_CLASS, _counts_of(exchange.usage), strict=True):
            tokens[(of_model, of_class)] += count
        if exchange.cost_nano_usd is None:
            self._counts["unpriced"][(("model", model),)] += 1
        else:
            self._counts["cost"][(("model", model),)] += exchange.cost_nano_usd

    def _model(self, exchange: Exchange) -> str:
        model = exchange.served_model or exchange.requested_model or "unknown"
        if len(self._models) < MODELS_MAX:
            self._models.add(model)
        return model if model in self._models else OTHER

    def page(self, *, ledger_trouble: bool) -> bytes:
        """Return every metric as Prometheus reads it."""
        self._gauge(ledger_trouble=ledger_trouble)
        return _page(self._counts)

    def _gauge(self, *, ledger_trouble: bool) -> None:
        self._counts["in_flight"] = Counter({(): self.in_flight})
        self._counts["ledger_trouble"] = Counter({(): int(ledger_trouble)})


class SharedMetrics(Metrics):
    """One worker's counts, and a page that shows the sum of all workers'; each goes on where its predecessor ended.

    What another worker counted within the last second may not be on the page yet, and is lost if that worker is killed.
    """

    def __init__(self, board: Board, number: int) -> None:
        super().__init__()
        self._board, self._number = board, number
        self._pinned = b""
        if before := board.read(number):
            left = _decode(before)
            self._models = set(left.models)
            self._counts |= {name: Counter(dict(pairs)) for name, pairs in left.counts.items() if name not in _GAUGES}

    def pin(self, *, ledger_trouble: bool) -> None:
        """Show the other workers what this one has counted."""
        self._gauge(ledger_trouble=ledger_trouble)
        counts = {name: list(counted.items()) for name, counted in self._counts.items()}
        data = msgspec.json.encode(_Pinned(sorted(self._models), counts))
        if data != self._pinned:
            self._pinned = data
            self._board.write(self._number, data)

    def page(self, *, ledger_trouble: bool) -> bytes:
        """Return the sums over all workers; in trouble is the gateway while the ledger of any of them is."""
        self.pin(ledger_trouble=ledger_trouble)
        total: _Counts = {name: Counter() for name in METRICS}
        for each in filter(None, self._board.read_all()):
            for name, pairs in _decode(each).counts.items():
                total[name].update(dict(pairs))
        total["ledger_trouble"] = Counter({(): int(total["ledger_trouble"][()] > 0)})
        return _page(total)


def _page(counts: _Counts) -> bytes:
    return "\n".join([*_lines(counts), ""]).encode()


def _lines(counts: _Counts) -> Iterator[str]:
    for name, (shown, what, kind) in METRICS.items():
        yield f"# HELP {shown} {what}"
        yield f"# TYPE {shown} {kind}"
        for labels, count in sorted(counts[name].items()):
            yield f"{shown}{_render(labels)} {usd(count):f}" if name == "cost" else f"{shown}{_render(labels)} {count}"


def _render(labels: _Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels)
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
