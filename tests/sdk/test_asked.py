"""Which requests are ours, whose they are, and their bytes: the same for the same body, and back."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import APIRequest
from anthropic._models import FinalRequestOptions
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sdk.asked import client_of, has_credential, headers_of, is_exchange, sent, wire

pytestmark = pytest.mark.xdist_group("sdk")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
BODIES = st.dictionaries(st.text(max_size=8), JSON, max_size=5)


def request(**options: Any) -> APIRequest:
    """Return a request as the SDK hands it to its middleware."""
    plain = {"method": "post", "url": "/v1/messages", "json_data": {"model": "m"}}
    return APIRequest(options=FinalRequestOptions.construct(**{**plain, **options}), cast_to=object)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"method": "POST"}, True),
        ({"url": "/v1/messages?beta=true"}, True),
        ({"method": "get"}, False),
        ({"url": "/v1/messages/count_tokens"}, False),
        ({"url": "/v1/messages/batches"}, False),
        ({"url": "/v1/messages/batches?beta=true"}, False),
        ({"url": "/v1/models"}, False),
        ({"json_data": None}, False),
        ({"json_data": [1]}, False),
        ({"json_data": None, "content": b"{}"}, False),
    ],
)
def test_only_messages_are_exchanges(options: dict[str, Any], expected: bool) -> None:
    """POST /v1/messages with an object; everything else is somebody else's."""
    assert expected == is_exchange(request(**options))


def _seen_by(*others: Any, client: type[anthropic.Anthropic] = anthropic.Anthropic) -> list[object | None]:
    """Return what a middleware in front of others finds behind itself, and the client that it should be."""
    found: list[object | None] = []

    def first(asked: APIRequest, call_next: Any) -> Any:
        found.append(client_of(call_next))
        return call_next(asked)

    answering = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"type": "message", "content": []}))
    with httpx2.Client(transport=answering) as http:
        made = client(api_key="k", base_url="http://127.0.0.1:1", http_client=http, middleware=[first, *others])
        made.messages.create(model="m", max_tokens=1, messages=[])
    return [*found, made]


class _Passing(anthropic.Middleware):
    def handle(self, request: APIRequest, call_next: Any) -> Any:
        return call_next(request)


def test_the_client_is_found_behind_other_middleware() -> None:
    """First, last, and before functions and objects alike."""
    for others in ((), (_Passing(),), (lambda asked, call_next: call_next(asked), _Passing())):
        found, made = _seen_by(*others)
        assert found is made


@pytest.mark.parametrize("call_next", [None, print, lambda _: None, _Passing().handle, 5])
def test_where_there_is_no_client_none_is_found(call_next: Any) -> None:
    """Whatever the SDK may hand its middleware one day."""
    assert client_of(call_next) is None


def test_a_chain_without_an_end_is_left() -> None:
    """A function that holds itself is looked through a bounded number of times."""

    def call_next(asked: Any) -> Any:
        return call_next(asked)

    assert client_of(call_next) is None


def test_headers_are_the_client_s_and_the_request_s() -> None:
    """By lower-case names, the request's before the client's; what is left out is not there."""
    client = anthropic.Anthropic(api_key="k", default_headers={"X-Team": "blue", "X-Mine": "yes"})
    asked = request(headers={"x-team": "red", "X-Mine": anthropic.Omit()})
    headers = headers_of(asked, client)
    assert ("Bearer k", "red", None) == (headers["authorization"], headers["x-team"], headers.get("x-mine"))
    assert {"x-team": "red"} == headers_of(asked, None)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"authorization": "Bearer k"}, True), ({"x-api-key": "k"}, True), ({"x-api-key": ""}, False), ({}, False)],
)
def test_a_credential_is_seen(headers: dict[str, str], expected: bool) -> None:
    """In either header."""
    assert expected == has_credential(headers)


@given(BODIES)
def test_bytes_are_the_sdk_s_own(body: dict[str, Any]) -> None:
    """What is planned is what the SDK would send, and reading it back changes nothing, or JSON cannot hold it."""
    client = anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:1")
    try:
        raw = wire(body)
    except UnicodeEncodeError:  # a lone surrogate: the SDK cannot send it, either
        return
    options = FinalRequestOptions.construct(method="post", url="/v1/messages", json_data=body)
    assert raw == client._build_request(options).content
    edited = sent(request(json_data=body), {}, raw)
    assert raw == client._build_request(edited.options).content


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}, {"a": b"bytes"}])
def test_what_json_cannot_hold_is_refused(body: dict[str, Any]) -> None:
    """As the SDK refuses it."""
    with pytest.raises((ValueError, TypeError)):
        wire(body)


def test_a_request_without_changes_is_itself() -> None:
    """Not even a copy."""
    asked = request(headers={"x-team": "red"})
    assert asked is sent(asked, {"x-team": "red", "authorization": "Bearer k"}, None)


@given(BODIES, st.dictionaries(st.sampled_from(["Scrimp-Task", "scrimp-session", "X-Team", "x-other"]), st.text()))
def test_what_is_for_us_is_left_out(body: dict[str, Any], headers: dict[str, str]) -> None:
    """Our headers are omitted, whoever set them; the others and the body stay, and the request is not touched."""
    asked = request(headers=headers, json_data=body)
    named = {**{name.lower(): value for name, value in headers.items()}, "scrimp-mode": "observe"}
    changed = sent(asked, named, None)
    kept = {name: value for name, value in changed.headers.items() if isinstance(value, str)}
    assert {name: value for name, value in headers.items() if not name.lower().startswith("scrimp-")} == kept
    omitted = {name for name, value in changed.headers.items() if not isinstance(value, str)}
    assert {name for name in named if name.startswith("scrimp-")} == omitted
    assert (headers, body, body) == (asked.headers, asked.json, changed.json)
    assert json.loads(json.dumps({"model": "x"})) == sent(asked, {}, b'{"model":"x"}').json
