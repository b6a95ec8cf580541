"""Signatures: what a thinking block is bound to, readable by us alone."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.signatures import Signature, signature_of

words = st.from_regex(r"[a-z0-9-]{0,20}", fullmatch=True)


@given(st.builds(Signature, st.integers(0, 10**6), words, words, words))
def test_a_signature_is_read_back(signature: Signature) -> None:
    """All that was signed, and nothing of it in plain sight."""
    text = signature.encode()
    assert signature == signature_of({"type": "thinking", "signature": text})
    assert ":" not in text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "EqQBCgYI",
        "ÿ",
        7,
        *(base64.b64encode(each).decode() for each in (b"sim:1", b"sim:x:a:b:c", b"a:1:2:3:4")),
    ],
)
def test_a_foreign_signature_is_none(text: object) -> None:
    """Whatever a client sends there."""
    assert signature_of({"type": "thinking", "signature": text}) is None
