"""Items of targets and headers: each holds for ours, and each is failed by what is there to find."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from scrimp.gateway.asgi import Receive, Scope, Send
from scrimp.gateway.conformance.headers import ITEMS, KEPT, PATHS
from scrimp.gateway.conformance.wire import Head
from tests.gateway.conformance.faults import headers, refusing, scopes, sound, valued, without
from tests.gateway.conformance.shape import proofs

if TYPE_CHECKING:
    from scrimp.gateway.asgi import App
    from tests.gateway.conformance.conftest import Examine
    from tests.gateway.conformance.faults import Fault


def _decoded(scope: Scope) -> Scope:
    return {"raw_path": unquote(scope["raw_path"].decode()).replace(" ", "%20").encode()}


def _one_beta_line(pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return list(dict(pairs).items())


FAULTS: dict[str, tuple[Fault | dict[str, object], set[str]]] = {
    "none": (sound, set()),
    "the query dropped": (
        scopes(lambda _scope: {"query_string": b""}),
        {"query-beta", "target-escapes", "path-count-tokens", "path-models", "path-unknown"},
    ),
    "the path decoded": (scopes(_decoded), {"target-escapes"}),
    "betas dropped": (without(b"anthropic-beta"), {"header-beta", "header-beta-lines"}),
    "unknown betas dropped": (
        valued(b"anthropic-beta", lambda value: value.replace(b",conformance-beta-2099-01-01", b"")),
        {"header-beta"},
    ),
    "one line of each header": (headers(_one_beta_line), {"header-beta-lines"}),
    "always the new version": (valued(b"anthropic-version", lambda _: b"2026-10-21"), {"header-version-2023"}),
    "always the old version": (valued(b"anthropic-version", lambda _: b"2023-06-01"), {"header-version-2026"}),
    "x-api-key dropped": (without(b"x-api-key"), {"header-api-key"}),
    "authorization dropped": (without(b"authorization"), {"header-authorization"}),
    "another session": (valued(b"x-claude-code-session-id", lambda _: b"1"), {"header-session"}),
    "hints dropped": (without(b"x-claude-"), {"header-hints"}),
    "stainless dropped": (without(b"x-stainless-"), {"header-stainless"}),
    "another user agent": (valued(b"user-agent", lambda _: b"node"), {"header-user-agent"}),
    "another accept-encoding": (valued(b"accept-encoding", lambda _: b"gzip"), {"header-accept-encoding"}),
    "unknown headers dropped": (without(b"x-future", b"x-team", b"anthropic-workspace"), {"header-unknown"}),
    "an encoding asked for": (
        headers(lambda pairs: pairs if b"accept-encoding" in dict(pairs) else [*pairs, (b"accept-encoding", b"br")]),
        {"header-none-added"},
    ),
    "other paths refused": (
        refusing(lambda scope: scope["path"] != "/v1/messages" and scope["method"] != "HEAD"),
        {"target-escapes", *PATHS},
    ),
    "heads passed on as they are": ({}, {"header-hop-by-hop"}),
    "HEAD not answered": ({"mute": "HEAD"}, {"header-hop-by-hop", "path-hello"}),
}


test_each_fault_fails_just_its_items, test_each_item_can_fail = proofs(ITEMS, FAULTS)


def test_what_a_gateway_may_consume_is_no_fault(examine: Examine) -> None:
    """The session's headers may end at the gateway (its protocol says so), and the finding names them."""
    found = examine(without(b"x-claude-code-session", b"x-claude-code-agent-id"), ITEMS)
    assert [] == found.failed()
    said = next(row.got for row in found.rows if row.name == "header-session")
    assert "consumed, as the contract allows: x-claude-code-agent-id, x-claude-code-session-id" == said


def _not_served(app: App) -> App:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        known = scope["type"] != "http" or scope["path"] == "/v1/messages"
        status, body = (501, b"") if not known and scope["path"] != "/v1/models" else (200, b"{}")
        if known:
            await app(scope, receive, send)
            return
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]}
        )
        await send({"type": "http.response.body", "body": body})

    return broken


def test_a_path_that_is_not_served_is_no_fault(examine: Examine) -> None:
    """Neither 501 nor an answer of the gateway's own, such as its list of models."""
    rows = {row.name: row for row in examine(_not_served, ITEMS).rows}
    assert {"not applicable"} == {rows[name].verdict for name in PATHS}
    assert "not served: 501" == rows["path-batches"].got
    assert "answered by the gateway itself" == rows["path-models"].got


@pytest.mark.parametrize("kept", [kept for kept in KEPT if kept.credential], ids=lambda kept: kept.name)
def test_no_finding_quotes_a_credential(kept: object, examine: Examine) -> None:
    """Whatever became of it."""
    for fault in (without(b"x-api-key", b"authorization"), valued(b"x-api-key", lambda _: b"sk-ant-other")):
        said = " ".join(row.got for row in examine(fault, ITEMS).rows)
        assert "sk-ant" not in said, kept


def test_lines_of_one_name_are_one_value() -> None:
    """Two lines say what one with a comma says (RFC 9110 section 5.3)."""
    assert "a, b" == Head("", (("x", "a"), ("x", "b"))).get("x")
