"""What is asked: which requests are exchanges, whose they are, and their bodies as bytes and back.

The SDK shows its middleware a request's own headers and JSON, not the client that sends it. Whose credential it is and
where it goes stands in the client alone, so that is looked up behind `call_next`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, TypeAlias

import anthropic
from anthropic import APIRequest, Omit

Client: TypeAlias = anthropic.Anthropic | anthropic.AsyncAnthropic

_MESSAGES = "/v1/messages"
#: Headers that are for us and end here.
_OURS = "scrimp-"
#: More middleware than this between us and the client is not looked through.
_DEPTH_MAX = 64


def is_exchange(request: APIRequest) -> bool:
    """Whether a request asks the Messages API for an answer, with a JSON object that we can read."""
    is_messages = request.url.partition("?")[0] == _MESSAGES and request.method.lower() == "post"
    return is_messages and isinstance(request.json, Mapping)


def client_of(call_next: Callable[..., Any]) -> object | None:
    """Return the client behind the rest of a chain of middleware, None where the SDK no longer shows it.

    Each link is a function of the SDK that holds the next one, and the last one holds the client.
    """
    link: Any = call_next
    for _ in range(_DEPTH_MAX):
        held = _held(link)
        if "self" in held:
            client: object = held["self"]
            return client
        link = held.get("call_next")
    return None


def _held(link: Any) -> dict[str, Any]:
    """Return what a function closes over."""
    names = getattr(getattr(link, "__code__", None), "co_freevars", ())
    try:
        return {name: cell.cell_contents for name, cell in zip(names, link.__closure__ or (), strict=True)}
    except (AttributeError, ValueError):
        return {}


def headers_of(request: APIRequest, client: Client | None) -> dict[str, str]:
    """Return the headers that will be sent, as far as the SDK knows them yet, by their lower-case names."""
    layers = [client.default_headers if client is not None else {}, request.headers]
    merged = {name.lower(): value for layer in layers for name, value in layer.items()}
    return {name: value for name, value in merged.items() if isinstance(value, str)}


def has_credential(headers: Mapping[str, str]) -> bool:
    """Whether it is known who pays; a profile or a provider of tokens adds its credential only later."""
    return bool(headers.get("x-api-key") or headers.get("authorization"))


def wire(body: object) -> bytes:
    """Return a body as the SDK writes it; the same object gives the same bytes in every turn.

    Raises `ValueError` or `TypeError` for what JSON cannot hold.
    """
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def sent(request: APIRequest, headers: Mapping[str, str], body: bytes | None) -> APIRequest:
    """Return the request as it is to be sent: with another body, unless that is None, and without what was for us."""
    ours = [name for name in headers if name.startswith(_OURS)]
    if body is None and not ours:
        return request
    changed = copy(request)
    changed.options = copy(request.options)  # `request.copy` copies each leaf of the body, only to have it replaced
    if body is not None:
        changed.options.json_data = json.loads(body)
    if ours:
        kept = {name: value for name, value in request.headers.items() if not name.lower().startswith(_OURS)}
        changed.options.headers = {**kept, **dict.fromkeys(ours, Omit())}
    return changed
