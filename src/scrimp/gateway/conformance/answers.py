"""Items of whole answers: their headers, their bytes, errors as the API words them, and encodings."""

from __future__ import annotations

from functools import partial

from scrimp.gateway.conformance.codings import ENCODERS, is_accepted
from scrimp.gateway.conformance.item import (
    API,
    CLIENTS,
    HTTP,
    PROTOCOL,
    Finding,
    Item,
    difference,
    failed,
    judged,
    not_applicable,
    passed,
)
from scrimp.gateway.conformance.recorder import Conversation
from scrimp.gateway.conformance.samples import JSON_TYPE, LIMITS, MESSAGE, PROBLEM_HEADERS, PROBLEMS, REQUEST_ID, whole
from scrimp.gateway.conformance.shapes import claude_code_request, plain_request
from scrimp.gateway.conformance.trial import Answer, Trial
from scrimp.gateway.conformance.wire import Headers

_HTML = b"<html>\r\n<body>Bad Gateway</body>\r\n</html>\r\n"


def lost_headers(answer: Answer, headers: Headers) -> str:
    """Return which of these headers the client did not get as they were sent, empty where it got them all."""
    return ", ".join(name for name, value in headers if answer.head.get(name) != value)


def _headers(headers: Headers, trial: Trial) -> Finding:
    """Send an answer with these headers beside the request-id that every answer has."""
    added = tuple(pair for pair in headers if pair != REQUEST_ID)
    answer = trial.exchange(plain_request(trial.model), whole(headers=(JSON_TYPE, *added))).answer
    lost = lost_headers(answer, headers)
    return judged(not lost, "all kept", f"lost or changed: {lost}" if answer.status else str(answer))


def _body(trial: Trial) -> Finding:
    answer = trial.exchange(claude_code_request(trial.model), whole()).answer
    said = difference(MESSAGE, answer.content)
    return judged(answer.content == MESSAGE, said, said)


def _hop_by_hop(trial: Trial) -> Finding:
    headers = (JSON_TYPE, ("connection", "keep-alive, x-listed"), ("keep-alive", "timeout=1234"), ("x-listed", "1"))
    head = trial.exchange(plain_request(trial.model), whole(headers=headers)).answer.head
    kept = [name for name, value in headers[2:] if head.get(name) == value]
    return judged(
        not kept and bool(head.first), "none reached the client", f"relayed: {', '.join(kept) or 'no answer'}"
    )


def _problem(status: int, trial: Trial) -> Finding:
    sent, headers = PROBLEMS[status], PROBLEM_HEADERS.get(status, ())
    answer = trial.exchange(claude_code_request(trial.model), whole(status, (JSON_TYPE, *headers), sent)).answer
    if answer.status != status:
        return failed(f"the client got {answer}")
    if sent != answer.content:
        return failed(difference(sent, answer.content))
    lost = lost_headers(answer, headers)
    return judged(not lost, "verbatim", f"the body is verbatim, but lost: {lost}")


def _html(trial: Trial) -> Finding:
    script = whole(502, (("content-type", "text/html"),), _HTML)
    answer = trial.exchange(plain_request(trial.model), script).answer
    same = (answer.status, answer.content, answer.head.get("content-type")) == (502, _HTML, "text/html")
    return judged(same, "verbatim", f"the client got {answer}")


def _dropped(conversation: Conversation) -> None:
    conversation.hang_up()


def _once(status: int, trial: Trial) -> Finding:
    script = whole(status, (JSON_TYPE, *PROBLEM_HEADERS.get(status, ())), PROBLEMS[status]) if status else _dropped
    exchanged = trial.exchange(plain_request(trial.model), script)
    count = len(exchanged.arrivals)
    return judged(count == 1, "one request upstream", f"{count} requests upstream for one of the client's")


def _refused(trial: Trial) -> Finding:
    """Look at what a client is told when the upstream hangs up without a word."""
    answer = trial.exchange(plain_request(trial.model), _dropped).answer
    acceptable = answer.status >= 500 or (not answer.status and answer.end == "cut")  # noqa: PLR2004 - a server error
    return judged(acceptable, str(answer), f"the client got {answer}")


def _encoded(coding: str, trial: Trial) -> Finding:
    """Answer in a coding, as the API does, where the request that arrived asks for it."""
    sent = ENCODERS[coding](MESSAGE)
    encoded, bare = whole(headers=(JSON_TYPE, ("content-encoding", coding)), body=sent), whole()

    def script(conversation: Conversation) -> None:
        asked = is_accepted(conversation.arrival.head.get("accept-encoding"), coding)
        (encoded if asked else bare)(conversation)

    exchanged = trial.exchange(plain_request(trial.model), script)
    answer = exchanged.answer
    if exchanged.arrived and not is_accepted(exchanged.arrived.head.get("accept-encoding"), coding):
        return not_applicable("the gateway did not ask the upstream for it")
    if (answer.body, answer.head.get("content-encoding")) == (sent, coding):
        return passed(f"the same {len(sent)} bytes")
    if answer.content == MESSAGE:
        return failed("decoded by the gateway; the content is the same")
    return failed(f"the client got {answer}, and other content")


def _problem_item(status: int) -> Item:
    return Item(
        f"error-{status}",
        PROTOCOL,
        f"an error {status} of the API with error.details and its headers",
        "status, bytes and headers as they were",
        "Clients decide by the very words and details: to retry, to compact, to do without a feature, to give up.",
        partial(_problem, status),
    )


def _once_item(name: str, status: int, what: str) -> Item:
    return Item(
        name,
        CLIENTS,
        what,
        "one request upstream for each of the client's",
        "Clients retry by themselves: a gateway that does, too, multiplies the load and may pay twice.",
        partial(_once, status),
    )


ITEMS = (
    Item("answer-body", API, "a message with unknown fields", "the same bytes", "Usage is read from it.", _body),
    Item(
        "answer-request-id",
        PROTOCOL,
        "request-id, anthropic-organization-id and an unknown header",
        "the same at the client",
        "Support asks for it, and it joins the client's record with the bill.",
        partial(_headers, (REQUEST_ID, ("anthropic-organization-id", "org_01"), ("x-future-header", "1"))),
    ),
    Item(
        "answer-ratelimit",
        CLIENTS,
        "anthropic-ratelimit-* of requests, tokens and subscriptions",
        "the same at the client",
        "They tell a client how near it is to being refused.",
        partial(_headers, LIMITS),
    ),
    Item(
        "answer-hop-by-hop",
        HTTP,
        "Keep-Alive, and a header that Connection lists",
        "none of them at the client",
        "They speak of the upstream's connection, not of the client's.",
        _hop_by_hop,
    ),
    *(
        Item(
            f"answer-{coding}",
            API,
            f"a message in {coding}",
            "the same bytes and content-encoding",
            "The client asked for it; decoding costs time on every answer.",
            partial(_encoded, coding),
        )
        for coding in ENCODERS
    ),
    *(_problem_item(status) for status in PROBLEMS),
    Item(
        "error-html",
        CLIENTS,
        "a 502 with an HTML page, as a load balancer writes it",
        "verbatim",
        "It is an outage that clients retry; any other shape may be taken for a refusal.",
        _html,
    ),
    _once_item("once-429", 429, "a 429 with retry-after"),
    _once_item("once-500", 500, "a 500"),
    _once_item("once-529", 529, "a 529"),
    _once_item("once-dropped", 0, "the upstream hangs up before it answers"),
    Item(
        "dropped-answer",
        PROTOCOL,
        "the upstream hangs up before it answers",
        "a 5xx or a closed connection, never a 4xx",
        "After a 400 Claude Code drops features for the rest of its session; an outage it retries.",
        _refused,
    ),
)
