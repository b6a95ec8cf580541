"""Properties of the edits that set marks."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import MARKS_MAX, Mark
from scrimp.core.plan.edits import mark_edits
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.splice import splice
from tests.core.plan.plans import body_of, read

TTLS: tuple[Ttl, ...] = ("5m", "1h")
places = st.sets(st.integers(0, 5), max_size=MARKS_MAX)


@given(places, places, st.sampled_from(TTLS))
def test_the_edited_bytes_carry_the_wanted_marks(before: set[int], more: set[int], ttl: Ttl) -> None:
    """Whatever was marked, the edited request reads as having just the wanted marks, and the same digests."""
    body = body_of(["s", *"abcde"], before)
    request, own = read(body)
    wanted = tuple(Mark(index, ttl) for index in sorted(before | set(list(more)[: MARKS_MAX - len(before)])))
    _, edited = read(json.loads(splice(json.dumps(body).encode(), mark_edits(request, own, wanted))))
    assert wanted == edited.marks
    assert own.digests == edited.digests


@given(places)
def test_the_same_marks_need_no_edit(before: set[int]) -> None:
    """A prompt that is to keep its marks is not edited."""
    request, own = read(body_of(["s", *"abcde"], before))
    assert () == mark_edits(request, own, own.marks)


def test_the_automatic_mark_is_changed_where_it_stands() -> None:
    """Another lifetime for automatic caching changes the top-level member and marks no block."""
    body = body_of(["s", "a"], set(), "5m")
    request, own = read(body)
    wanted = tuple(Mark(mark.index, "1h") for mark in own.marks)
    edited = json.loads(splice(json.dumps(body).encode(), mark_edits(request, own, wanted)))
    assert {**body, "cache_control": {"type": "ephemeral", "ttl": "1h"}} == edited
