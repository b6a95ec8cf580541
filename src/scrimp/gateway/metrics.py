"""What went through since the start, in Prometheus' text format (its exposition format, version 0.0.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from scrimp.core.belief.exchange import Exchange
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
_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counts exchanges as they open and close."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._counts: dict[str, Counter[_Labels]] = {name: Counter() for name in METRICS}
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
        for name in _CLASSES:
            self._counts["tokens"][(("model", model), ("class", name))] += getattr(exchange.usage, name)
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
        self._counts["in_flight"] = Counter({(): self.in_flight})
        self._counts["ledger_trouble"] = Counter({(): int(ledger_trouble)})
        return "\n".join([*self._lines(), ""]).encode()

    def _lines(self) -> Iterator[str]:
        for name, (shown, what, kind) in METRICS.items():
            yield f"# HELP {shown} {what}"
            yield f"# TYPE {shown} {kind}"
            for labels, count in sorted(self._counts[name].items()):
                yield (
                    f"{shown}{_render(labels)} {usd(count):f}"
                    if name == "cost"
                    else f"{shown}{_render(labels)} {count}"
                )


def _render(labels: _Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels)
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
