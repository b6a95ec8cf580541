"""Content codings: what was coded comes back, whatever the chunks."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.encoding import CodingError, decoder


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("coding", CODERS)
@given(data=st.binary(max_size=4000), size=st.integers(1, 700))
def test_any_chunks_come_back(coding: str, data: bytes, size: int) -> None:
    """Decoding chunk by chunk gives the whole."""
    coded = CODERS[coding](data)
    decode = decoder(coding)

    assert data == b"".join(decode(coded[at : at + size]) for at in range(0, len(coded), size))


def test_deflate_without_a_header() -> None:
    """Some servers send raw deflate under the same name."""
    assert b"hello" * 50 == decoder("deflate")(_raw_deflate(b"hello" * 50))


def test_codings_undo_from_the_right() -> None:
    """The last coding applied is the first undone."""
    assert b"data" == decoder("gzip, br")(brotli.compress(gzip.compress(b"data")))


def test_zstd_frames_follow_each_other() -> None:
    """A zstd body may hold several frames."""
    assert b"onetwo" == decoder("zstd")(zstd.compress(b"one") + zstd.compress(b"two"))


@pytest.mark.parametrize("value", [None, "", "identity", " Identity "])
def test_nothing_to_undo(value: str | None) -> None:
    """No header is the identity."""
    assert b"as it is" == decoder(value)(b"as it is")


def test_an_unknown_coding_is_named() -> None:
    """A coding we do not know is an error with its name."""
    with pytest.raises(CodingError, match="'lzma'"):
        decoder("lzma")


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_corrupt_bytes_raise_one_error(coding: str) -> None:
    """Whatever the library raises becomes `CodingError`."""
    decode = decoder(coding)
    with pytest.raises(CodingError):
        decode(b"\xff\x00 this is not a coded body" * 50)
