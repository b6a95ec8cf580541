"""Findings: how they are made, and how two bodies are told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.gateway.conformance.item import Finding, difference, failed, judged, not_applicable, passed


def test_each_verdict() -> None:
    """By its own name."""
    assert [Finding("pass", "a"), Finding("fail", "b"), Finding("not applicable", "c")] == [
        passed("a"),
        failed("b"),
        not_applicable("c"),
    ]
    assert (passed("a"), failed("b")) == (judged(True, "a", "b"), judged(False, "a", "b"))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_where_two_bodies_part(before: bytes, after: bytes) -> None:
    """Named by the first byte that differs, or called identical; a body and its beginning differ where it ends."""
    said = difference(before, after)
    assert (before == after) is said.startswith("identical")
    if before != after:
        at = int(said.split("byte ")[1].split(":")[0])
        assert before[:at] == after[:at]
        assert before[at : at + 1] != after[at : at + 1]


def test_what_is_missing_is_called_nothing() -> None:
    """A body that never came."""
    assert "differs from byte 0: 'abc' became nothing" == difference(b"abc", b"")
