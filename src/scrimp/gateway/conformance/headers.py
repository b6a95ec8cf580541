"""Items of a request's target and headers: what has to arrive, what must not, and what belongs to one connection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from scrimp.gateway.conformance.bodies import absent
from scrimp.gateway.conformance.item import (
    API,
    CLIENTS,
    HTTP,
    PROTOCOL,
    Finding,
    Item,
    failed,
    judged,
    not_applicable,
    passed,
)
from scrimp.gateway.conformance.samples import JSON_TYPE, MESSAGE, whole
from scrimp.gateway.conformance.shapes import CLAUDE_CODE_BETAS, SDK_HEADERS, compact, plain, plain_request
from scrimp.gateway.conformance.trial import PROBE_HEADER, Request, Trial
from scrimp.gateway.conformance.wire import Head, Headers

_OK = 200
#: Statuses by which a gateway says that it does not serve a path.
NOT_SERVED = frozenset({404, 405, 501})
#: Headers of a request that change nothing at the API: addresses, traces, and what the sender of each hop says anew.
HARMLESS = frozenset(
    "accept connection content-length forwarded host keep-alive traceparent tracestate transfer-encoding user-agent "
    "via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-request-id".split()
)


@dataclass(frozen=True)
class Kept:
    """Headers that have to arrive as they were sent."""

    name: str
    sent: str
    headers: Headers
    why: str
    source: str = PROTOCOL
    #: Whether the contract lets a gateway keep them to itself; then they must not be changed, at least.
    consumable: bool = False
    #: Whether they are the client's credential, which a gateway with keys of its own replaces.
    credential: bool = False


_OPT_IN = (
    "With CLAUDE_CODE_GATEWAY_HINT_HEADERS=1 these say what a request is for; a gateway further on needs them, too."
)

KEPT = (
    Kept(
        "header-beta",
        "anthropic-beta with ten values, one unknown",
        (("anthropic-beta", CLAUDE_CODE_BETAS),),
        "A beta that is dropped takes its feature with it: the 1M context, deferred tools, free safety checks.",
    ),
    Kept(
        "header-beta-lines",
        "anthropic-beta in two lines",
        (("anthropic-beta", "effort-2025-11-24"), ("anthropic-beta", "conformance-beta-2099-01-01")),
        "A client may add to what its SDK says; one line must not displace the other.",
        HTTP,
    ),
    Kept(
        "header-version-2023",
        "anthropic-version: 2023-06-01",
        (("anthropic-version", "2023-06-01"),),
        "Claude Code speaks this version.",
    ),
    Kept(
        "header-version-2026",
        "anthropic-version: 2026-10-21",
        (("anthropic-version", "2026-10-21"),),
        "The SDKs from 2.0 on speak this version, which takes other fields.",
        CLIENTS,
    ),
    Kept(
        "header-api-key",
        "x-api-key",
        (("x-api-key", "sk-ant-conformance-fake-1"),),
        "Claude Code sends an API key so.",
        CLIENTS,
        credential=True,
    ),
    Kept(
        "header-authorization",
        "Authorization: Bearer",
        (("authorization", "Bearer sk-ant-conformance-fake-2"),),
        "The SDKs from 2.0 on, and subscriptions, send their credential so.",
        CLIENTS,
        credential=True,
    ),
    Kept(
        "header-session",
        "x-claude-code-session-id, -agent-id, -parent-agent-id",
        (
            ("x-claude-code-session-id", "00000000-0000-4000-8000-000000000001"),
            ("x-claude-code-agent-id", "a0123456789abcdef"),
            ("x-claude-code-parent-agent-id", "afedcba9876543210"),
        ),
        "They group the requests of a session and its subagents; a gateway may consume them.",
        consumable=True,
    ),
    Kept(
        "header-hints",
        "x-claude-code-request-class, -agent-type, -prompt-id, -compaction, -prev-tool-durations",
        (
            ("x-claude-code-request-class", "subagent"),
            ("x-claude-1p-request-class", "blocking-subagent"),
            ("x-claude-code-agent-type", "general-purpose"),
            ("x-claude-code-prompt-id", "p-1"),
            ("x-claude-code-compaction", "manual"),
            ("x-claude-code-prev-tool-durations", "Bash=139"),
        ),
        _OPT_IN,
        CLIENTS,
    ),
    Kept(
        "header-stainless",
        "x-stainless-retry-count, -timeout, -lang, -helper",
        (
            ("x-stainless-retry-count", "2"),
            ("x-stainless-timeout", "600"),
            ("x-stainless-lang", "python"),
            ("x-stainless-helper", "beta_tool_runner"),
        ),
        "They tell a retry from a first try, and how long the client will wait.",
        CLIENTS,
    ),
    Kept(
        "header-user-agent",
        "user-agent, x-app, anthropic-dangerous-direct-browser-access",
        (
            ("user-agent", "claude-cli/2.1.330 (external, cli)"),
            ("x-app", "cli"),
            ("anthropic-dangerous-direct-browser-access", "true"),
        ),
        "The API and its logs tell clients apart by these.",
        CLIENTS,
    ),
    Kept(
        "header-accept-encoding",
        "accept-encoding: gzip, deflate, br, zstd",
        (("accept-encoding", "gzip, deflate, br, zstd"),),
        "What the client can decode is the client's to say.",
        CLIENTS,
    ),
    Kept(
        "header-unknown",
        "anthropic-workspace-id, ANTHROPIC_CUSTOM_HEADERS, a header that nobody knows",
        (("anthropic-workspace-id", "wrkspc_01"), ("x-team", "blue; lane=2"), ("x-future-header", "1, 2")),
        "Headers are an open list: the next one must not need a new gateway.",
    ),
)


def _arrived(kept: Kept, trial: Trial) -> Finding:
    if kept.credential and trial.key is not None:
        return not_applicable("the gateway has keys of its own")
    named = {name for name, _ in kept.headers}
    others = tuple(pair for pair in SDK_HEADERS if pair[0] not in named)
    exchanged = trial.exchange(plain_request(trial.model, (*others, *kept.headers)), whole())
    if exchanged.arrived is None:
        return absent(exchanged)
    got = exchanged.arrived.head
    sent = Head("", exchanged.sent.headers)
    lost = sorted(name for name in named if got.get(name) is None)
    changed = sorted(named - set(lost) - {name for name in named if _values(sent, name) == _values(got, name)})
    if changed:
        return failed("changed: " + "; ".join(_change(name, sent, got, kept) for name in changed))
    if lost and kept.consumable:
        return passed(f"consumed, as the contract allows: {', '.join(lost)}")
    return judged(not lost, "as sent", f"lost: {', '.join(lost)}")


def _values(head: Head, name: str) -> list[str]:
    """Return a header's values; they may stand in one line or in several (RFC 9110 section 5.3)."""
    return [value.strip() for value in (head.get(name) or "").split(",")]


def _change(name: str, sent: Head, got: Head, kept: Kept) -> str:
    """Say which values of a header were lost; of a credential, nothing but its name."""
    if kept.credential:
        return name
    lost = [value for value in _values(sent, name) if value not in _values(got, name)]
    return f"{name} lost {', '.join(lost)}" if lost else f"{name} has more values, or another order"


def _none_added(trial: Trial) -> Finding:
    bare = (JSON_TYPE, ("anthropic-version", "2023-06-01"))
    exchanged = trial.exchange(plain_request(trial.model, bare), whole())
    if exchanged.arrived is None:
        return absent(exchanged)
    sent = {name for name, _ in bare} | {PROBE_HEADER, "x-api-key"}
    own = {"authorization"} if trial.key is not None else set()
    added = sorted({name for name, _ in exchanged.arrived.head.headers} - sent - own)
    telling = [name for name in added if name not in HARMLESS]
    return judged(not telling, f"added: {', '.join(added)}", f"added: {', '.join(telling)}")


def _hop_by_hop(trial: Trial) -> Finding:
    of_one_hop = (
        ("connection", "keep-alive, x-listed"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-connection", "keep-alive"),
        ("x-listed", "1"),
    )
    exchanged = trial.exchange(plain_request(trial.model, (*SDK_HEADERS, *of_one_hop)), whole())
    if exchanged.arrived is None:
        return absent(exchanged)
    head = exchanged.arrived.head
    passed_on = [name for name, _ in of_one_hop[1:] if head.get(name) is not None]
    passed_on += ["connection: x-listed"] if "x-listed" in (head.get("connection") or "") else []
    return judged(not passed_on, "none upstream", f"passed on: {', '.join(passed_on)}")


def _target(method: str, target: str, trial: Trial) -> Finding:
    """Compare a target, whose query and escapes are the client's, with what arrived."""
    request = replace(plain_request(trial.model), target=target, method=method)
    exchanged = trial.exchange(request if method == "POST" else replace(request, body=b""), whole())
    if exchanged.arrived is None:
        refused = method == "GET" and exchanged.answer.status in NOT_SERVED
        return not_applicable(f"not served: {exchanged.answer.status}") if refused else absent(exchanged)
    got = exchanged.arrived.target
    return judged(got.endswith(target), "as sent", f"{target} became {got}")


#: item -> method, target, what a client asks there, whether the gateway has to serve it.
PATHS = {
    "path-count-tokens": ("POST", "/v1/messages/count_tokens?beta=true", "Claude Code's /context counts there."),
    "path-models": ("GET", "/v1/models?limit=1000", "Claude Code's model discovery asks it."),
    "path-model": ("GET", "/v1/models/claude-opus-5-5", "The SDKs ask for one model."),
    "path-batches": ("POST", "/v1/messages/batches", "Batches cost half."),
    "path-batch-results": (
        "GET",
        "/v1/messages/batches/msgbatch_01/results",
        "The SDKs fetch results at the base URL, not at results_url.",
    ),
    "path-unknown": ("POST", "/v1/future/endpoint?x=1", "The next endpoint must not need a new gateway."),
}


def _path(method: str, target: str, trial: Trial) -> Finding:
    body = compact(plain(trial.model)) if method == "POST" else b""
    exchanged = trial.exchange(Request(body, SDK_HEADERS, method, target), whole())
    answer = exchanged.answer
    if exchanged.arrived is None:
        if answer.status in NOT_SERVED:
            return not_applicable(f"not served: {answer.status}")
        by_itself = answer.status == _OK
        return not_applicable("answered by the gateway itself") if by_itself else absent(exchanged)
    arrived = exchanged.arrived
    if not arrived.target.endswith(target) or method != arrived.method:
        return failed(f"{method} {target} became {arrived.method} {arrived.target}")
    if exchanged.sent.body != arrived.body:
        return failed("another body reached the upstream")
    return judged((answer.status, answer.content) == (_OK, MESSAGE), "passed through", f"the client got {answer}")


def _hello(trial: Trial) -> Finding:
    asked = Request(headers=(("user-agent", "Bun/1.4.4"),), method="HEAD", target="/api/hello")
    exchanged = trial.exchange(asked, whole())
    by = "the upstream" if exchanged.arrived else "the gateway"
    answer = exchanged.answer
    return judged(bool(answer.status), f"{answer.status} by {by}", str(answer))


def _path_item(name: str, method: str, target: str, why: str) -> Item:
    expected = "passed through whole; or answered by the gateway, or refused as not served (404, 405, 501)"
    return Item(name, PROTOCOL, f"{method} {target}", expected, why, partial(_path, method, target))


ITEMS = (
    Item(
        "query-beta",
        PROTOCOL,
        "POST /v1/messages?beta=true",
        "the same target upstream",
        "Claude Code posts every request there; what the query means is not the gateway's to decide.",
        partial(_target, "POST", "/v1/messages?beta=true"),
    ),
    Item(
        "target-escapes",
        HTTP,
        "GET /v1/messages/batches with %2F in the path, %20, + and an empty value in the query",
        "the same target upstream",
        "Written anew, an escape names another thing, or a cursor that is none.",
        partial(_target, "GET", "/v1/messages/batches/a%2Fb%20c?after_id=a%20b+c%2F&empty="),
    ),
    *(
        Item(
            kept.name,
            kept.source,
            kept.sent,
            "the same upstream, or none" if kept.consumable else "the same upstream",
            kept.why,
            partial(_arrived, kept),
        )
        for kept in KEPT
    ),
    Item(
        "header-none-added",
        API,
        "a request with no header beyond the needed ones",
        "none upstream that changes the answer (addresses and traces do not)",
        "An encoding or a beta that the client did not ask for is one that it may not understand.",
        _none_added,
    ),
    Item(
        "header-hop-by-hop",
        HTTP,
        "Keep-Alive, TE, Proxy-Connection, and a header that Connection lists",
        "none of them upstream",
        "They speak of the client's connection; upstream they would speak of another.",
        _hop_by_hop,
    ),
    Item(
        "path-hello",
        PROTOCOL,
        "HEAD /api/hello",
        "any answer, from upstream or from the gateway",
        "Claude Code asks it at its start and must not be kept waiting.",
        _hello,
    ),
    *(_path_item(name, *path) for name, path in PATHS.items()),
)
