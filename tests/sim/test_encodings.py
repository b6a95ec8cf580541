"""Compressed streams: each piece can be read as soon as it is sent."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.encodings import ENCODERS, Identity, choose

DECODERS: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    "gzip": lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress,
    "br": lambda: brotli.Decompressor().process,
    "zstd": lambda: zstd.ZstdDecompressor().decompress,
}


@pytest.mark.parametrize("name", sorted(ENCODERS))
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=6))
def test_every_piece_is_readable_at_once(name: str, pieces: list[bytes]) -> None:
    """Nothing is held back until the end, and the end adds nothing."""
    encoder, decode = ENCODERS[name](), DECODERS[name]()
    assert pieces == [decode(encoder.feed(piece)) for piece in pieces]
    assert b"" == decode(encoder.end())


def test_without_an_encoding_bytes_stay() -> None:
    """The plain encoder is there so that the sender has one path."""
    assert (b"abc", b"") == (Identity().feed(b"abc"), Identity().end())


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("GZIP;q=0.5", "gzip"),
        ("gzip;q=0, br; q=0", None),
        ("identity", None),
        ("", None),
    ],
)
def test_the_client_says_what_it_reads(accepted: str, expected: str | None) -> None:
    """The best encoding that the client accepts, and none that it refuses."""
    assert expected == choose(accepted)
