"""Every item in order on one gateway, and the result as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from scrimp.errors import UpstreamUnavailable
from scrimp.gateway.conformance import answers, bodies, fields, headers, links, streams
from scrimp.gateway.conformance.item import Finding, Item, Verdict, failed
from scrimp.gateway.conformance.recorder import Recorder
from scrimp.gateway.conformance.samples import MODEL, whole
from scrimp.gateway.conformance.shapes import plain_request
from scrimp.gateway.conformance.trial import Trial

#: Every item; the last one takes the recorder down.
ITEMS: tuple[Item, ...] = (
    *bodies.ITEMS,
    *fields.ITEMS,
    *headers.ITEMS,
    *answers.ITEMS,
    *streams.ITEMS,
    *links.ITEMS,
)
#: How long a gateway may take for anything, in seconds.
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Row:
    """One item of the report: the rule, and what was found."""

    name: str
    verdict: Verdict
    sent: str
    expected: str
    got: str
    source: str
    why: str


@dataclass(frozen=True)
class Report:
    """What was found of a gateway, item by item in their order."""

    gateway: str
    rows: tuple[Row, ...]

    def counts(self) -> dict[str, int]:
        """Return how many items came out how."""
        counted = Counter(row.verdict for row in self.rows)
        return {verdict: counted[verdict] for verdict in ("pass", "fail", "not applicable")}

    def failed(self) -> list[str]:
        """Return the names of the items that do not hold."""
        return [row.name for row in self.rows if row.verdict == "fail"]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {"gateway": self.gateway, **self.counts(), "items": [asdict(row) for row in self.rows]}


def _unseen(_row: Row) -> None:
    """Look at no row."""


def report(
    url: str,
    recorder: Recorder,
    *,
    model: str = MODEL,
    key: str | None = None,
    only: Collection[str] = (),
    patience_s: float = PATIENCE_SECONDS,
    on_row: Callable[[Row], None] = _unseen,
) -> Report:
    """Send every item (or `only` those named) through the gateway at `url`, whose upstream is `recorder`.

    `model` is one that the gateway serves; `key` is what it asks of its clients, None where the client's own key goes
    through. `on_row` is told of each item as it ends. Items run one after another; the recorder is used up.

    Raises `ConfigError` for an address that is none, and `UpstreamUnavailable` where nothing listens at it or a
    request to it does not reach the recorder.
    """
    trial = Trial(url, recorder, model=model, key=key, patience_s=patience_s)
    _reach(trial, url)
    rows = []
    for row in _rows(trial, only):
        on_row(row)
        rows.append(row)
    return Report(url, tuple(rows))


def _reach(trial: Trial, url: str) -> None:
    """See that the gateway's upstream is our recorder before anything is judged."""
    try:
        exchanged = trial.exchange(plain_request(trial.model), whole())
    except OSError as error:
        raise UpstreamUnavailable(
            f"Nothing listens at {url}.", "Start the gateway there, then run this again."
        ) from error
    if not exchanged.arrivals:
        raise UpstreamUnavailable(
            f"A request to {url} did not reach the recorder; the gateway answered {exchanged.answer}.",
            f"Set the gateway's upstream to {trial.recorder.url}, then run this again.",
        )


def _rows(trial: Trial, only: Collection[str]) -> Iterator[Row]:
    for item in ITEMS:
        if not only or item.name in only:
            found = _found(item, trial)
            yield Row(item.name, found.verdict, item.sent, item.expected, found.got, item.source, item.why)


def _found(item: Item, trial: Trial) -> Finding:
    """Return an item's finding; a gateway that cannot even be connected to fails it."""
    try:
        return item.check(trial)
    except OSError as error:
        return failed(f"the gateway's connection failed: {error.strerror or error}")
