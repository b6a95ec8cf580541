"""Half surrogates are mended, everything else stays as it is."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.surrogates import decode_mended, without_half_surrogates


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_good_text_is_left_alone(text: str) -> None:
    """Whole pairs, backslashes and every other escape come back byte for byte."""
    for form in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        assert form.encode() == without_half_surrogates(form.encode())


@given(st.text(st.characters(codec=None), max_size=50))
def test_what_comes_out_can_always_be_encoded(text: str) -> None:
    """After mending no half is left, and nothing else has changed."""
    mended = json.loads(without_half_surrogates(json.dumps(text).encode()))

    assert json.dumps(text).encode().count(b"\\u") == json.dumps(mended).encode().count(b"\\u")
    mended.encode("utf-8")


def test_halves_become_the_replacement_character() -> None:
    """High alone, low alone, and a high before a pair."""
    assert rb'"\ufffd \ufffd \ufffd\ud83d\ude00 \\ud800"' == without_half_surrogates(
        rb'"\ud83d \ude00 \ud83d\ud83d\ude00 \\ud800"'
    )


def test_only_halves_are_forgiven() -> None:
    """Text that fails for another reason still fails."""
    decoder = msgspec.json.Decoder(str)

    assert "a\ufffd" == decode_mended(decoder, rb'"a\ud800"')
    with pytest.raises(msgspec.DecodeError):
        decode_mended(decoder, rb'"a\ud800')
