"""Tests of reading a picture's size, on headers made by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.imagesize import image_size

SIDE = st.integers(1, 16_383)


def png(width: int, height: int) -> bytes:
    """Return a PNG's signature and header chunk."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def gif(width: int, height: int) -> bytes:
    """Return a GIF's logical screen."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG with an APP0 segment and a Huffman table before its frame."""
    app0 = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    huffman = b"\xff\xc4" + struct.pack(">H", 19) + bytes(17)
    return b"\xff\xd8" + app0 + huffman + b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3)


def webp(kind: bytes, body: bytes) -> bytes:
    """Return a WebP's container with one chunk."""
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def webp_lossy(width: int, height: int) -> bytes:
    """Return the header of a VP8 key frame."""
    return webp(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height))


def webp_lossless(width: int, height: int) -> bytes:
    """Return the header of a VP8L stream."""
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14))


def webp_extended(width: int, height: int) -> bytes:
    """Return the header of an extended WebP."""
    return webp(b"VP8X", bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3])


@pytest.mark.parametrize("make", [png, gif, jpeg, webp_lossy, webp_lossless, webp_extended])
@given(width=SIDE, height=SIDE)
def test_each_format_tells_its_size(make: Callable[[int, int], bytes], width: int, height: int) -> None:
    """Width and height come back as they were written."""
    assert (width, height) == image_size(make(width, height))


@pytest.mark.parametrize("make", [png, gif, jpeg, webp_lossy, webp_lossless, webp_extended])
def test_a_picture_cut_short_has_no_size_or_its_own(make: Callable[[int, int], bytes]) -> None:
    """Every truncation gives None or a size no larger than the whole's; nothing raises."""
    whole = make(513, 257)
    for length in range(len(whole)):
        size = image_size(whole[:length])
        assert size is None or (size[0] <= 513 and size[1] <= 257)


@given(st.binary(max_size=64))
def test_anything_else_has_no_size(data: bytes) -> None:
    """Bytes that are no picture have no size."""
    assert image_size(b"%PDF-" + data) is None


def test_a_picture_of_no_size_has_none() -> None:
    """A side of zero is no size."""
    assert image_size(png(0, 5)) is None
