"""Items of connections: who leaves, who waits, who shares, and what is said when nobody answers."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from scrimp.gateway.conformance.item import CLIENTS, HTTP, PROTOCOL, Finding, Item, failed, judged, passed
from scrimp.gateway.conformance.recorder import Conversation, Script
from scrimp.gateway.conformance.samples import EVENT_TYPE, JSON_TYPE, MESSAGE, PING, PROBLEMS, START, whole
from scrimp.gateway.conformance.shapes import CLAUDE_CODE_HEADERS, plain_request
from scrimp.gateway.conformance.trial import Exchanged, Trial
from scrimp.gateway.conformance.wire import status_of

#: How many requests are sent at once.
PARALLEL_COUNT = 16
#: How often a stream whose client left says something more, in seconds.
_PING_SECONDS = 0.05
_OK, _SERVER_ERROR = 200, 500


def _leaving(trial: Trial, script: Script, arrived: threading.Event, left: queue.Queue[bool]) -> Finding:
    """Send a request, leave as soon as `arrived` is set, and see whether the upstream is left, too."""
    request, token = trial.marked(plain_request(trial.model, CLAUDE_CODE_HEADERS, stream=True))
    trial.recorder.expect(token, script)
    with trial.connected() as link:
        link.send(trial.raw(request))
        if not arrived.wait(trial.patience_s):
            return failed("nothing reached the upstream")
        link.leave()
    with suppress(queue.Empty):
        if left.get(timeout=trial.patience_s * 2):
            return passed("the gateway left, too")
    return failed("the upstream went on answering nobody")


def _leaves_waiting(trial: Trial) -> Finding:
    arrived, left = threading.Event(), queue.Queue[bool]()

    def script(conversation: Conversation) -> None:
        arrived.set()
        left.put(conversation.left(trial.patience_s))

    return _leaving(trial, script, arrived, left)


def _leaves_streaming(trial: Trial) -> Finding:
    arrived, left = threading.Event(), queue.Queue[bool]()

    def script(conversation: Conversation) -> None:
        conversation.begin(_OK, (EVENT_TYPE,))
        conversation.chunk(START)
        arrived.set()
        left.put(any(_ping_unheard(conversation) for _ in range(int(trial.patience_s / _PING_SECONDS))))

    return _leaving(trial, script, arrived, left)


def _ping_unheard(conversation: Conversation) -> bool:
    """Whether the gateway is gone by the time that a further ping was due."""
    if conversation.left(_PING_SECONDS):
        return True
    try:
        conversation.chunk(PING)
    except OSError:
        return True
    return False


def _parallel(trial: Trial) -> Finding:
    """Answer none of the requests before all of them are here, then each by its own token."""
    gathered = threading.Barrier(PARALLEL_COUNT)
    together: list[int] = []

    def script(conversation: Conversation) -> None:
        with suppress(threading.BrokenBarrierError):
            together.append(gathered.wait(trial.patience_s))
        own = conversation.arrival.body.partition(b"probe-")[2].partition(b"-end")[0]
        conversation.answer(_OK, (JSON_TYPE,), MESSAGE.replace(b"msg_01", b"msg_" + own))

    def one(_index: int) -> Exchanged:
        return trial.exchange(plain_request(trial.model), script)

    with ThreadPoolExecutor(PARALLEL_COUNT) as pool:
        results = list(pool.map(one, range(PARALLEL_COUNT)))
    if len(together) < PARALLEL_COUNT:
        return failed("they were not all upstream at once")
    mixed = sum(_own(each) not in each.answer.body for each in results)
    return judged(not mixed, f"{PARALLEL_COUNT} at once, each got its own answer", f"{mixed} got a wrong answer")


def _own(exchanged: Exchanged) -> bytes:
    token = exchanged.sent.body.partition(b"probe-")[2].partition(b"-end")[0]
    return b"msg_" + token + b"Conformance"


def _keep_alive(trial: Trial) -> Finding:
    """Use one connection for a message, an error and a message again."""
    scripts = (whole(), whole(400, body=PROBLEMS[400]), whole())
    with trial.connected() as link:
        answers = [trial.exchange_on(link, plain_request(trial.model), script).answer for script in scripts]
    statuses = [answer.status for answer in answers]
    lost = 0 in statuses
    return judged(not lost, "three answers on one connection", "the gateway closed the connection between requests")


def _upstream_reuse(trial: Trial) -> Finding:
    with trial.connected() as link:
        trial.exchange_on(link, plain_request(trial.model), whole())
        before = trial.recorder.connections
        arrived = trial.exchange_on(link, plain_request(trial.model), whole()).arrived
    if arrived is None:
        return failed("nothing reached the upstream")
    return judged(arrived.connection <= before, "an open connection was used again", "a new connection was opened")


def _down(trial: Trial) -> Finding:
    """Close the recorder for good; this item has to be the last."""
    trial.recorder.close()
    answer = trial.exchange(plain_request(trial.model), whole()).answer
    shape = "an error of the API's shape" if b'"error"' in answer.body else "no error of the API's shape"
    said = f"{status_of(answer.head)}, {shape}" if answer.status else str(answer)
    return judged(answer.status >= _SERVER_ERROR, said, f"the client got {said}")


_BILLED = "What nobody waits for is still written, and billed, until the upstream is left."

ITEMS = (
    Item(
        "leave-waiting",
        CLIENTS,
        "the client leaves before the answer's head",
        "the gateway leaves upstream",
        _BILLED,
        _leaves_waiting,
    ),
    Item(
        "leave-streaming",
        CLIENTS,
        "the client leaves within a stream",
        "the gateway leaves upstream",
        _BILLED,
        _leaves_streaming,
    ),
    Item(
        "parallel",
        CLIENTS,
        f"{PARALLEL_COUNT} requests at once",
        "all upstream at once; each client gets its own answer",
        "Agents send subagents and tools in parallel.",
        _parallel,
    ),
    Item(
        "keep-alive",
        HTTP,
        "a message, an error and a message on one connection",
        "three answers",
        "Claude Code keeps one connection, and stops doing so after it was cut.",
        _keep_alive,
    ),
    Item(
        "keep-alive-upstream",
        HTTP,
        "two requests, one after another",
        "the second on a connection that is already open",
        "A new one costs two or three round trips on every request.",
        _upstream_reuse,
    ),
    Item(
        "upstream-down",
        PROTOCOL,
        "a request while nothing listens upstream",
        "a 5xx, never a 4xx",
        "Clients retry an outage; after a 400 Claude Code drops features for the rest of its session.",
        _down,
    ),
)
