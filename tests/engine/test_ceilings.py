"""The most that exchanges can cost, remembered: the same answers as the core's, however many are asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.ceiling import dearest_bands, reach_of, sent_upper_nano_usd, upper_nano_usd
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.response import Answer
from scrimp.core.wire.usage import ApiUsage
from scrimp.engine import ceilings
from scrimp.engine.ceilings import Ceilings
from scrimp.upstream.pricefeed import load_book

BOOK = load_book()
AT_MS = 1_795_000_000_000
DAY_MS = 86_400_000


def request(**more: Any) -> Request:
    """Return a request with these fields."""
    plain = {"model": "claude-opus-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Go."}]}
    return parse(json.dumps({**plain, **more}).encode())


FIELDS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "gpt-9"]),
        "max_tokens": st.integers(0, 100),
    },
    optional={"speed": st.just("fast"), "inference_geo": st.sampled_from(["us", "global", "mars"])},
)
SENT = st.lists(st.tuples(FIELDS, st.integers(AT_MS - 90 * DAY_MS, AT_MS)), max_size=12)


@given(SENT)
def test_what_is_remembered_changes_no_answer(sent: list[tuple[dict[str, Any], int]]) -> None:
    """Each request gets the bound of the core's own functions, at its own date and in its own order."""
    remembering = Ceilings(BOOK)
    for fields, at_ms in sent:
        asked = request(**fields)
        reach = reach_of(asked)
        assert reach is not None
        expected = sent_upper_nano_usd(reach, dearest_bands(BOOK, reach, at_ms), BOOK.web_search_pico_usd)
        assert expected == remembering.when_sent(asked, at_ms)


@given(FIELDS, st.booleans())
def test_our_own_marks_make_it_dearer(fields: dict[str, Any], is_marked: bool) -> None:
    """An hour more than five minutes, and that more than none; whatever the client asked for is never undercut."""
    asked, known = request(**fields, **({"cache_control": {"type": "ephemeral"}} if is_marked else {})), Ceilings(BOOK)
    none, minutes, hour = (known.when_sent(asked, AT_MS, marked) or 0 for marked in (None, "5m", "1h"))
    assert none <= minutes <= hour
    assert (none < hour) == (none > 0)
    assert (none < minutes) == (none > 0 and not is_marked)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many models clients name, so many are remembered and no more."""
    monkeypatch.setattr(ceilings, "BANDS_MAX", 3)
    remembering = Ceilings(BOOK)
    for number in range(10):
        assert None is remembering.when_sent(request(model=f"m{number}"), AT_MS)
        assert len(remembering._bands) <= 3


def test_what_cannot_be_read_has_no_bound() -> None:
    """Neither when it is sent nor when it broke off."""
    remembering = Ceilings(BOOK)
    assert None is remembering.when_sent(None, AT_MS)
    assert None is remembering.when_closed(None, None, Answer(), None, 200, AT_MS)


def test_closing_asks_the_core() -> None:
    """A broken answer is bounded by its request, a whole one by itself."""
    asked, usage = request(), ApiUsage(input_tokens=1_000, output_tokens=2)
    for complete in (False, True):
        answer = Answer(usage=usage, usage_complete=complete)
        metered = answer.metered(asked.model)
        expected = upper_nano_usd(5, reach_of(asked), answer, metered, 200, BOOK, AT_MS)
        assert expected == Ceilings(BOOK).when_closed(5, asked, answer, metered, 200, AT_MS)
