"""Items of streams: each holds for ours, and each is failed by what gateways were seen to do to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scrimp.gateway.asgi import Message, Receive, Scope, Send
from scrimp.gateway.conformance.streams import EVERYTHING, ITEMS
from tests.gateway.conformance.faults import answers, decode, dropping, events, sound, swallowing, without
from tests.gateway.conformance.shape import proofs

if TYPE_CHECKING:
    from scrimp.gateway.asgi import App
    from tests.gateway.conformance.conftest import Examine
    from tests.gateway.conformance.faults import Fault, Whole


def _unchanged(_whole: Whole) -> None:
    """Hold an answer back until it is whole."""


def _cutting(app: App) -> App:
    """Break a stream off that ends without its last event."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        passed: list[bytes] = []

        async def sending(message: Message) -> None:
            passed.append(message.get("body", b""))
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if ends and b"message_start" in b"".join(passed) and b"message_stop" not in b"".join(passed):
                raise ConnectionError
            await send(message)

        await app(scope, receive, sending)

    return broken


CUTS = {"stream-cut-between", "stream-cut-within", "stream-cut-late", "stream-reset"}
WAITS = {"stream-first-event", "stream-each-event", "stream-gzip"}
FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "none": (sound, set()),
    "buffered": (answers(_unchanged, streams=True), WAITS),
    "pings dropped": (
        dropping(rb"event: ping\ndata: [^\n]*\n\n"),
        {"stream-each-event", "stream-pings", "stream-identical", *CUTS, "stream-error-later", "stream-clean-end"},
    ),
    "line ends made one": (events(lambda piece: piece.replace(b"\r\n", b"\n")), {"stream-identical"}),
    "unknown events dropped": (dropping(rb"(: a comment|id: 7\nretry: 3000\n)"), {"stream-unknown-events"}),
    "unknown fields dropped": (dropping(rb',"safeguard_results":\{.*?\}\}'), {"stream-safeguards"}),
    "errors reworded": (
        events(lambda piece: piece.replace(b"Overloaded", b"busy")),
        {"stream-error-first", "stream-error-later"},
    ),
    "cuts swallowed": (swallowing, {*CUTS, "answer-cut"}),
    "short streams cut": (_cutting, {"stream-clean-end", "stream-error-later"}),
    "decoded": (answers(decode, streams=True), WAITS),
}


#: Faults by which an event never comes that the recorder waits for.
HOLDING = {"buffered", "pings dropped", "decoded"}


test_each_fault_fails_just_its_items, test_each_item_can_fail = proofs(ITEMS, FAULTS, HOLDING)
test_each_fault_fails_just_its_items = pytest.mark.slow(test_each_fault_fails_just_its_items)


def test_a_stream_in_gzip_is_not_sent_unasked(examine: Examine) -> None:
    """The API would not, either."""
    rows = {row.name: row for row in examine(without(b"accept-encoding"), ITEMS).rows}
    assert "not applicable" == rows["stream-gzip"].verdict


def test_the_stream_of_everything_has_each_kind_of_line_end() -> None:
    """Both that the format of event streams allows and the API might use."""
    assert {True} == {any(end in piece for piece in EVERYTHING) for end in (b"\r\n\r\n", b"}\n\n")}
