"""Labels are short, whoever wrote them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.labels import LABEL_CHARS_MAX, clip


@given(st.text(max_size=500))
def test_a_label_is_the_beginning_of_what_came(text: str) -> None:
    """Short ones stay as they are; nothing is made up."""
    assert text[:LABEL_CHARS_MAX] == clip(text)


def test_unknown_stays_unknown() -> None:
    """None is not an empty label."""
    assert clip(None) is None
