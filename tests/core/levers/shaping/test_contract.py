"""The values that shaping hands around."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.levers.shaping.contract import Hint, Shaped


@given(st.builds(Shaped, text=st.text(), steps=st.lists(st.text()).map(tuple)) | st.builds(Hint, tool=st.text()))
def test_what_shaping_says_can_be_kept(value: Shaped | Hint) -> None:
    """A shaped text and a hint come back from JSON as they were, and can be keys: they never change."""
    assert value == msgspec.json.decode(msgspec.json.encode(value), type=type(value))
    assert hash(value) == hash(msgspec.structs.replace(value))
