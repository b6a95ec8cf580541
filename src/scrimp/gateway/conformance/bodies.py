"""Items of a request's bytes: what a gateway that reads and writes a body anew changes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from scrimp.gateway.conformance.item import CLIENTS, PROTOCOL, Finding, Item, difference, failed, judged
from scrimp.gateway.conformance.samples import whole
from scrimp.gateway.conformance.shapes import SDK_HEADERS, claude_code_request, compact, plain
from scrimp.gateway.conformance.trial import Exchanged, Request, Trial

#: How large a body the API takes (its errors page, 413).
LARGEST_BYTES = 32 * 1024 * 1024

_CACHE = "A cache entry is found by the bytes of its prefix: what is written anew may never hit again."


def absent(exchanged: Exchanged) -> Finding:
    """Return the finding for a request that never reached the recorder."""
    return failed(f"nothing reached the upstream; the client got {exchanged.answer}")


def _identical(exchanged: Exchanged) -> Finding:
    arrived = exchanged.arrived
    if arrived is None:
        return absent(exchanged)
    said = difference(exchanged.sent.body, arrived.body)
    return judged(exchanged.sent.body == arrived.body, said, said)


def _claude_code(trial: Trial) -> Finding:
    return _identical(trial.exchange(claude_code_request(trial.model), whole()))


def _sdk(trial: Trial) -> Finding:
    body = compact(plain(trial.model, system="Be brief.", cache_control={"type": "ephemeral"}))
    return _identical(trial.exchange(Request(body, SDK_HEADERS), whole()))


def _large(trial: Trial) -> Finding:
    bare = compact(plain(trial.model, system=""))
    filling = b"0123456789abcdef" * (LARGEST_BYTES // 16 + 1)
    body = bare.replace(b'"system":""', b'"system":"' + filling[: LARGEST_BYTES - len(bare) - 16] + b'"')
    return _identical(trial.exchange(Request(body, SDK_HEADERS), whole()))


def _sent_as(trial: Trial, body: bytes, look: Callable[[bytes], object]) -> Finding:
    """Compare what `look` sees in a body before and after the gateway."""
    exchanged = trial.exchange(Request(body, SDK_HEADERS), whole())
    if exchanged.arrived is None:
        return absent(exchanged)
    before, after = look(exchanged.sent.body), look(exchanged.arrived.body)
    return judged(before == after, "as sent", difference(exchanged.sent.body, exchanged.arrived.body))


def _spaces(body: bytes) -> bytes:
    """Return the white space between a body's tokens: everything outside its strings that is no mark or word."""
    outside = re.sub(rb'"(?:[^"\\]|\\.)*"', b'"', body)
    return re.sub(rb"[^\s\"{}\[\]:,]+", b"0", outside)


def _whitespace(trial: Trial) -> Finding:
    body = json.dumps(plain(trial.model, system="Be brief."), indent=1).encode().replace(b": ", b" :\t")
    return _sent_as(trial, b"\n " + body + b"\r\n\n", _spaces)


def _keys(value: Any) -> Iterator[list[str]]:
    """Yield the keys of every object, in their order, from the outside in."""
    if isinstance(value, dict):
        yield list(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _keys(each)


def _loaded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _key_order(trial: Trial) -> Finding:
    tool = {"name": "Zeta", "input_schema": {"type": "object", "properties": {"b": {}, "a": {}}}, "description": "z"}
    body = {"tools": [tool], **plain(trial.model, system="Be brief.")}
    return _sent_as(trial, compact(body), lambda raw: list(_keys(_loaded(raw))))


def _literals(body: bytes) -> list[str]:
    """Return every number as it is written."""
    found: list[str] = []
    note: Callable[[str], None] = found.append
    try:
        json.loads(body, parse_float=note, parse_int=note)
    except ValueError:
        return []
    return found


def _numbers(trial: Trial) -> Finding:
    forms = b'"system":"Be brief.","tools":[{"name":"A","input_schema":{"type":"object","properties":{"n":{"enum":['
    forms += b"1e3,1.0,1.50,-0,-0.0,1E-7,0.1,12345678901234567890]}}}}],"
    return _sent_as(trial, compact(plain(trial.model)).replace(b"{", b"{" + forms, 1), _literals)


_STRINGS = rb'"caf\u00e9 \/ \u2028 \ud83d\ude00 \u003ctag\u003e \"q\" \t"', '"café 中 😀 <b>&</b> \x7f"'.encode()


def _escapes(trial: Trial) -> Finding:
    system = b",".join(b'{"type":"text","text":%s}' % string for string in _STRINGS)
    body = compact(plain(trial.model)).replace(b"{", b'{"system":[' + system + b"],", 1)
    return _sent_as(trial, body, lambda raw: [string in raw for string in _STRINGS])


def _paths(value: Any, before: str = "") -> Iterator[str]:
    """Yield the place of every value within a JSON value."""
    yield before
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _paths(inner, f"{before}.{key}" if before else str(key))


def _nothing_added(trial: Trial) -> Finding:
    exchanged = trial.exchange(claude_code_request(trial.model), whole())
    if exchanged.arrived is None:
        return absent(exchanged)
    added = sorted(set(_paths(_loaded(exchanged.arrived.body))) - set(_paths(_loaded(exchanged.sent.body))))
    return judged(not added, "nothing was added", f"added: {', '.join(added[:5])}")


ITEMS = (
    Item(
        "body-claude-code",
        PROTOCOL,
        "a request in the shape of Claude Code: system blocks, tools, thinking, four breakpoints",
        "the same bytes upstream",
        _CACHE,
        _claude_code,
    ),
    Item(
        "body-sdk",
        CLIENTS,
        "a request in the shape of the SDKs with automatic caching",
        "the same bytes upstream",
        _CACHE,
        _sdk,
    ),
    Item("body-whitespace", CLIENTS, "odd white space between tokens", "the same white space", _CACHE, _whitespace),
    Item("body-key-order", CLIENTS, "keys in no alphabetical order", "the same order", _CACHE, _key_order),
    Item("body-numbers", CLIENTS, "1e3, 1.0, -0, 20 digits", "the same digits", _CACHE, _numbers),
    Item("body-escapes", CLIENTS, r"\u00e9, \/, \u003c, raw UTF-8, DEL", "the same spelling of each", _CACHE, _escapes),
    Item(
        "body-nothing-added",
        PROTOCOL,
        "a request in the shape of Claude Code",
        "no field upstream that was not sent",
        "An added field, tool or breakpoint changes the prefix, the answer or the bill.",
        _nothing_added,
    ),
    Item(
        "body-32-mb",
        "the API's errors page: 413 above 32 MB",
        "a body of just under 32 MiB",
        "the same bytes upstream",
        "Images, documents and long sessions are large; the API takes them.",
        _large,
    ),
)
