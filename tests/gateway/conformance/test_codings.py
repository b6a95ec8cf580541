"""Encodings: what is written is read back, and what cannot be read comes as it is."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.gateway.conformance.codings import ENCODERS, decoded, gzip_so_far, is_accepted


@given(st.binary(max_size=500), st.sampled_from(sorted(ENCODERS)))
def test_each_coding_is_read_back(body: bytes, coding: str) -> None:
    """Of any bytes."""
    assert body == decoded(coding, ENCODERS[coding](body))


@given(st.sampled_from([None, "", "compress", *ENCODERS]))
def test_what_cannot_be_read_comes_as_it_is(coding: str | None) -> None:
    """An unknown coding, and a body that is not in it."""
    assert b"\x00 not in it" == decoded(coding, b"\x00 not in it")


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_a_stream_is_read_as_far_as_it_was_flushed(pieces: list[bytes]) -> None:
    """Each piece is there once its flush has come."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    raw, plain = b"", b""
    for piece in pieces:
        raw += packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
        plain += piece
        assert plain == gzip_so_far(raw)


def test_a_stream_that_is_not_compressed_is_itself() -> None:
    """A gateway may have decoded it."""
    assert b"event: ping\n\n" == gzip_so_far(b"event: ping\n\n")


@pytest.mark.parametrize(
    ("said", "expected"),
    [(None, False), ("", False), ("gzip", True), ("br, GZIP;q=0.5", True), ("xgzip, deflate", False)],
)
def test_what_a_request_asks_for(said: str | None, expected: bool) -> None:
    """One that says nothing asks for no coding."""
    assert expected is is_accepted(said, "gzip")
