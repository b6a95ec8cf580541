"""Items of whole answers: each holds for ours, and each is failed by what gateways were seen to do to one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from scrimp.gateway.conformance.answers import ITEMS
from scrimp.gateway.conformance.samples import PROBLEMS
from tests.gateway.conformance.faults import answers, decode, retrying, sound, starts, unsaid, without

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Examine
    from tests.gateway.conformance.faults import Fault, Whole

ERRORS = {f"error-{status}" for status in PROBLEMS}
ENCODED = {"answer-gzip", "answer-deflate", "answer-br", "answer-zstd"}


def _anew(whole: Whole) -> None:
    """Write what is JSON anew."""
    if whole.header(b"content-type") == b"application/json" and not whole.header(b"content-encoding"):
        whole.body = json.dumps(json.loads(whole.body), separators=(",", ":")).encode()


def _wrapped(whole: Whole) -> None:
    """Put an error into a shape of one's own."""
    if whole.status >= 400:
        whole.body = json.dumps({"error": {"message": whole.body.decode(), "code": whole.status}}).encode()


def _broken_page(whole: Whole) -> None:
    if b"<html>" in whole.body:
        whole.body = b'{"error":"Bad Gateway"}'


FAULTS: dict[str, tuple[Fault | dict[str, object], set[str]]] = {
    "none": (sound, set()),
    "JSON written anew": (answers(_anew), {"answer-body", *ERRORS}),
    "errors in another shape": (answers(_wrapped), {*ERRORS, "error-html"}),
    "a page replaced": (answers(_broken_page), {"error-html"}),
    "529 as 500": (starts(lambda status, pairs: (500 if status == 529 else status, pairs)), {"error-529"}),
    "502 as 400": (
        starts(lambda status, pairs: (400 if status == 502 else status, pairs)),
        {"error-html", "dropped-answer"},
    ),
    "request-id dropped": (unsaid(b"request-id"), {"answer-request-id"}),
    "limits dropped": (unsaid(b"anthropic-ratelimit-"), {"answer-ratelimit"}),
    "retry-after dropped": (unsaid(b"retry-after"), {"error-429", "error-529"}),
    "x-should-retry dropped": (unsaid(b"x-should-retry"), {"error-429", "error-500"}),
    "decoded": (answers(decode), ENCODED),
    "requests sent again": (retrying, {"once-429", "once-500", "once-529", "once-dropped"}),
    "heads passed on as they are": ({}, {"answer-hop-by-hop"}),
    "asked again after a hang-up": ({"retries": True}, {"answer-hop-by-hop", "once-dropped"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_just_its_items(name: str, examine: Examine) -> None:
    """And a gateway without one fails none."""
    fault, expected = FAULTS[name]
    assert expected == set(examine(fault, ITEMS).failed())


def test_each_item_can_fail() -> None:
    """An item that no fault fails would prove nothing."""
    assert {item.name for item in ITEMS} == set().union(*(expected for _, expected in FAULTS.values()))


def test_an_encoding_that_was_not_asked_for_is_not_sent(examine: Examine) -> None:
    """The API would not, either: such a gateway is told so by the item of accept-encoding alone."""
    rows = {row.name: row for row in examine(without(b"accept-encoding"), ITEMS).rows}
    assert {"not applicable"} == {rows[name].verdict for name in ENCODED}
