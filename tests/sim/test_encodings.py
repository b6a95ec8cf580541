"""Compressed streams: each piece can be read as soon as it is sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.encodings import DECODERS, ENCODERS, Identity, choose


@pytest.mark.parametrize("name", sorted(ENCODERS))
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=6))
def test_every_piece_is_readable_at_once(name: str, pieces: list[bytes]) -> None:
    """Nothing is held back until the end, and the end adds nothing."""
    encoder, decode = ENCODERS[name](), DECODERS[name]()
    assert pieces == [decode(encoder.feed(piece)) for piece in pieces]
    assert b"" == decode(encoder.end())


@pytest.mark.parametrize("name", sorted(ENCODERS))
@given(body=st.binary(min_size=1, max_size=300), share=st.floats(0, 1))
def test_the_first_bytes_can_be_read_as_far_as_they_go(name: str, body: bytes, share: float) -> None:
    """A body that was cut anywhere decodes to a prefix of what was coded, without an error."""
    encoder = ENCODERS[name]()
    sent = encoder.feed(body) + encoder.end()
    assert body.startswith(DECODERS[name]()(sent[: int(len(sent) * share)]))
    assert body == DECODERS[name]()(sent)


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
