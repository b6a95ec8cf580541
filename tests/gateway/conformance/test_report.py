"""The whole report: ours is all green, and each known way to break Claude's traffic fails just what it breaks."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from scrimp.errors import ConfigError, UpstreamUnavailable
from scrimp.gateway.conformance.recorder import Recorder
from scrimp.gateway.conformance.report import ITEMS, Row, report
from tests.gateway.conformance.conftest import SHORT_PATIENCE_SECONDS
from tests.gateway.conformance.faults import answers, bodies, refusing, retrying, sound, swallowing, without
from tests.gateway.conftest import PARTS

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Examine, Gateway
    from tests.gateway.conftest import PARTS
from tests.gateway.conformance.faults import Fault

CUTS = {"stream-cut-between", "stream-cut-within", "stream-cut-late", "stream-reset", "answer-cut"}
WAITS = {"stream-first-event", "stream-each-event", "stream-gzip"}


def _anew(body: bytes) -> bytes:
    return json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()


#: What the peers were seen to do, each alone.
FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "bodies written anew": (bodies(_anew), {"body-whitespace", "body-numbers", "body-escapes"}),
    "streams buffered": (answers(lambda _whole: None, streams=True), WAITS),
    "betas dropped": (without(b"anthropic-beta"), {"header-beta", "header-beta-lines"}),
    "requests sent again": (retrying, {"once-429", "once-500", "once-529", "once-dropped"}),
    "cuts swallowed": (swallowing, CUTS),
}


@pytest.mark.parametrize("parts", PARTS)
def test_ours_is_all_green(
    parts: str,
    examine: Examine,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """Every item applies to ours and holds, on the parts of a plain install and on the fast ones."""
    protocol, loop_factory = PARTS[parts]
    monkeypatch.setattr("uvicorn.protocols.http.auto.AutoHTTPProtocol", protocol)
    monkeypatch.setattr("uvicorn.loops.auto.auto_loop_factory", loop_factory)
    found = examine(sound)
    assert [] == [(row.name, row.got) for row in found.rows if row.verdict != "pass"]
    assert {"pass": len(ITEMS), "fail": 0, "not applicable": 0} == found.counts()
    record_property("measured", (f"conformance of ours, {parts} parts", f"{len(ITEMS)} of {len(ITEMS)} items"))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_just_what_it_breaks(name: str, examine: Examine) -> None:
    """Among all the items, not only its neighbours."""
    fault, expected = FAULTS[name]
    patience = {"patience_s": SHORT_PATIENCE_SECONDS} if name == "streams buffered" else {}
    assert expected == set(examine(fault, **patience).failed())


def test_each_item_says_what_and_why() -> None:
    """Names are unique, and no cell is empty."""
    assert len(ITEMS) == len({item.name for item in ITEMS})
    assert [] == [item.name for item in ITEMS if not all((item.sent, item.expected, item.source, item.why))]
    assert [] == [item.name for item in ITEMS if not item.why.endswith(".")]


def test_the_report_as_json(examine: Examine) -> None:
    """Plain values: the counts, and each item with all of its columns."""
    some = [item for item in ITEMS if item.name in {"query-beta", "header-beta"}]
    found = examine(without(b"anthropic-beta"), some)
    told = json.loads(json.dumps(found.to_json()))
    assert (1, 1, 0) == (told["pass"], told["fail"], told["not applicable"])
    assert ["query-beta", "header-beta"] == [row["name"] for row in told["items"]]
    assert {"name", "verdict", "sent", "expected", "got", "source", "why"} == set(told["items"][0])
    assert found.gateway == told["gateway"]


def test_each_row_is_told_as_it_ends(gateway: Gateway) -> None:
    """In the order of the report."""
    rows: list[Row] = []
    with Recorder() as recorder, gateway(sound, recorder) as url:
        found = report(url, recorder, only=["query-beta", "answer-body"], on_row=rows.append)
    assert list(found.rows) == rows
    assert ["query-beta", "answer-body"] == [row.name for row in rows]


def test_a_gateway_with_another_upstream_is_not_judged(gateway: Gateway) -> None:
    """One sentence that says what came back, one that says what to set."""
    with Recorder() as recorder, gateway(refusing(lambda _scope: True), recorder) as url:
        with pytest.raises(UpstreamUnavailable) as caught:
            report(url, recorder)
        assert "did not reach the recorder; the gateway answered 400" in caught.value.message
        assert recorder.url in caught.value.hint


def test_a_gateway_that_is_not_there_is_named() -> None:
    """Nothing was judged."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with Recorder() as recorder, pytest.raises(UpstreamUnavailable, match="Nothing listens at"):
        report(url, recorder)


@pytest.mark.parametrize("url", ["", "127.0.0.1:4000", "https://h", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """A setting that cannot be used."""
    with Recorder() as recorder, pytest.raises(ConfigError, match="address of a gateway"):
        report(url, recorder)


def test_a_gateway_that_dies_fails_what_is_left(gateway: Gateway) -> None:
    """And does not end the report."""
    with Recorder() as recorder, ExitStack() as stack:
        url = stack.enter_context(gateway(sound, recorder))
        found = report(url, recorder, only=["query-beta", "answer-body"], on_row=lambda _row: stack.close())
    assert ["answer-body"] == found.failed()
    assert "the gateway's connection failed: Connection refused" == found.rows[1].got
