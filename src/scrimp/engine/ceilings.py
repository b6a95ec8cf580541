"""The most that exchanges can cost, with the price cards remembered: every request asks for those of its model."""

from __future__ import annotations

import msgspec

from scrimp.core.belief.prefix import Prompt
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.ceiling import Bands, Reach, dearest_bands, reach_of, sent_upper_nano_usd, upper_nano_usd
from scrimp.core.wire.prices import MILLISECONDS_PER_DAY, PriceBook
from scrimp.core.wire.request import Request
from scrimp.core.wire.response import Answer
from scrimp.core.wire.usage import Metered

#: Combinations of a model, a day, a speed and a geography that are remembered; past them all are looked up anew.
BANDS_MAX = 1_000

_Key = tuple[str, int, bool, str | None]


class Ceilings:
    """Bounds exchanges by one price book as `scrimp.core.wire.ceiling` does."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._bands: dict[_Key, Bands] = {}

    def when_sent(self, request: Request | None, at_ms: int, marked: Ttl | None = None) -> int | None:
        """Return the most, in nano-USD, that a request can cost before anything of its answer is known.

        `marked` is the longest lifetime that we ask for in its body beside its client.
        """
        reach = None if request is None else _reach_of(request, marked)
        if reach is None:
            return None
        return sent_upper_nano_usd(reach, self._bands_of(reach, at_ms), self._book.web_search_pico_usd)

    def when_closed(
        self,
        sent_upper: int | None,
        request: Request | None,
        answer: Answer,
        metered: Metered | None,
        status: int | None,
        at_ms: int,
    ) -> int | None:
        """Return the most, in nano-USD, that the exchange can have cost; `sent_upper` is what it could when sent."""
        reach = None if request is None or answer.usage_complete else reach_of(request)
        return upper_nano_usd(sent_upper, reach, answer, metered, status, self._book, at_ms)

    def _bands_of(self, reach: Reach, at_ms: int) -> Bands:
        key = (reach.model, at_ms // MILLISECONDS_PER_DAY, reach.is_fast, reach.inference_geo)
        bands = self._bands.get(key)
        if bands is None:
            if len(self._bands) >= BANDS_MAX:
                self._bands.clear()
            bands = self._bands[key] = dearest_bands(self._book, reach, at_ms)
        return bands


def longest_ttl(prompt: Prompt) -> Ttl | None:
    """Return the longest lifetime that a prompt as it is sent asks for, None where it marks nothing."""
    ttls = {mark.ttl for mark in prompt.marks}
    return "1h" if "1h" in ttls else "5m" if ttls else None


def _reach_of(request: Request, marked: Ttl | None) -> Reach | None:
    reach = reach_of(request)
    if reach is None or marked is None or reach.ttl == "1h":
        return reach
    return msgspec.structs.replace(reach, ttl=marked)
