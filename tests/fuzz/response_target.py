"""An answer, whole or streamed, coded or not, through the meter: it never fails, and chunks make no difference."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import brotli
import msgspec

from scrimp.core.wire.labels import LABEL_CHARS_MAX
from scrimp.core.wire.response import Answer, ResponseMeter, apply_event
from scrimp.core.wire.sse import SseDecoder
from tests.fuzz.inputs import Input, pieces
from tests.fuzz.request_target import NOW_MS, prices

try:
    from compression.zstd import compress as zstd_compress  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from backports.zstd import compress as zstd_compress


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def _in_two(code: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: code(data[: len(data) // 2]) + code(data[len(data) // 2 :])


#: Header value -> how a server codes so.
CODINGS: tuple[tuple[str | None, Callable[[bytes], bytes]], ...] = (
    (None, bytes),
    ("gzip", gzip.compress),
    ("gzip", _in_two(gzip.compress)),
    ("deflate", zlib.compress),
    ("deflate", _raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstd_compress),
    ("zstd", _in_two(zstd_compress)),
    ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    ("zstd, gzip", lambda data: gzip.compress(zstd_compress(data))),
    ("x-unknown", bytes),
)
TYPES = ("text/event-stream; charset=utf-8", "application/json", None)
#: From this way on, the text itself is taken for coded bytes.
_HOSTILE = 128
#: A body up to this length is also fed byte by byte.
_SMALL_BYTES = 2_000


def check_response(given: Input) -> None:
    """Feed one body to the meter in different chunks."""
    coding, code = CODINGS[given.ways[0] % len(CODINGS)]
    kind = TYPES[given.ways[1] % len(TYPES)]
    hostile = given.ways[0] >= _HOSTILE
    body = given.text if hostile else code(given.text)
    whole = _metered(kind, coding, [body])
    cuts = [list(pieces(body, given.dice))]
    if len(body) <= _SMALL_BYTES:
        cuts.append([body[at : at + 1] for at in range(len(body))])
    for chunks in cuts:
        chunked = _metered(kind, coding, chunks)
        if whole._readable and chunked._readable:
            assert whole.answer() == chunked.answer(), "the answer depends on the chunks"
            assert whole.first_token_seen == chunked.first_token_seen
        assert hostile or whole._readable == chunked._readable, "what can be read depends on the chunks"
    _check_answer(whole.answer())
    if not hostile and coding != "x-unknown":
        _check_against_text(given.text, kind, whole.answer())


def _metered(kind: str | None, coding: str | None, chunks: Iterable[bytes]) -> ResponseMeter:
    meter = ResponseMeter(kind, coding)
    for chunk in chunks:
        meter.feed(chunk)
    return meter


def _check_answer(answer: Answer) -> None:
    """Names are short, unknown usage has no bill, and a usage that is complete says both sides."""
    labels = (answer.message_id, answer.served_model, answer.stop_reason, answer.error_type)
    assert all(label is None or len(label) <= LABEL_CHARS_MAX for label in labels)
    metered = answer.metered("claude-opus-5")
    assert (metered is None) == (answer.usage is None)
    assert not answer.usage_complete or (answer.usage is not None and answer.usage.is_complete)
    if metered is not None:
        cost = prices().cost_nano_usd(metered.lines, NOW_MS)
        assert cost is None or cost >= 0
    msgspec.json.encode(answer)


def _check_against_text(text: bytes, kind: str | None, answer: Answer) -> None:
    """The scanner finds what the plain decoder finds; a body without a usage object has no usage."""
    if kind == TYPES[0]:
        decoder = SseDecoder()
        expected = Answer()
        for event in decoder.feed(text):
            expected = apply_event(expected, event)
        assert decoder.overflowed or expected == answer, "the scanner and the decoder differ"
    elif not isinstance(_member(text, "usage"), dict):
        assert answer.usage is None, "a usage that is no object was counted"


def _member(text: bytes, name: str) -> Any:
    try:
        decoded = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return decoded.get(name) if isinstance(decoded, dict) else None
