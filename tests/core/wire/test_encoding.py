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

from scrimp.core.wire import encoding
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
#: Other forms under the same names.
FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    **{name: (name, coder) for name, coder in CODERS.items()},
    "raw deflate": ("deflate", _raw_deflate),
    "gzip members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    "zstd frames": ("zstd", lambda data: zstd.compress(data[:7]) + zstd.compress(data[7:])),
}


@pytest.mark.parametrize("form", FORMS)
@given(data=st.binary(max_size=4000), size=st.integers(1, 700))
def test_any_chunks_come_back(form: str, data: bytes, size: int) -> None:
    """Decoding chunk by chunk gives the whole, wherever members and frames end."""
    coding, code = FORMS[form]
    coded = code(data)
    decode = decoder(coding)

    assert data == b"".join(decode(coded[at : at + size]) for at in range(0, len(coded), size))


def test_codings_undo_from_the_right() -> None:
    """The last coding applied is the first undone."""
    assert b"data" == decoder("gzip, br")(brotli.compress(gzip.compress(b"data")))


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


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_many_small_bombs_are_one(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for all that a chunk decodes to, however many frames that comes in."""
    monkeypatch.setattr(encoding, "PIECE_BYTES_MAX", 1 << 16)
    frame = CODERS[coding](bytes(1 << 15))

    assert bytes(1 << 16) == decoder(coding)(frame * 2)
    with pytest.raises(CodingError, match="more than 65536 bytes"):
        decoder(coding)(frame * 3)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_a_bomb_is_refused(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small chunk cannot fill the memory: past the limit it is an error, not an answer."""
    monkeypatch.setattr(encoding, "PIECE_BYTES_MAX", 1 << 16)
    with pytest.raises(CodingError):
        decoder(coding)(CODERS[coding](bytes(1 << 22)))
