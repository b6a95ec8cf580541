"""A gateway under load that is killed or stopped at a random moment: what it was sent and sent on, and what it kept.

Clients and upstream share one event loop, so that what reached the upstream and what a client received are told by one
clock. The gateway is `scrimp up` in processes of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from scrimp.core.belief.exchange import Exchange
from scrimp.store.ledger import open_ledger
from tests.processes import children_of

#: How a gateway is ended -> how many clients it serves then.
CLIENTS = {signal.SIGKILL: 8, signal.SIGTERM: 16}
#: From the first request that reached the upstream to the end, in seconds.
LOAD_SECONDS = (0.0, 0.8)
#: Until another worker takes its share of the load, in seconds.
JOIN_SECONDS = 0.4
#: How long a client rests between two requests at most, by round: a busy gateway writes closes with the next opens, an
#: idle one lets them gather.
REST_SECONDS = (0.0, 0.02, 0.2)
#: How long anything may take before a round gives up; none waits for it when all is well.
PATIENCE_SECONDS = 60
#: The closes of this long before a kill may be missing (store/__init__).
LOST_MS_MAX = 100
#: How often a timer of ours looks how late it is, in seconds, and how many of its last looks count.
TICK_SECONDS, TICKS = 0.005, 100

_Event = dict[str, Any]

OUTPUT_TOKENS = 42
_USAGE = {"input_tokens": 7, "output_tokens": OUTPUT_TOKENS}
_MESSAGE = {"type": "message", "id": "msg_1", "model": "claude-opus-5-5", "stop_reason": "end_turn", "usage": _USAGE}
_BEGUN = {**_MESSAGE, "stop_reason": None, "usage": {**_USAGE, "output_tokens": 1}}
_START: _Event = {"type": "message_start", "message": _BEGUN}
_TEXT: _Event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word " * 20}}
_DELTA: _Event = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": OUTPUT_TOKENS},
}
_STOP: _Event = {"type": "message_stop"}


@dataclass
class Round:
    """What one round saw from outside the gateway; times are the event loop's, in seconds."""

    seed: int
    #: The requests that were received upstream, each by the session that it names for itself alone.
    reached: set[str] = field(default_factory=set)
    under_way: asyncio.Event = field(default_factory=asyncio.Event)
    #: When a client had the whole of its answer.
    answered_at: dict[str, float] = field(default_factory=dict)
    killed_at: float = 0.0
    #: How late a timer of ours was before the end, at worst: where others take the processor, all of us wait for it.
    late_ms: float = 0.0
    exit_code: int | None = None


@dataclass
class Outcome:
    """What the ledger held after a round."""

    reached: int
    answered: int
    open_rows: int
    #: Requests whose row is missing though they reached the upstream.
    missing: list[str]
    #: How long before the kill an answer had ended whose row is not closed, in milliseconds, the worst first.
    lost_ms: list[float]
    late_ms: float
    #: Rows that are closed and do not say what the upstream said.
    wrong: list[str]


# --- the wire -----------------------------------------------------------------------------------------------------


async def _head(reader: StreamReader) -> tuple[str, dict[str, str]]:
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in raw[1:] if line)
    return raw[0], {name.lower(): value.strip() for name, value in pairs}


async def _read_answer(reader: StreamReader) -> bytes:
    """Read one answer to its end; returns its body as framed."""
    _, headers = await _head(reader)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    body = b""
    while size := int(await reader.readuntil(b"\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\n")
    return body


def _event(data: _Event) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def _upstream(seen: Round) -> AsyncIterator[str]:
    """Answer requests, plain or streamed, and note each of them before; yields the address."""
    dice = random.Random(seen.seed)
    open_links: set[asyncio.Task[None]] = set()

    async def answer(body: Any, writer: StreamWriter) -> None:
        await asyncio.sleep(dice.uniform(0, 0.005))
        if not body.get("stream"):
            data = json.dumps(_MESSAGE).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data))
            writer.write(data)
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in (_START, *[_TEXT] * dice.randrange(6), _DELTA, _STOP):
            writer.write(_chunk(_event(event)))
            await asyncio.sleep(dice.uniform(0, 0.002))
        writer.write(_chunk(b""))

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                _, headers = await _head(reader)
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
                if not body:
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    continue
                seen.reached.add(json.loads(body["metadata"]["user_id"])["session_id"])
                seen.under_way.set()
                await answer(body, writer)
                await writer.drain()
        writer.close()

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        open_links.add(task)
        task.add_done_callback(open_links.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*open_links)


def _request(name: str, netloc: str, *, stream: bool) -> bytes:
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 50,
        "stream": stream,
        "metadata": {"user_id": json.dumps({"session_id": name})},
        "messages": [{"role": "user", "content": "hello " * 50}],
    }
    data = json.dumps(body).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: {netloc}\r\nx-api-key: sk-fake\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def _client(number: int, url: str, seen: Round) -> None:
    """Send one request after another, every other one streamed, over a few connections, until the gateway is gone."""
    where, dice = urlsplit(url), random.Random(f"{seen.seed} {number}")
    rest, count = REST_SECONDS[seen.seed % len(REST_SECONDS)], 0
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            with closing(writer):
                for _ in range(dice.randrange(1, 20)):
                    count += 1
                    name = f"session-{seen.seed}-{number}-{count}"
                    writer.write(_request(name, where.netloc, stream=(number + count) % 2 == 0))
                    await _read_answer(reader)
                    seen.answered_at[name] = asyncio.get_running_loop().time()
                    await asyncio.sleep(dice.uniform(0, rest))


# --- the gateway --------------------------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    """Return our own command line."""
    return [sys.executable, "-m", "scrimp", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of a command: no proxy, and every warning an error."""
    return {**os.environ, "NO_PROXY": "*", "PYTHONWARNINGS": "error"}


async def _started(upstream: str, db: str, workers: int) -> tuple[asyncio.subprocess.Process, str]:
    """Start a gateway; return it and its address."""
    process = await asyncio.create_subprocess_exec(
        *command("up", "--port", "0", "--upstream", upstream, "--workers", str(workers)),
        stdout=subprocess.PIPE,
        env=environment() | {"SCRIMP_DB": db},
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line.startswith(b"Scrimp listens on "), line
    return process, line.decode().split()[3]


async def _tick(late_s: deque[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        late_s.append(loop.time() - due)


async def _play(seed: int, db: str, workers: int, how: signal.Signals) -> Round:
    seen, loop, late_s = Round(seed), asyncio.get_running_loop(), deque([0.0], TICKS)
    ticking = asyncio.ensure_future(_tick(late_s))
    async with _upstream(seen) as upstream:
        process, url = await _started(upstream, db, workers)
        clients = [asyncio.ensure_future(_client(number, url, seen)) for number in range(CLIENTS[how])]
        await seen.under_way.wait()
        await asyncio.sleep(JOIN_SECONDS * (workers > 1) + random.Random(seed).uniform(*LOAD_SECONDS))
        children = await asyncio.to_thread(children_of, process.pid)
        seen.killed_at, seen.late_ms = loop.time(), round(max(late_s) * 1000, 1)
        for pid in (process.pid, *(children if how == signal.SIGKILL else ())):
            os.kill(pid, how)
        await asyncio.gather(*clients)
        seen.exit_code = await process.wait()
        ticking.cancel()
    return seen


def play(seed: int, db: str, workers: int, how: signal.Signals = signal.SIGKILL) -> Round:
    """Start a gateway on a ledger, load it, and end it at the moment that the seed draws; a kill is of all workers."""
    return asyncio.run(asyncio.wait_for(_play(seed, db, workers, how), PATIENCE_SECONDS))


# --- the ledger ---------------------------------------------------------------------------------------------------


def _is_right(exchange: Exchange) -> bool:
    return exchange.usage_complete and exchange.usage is not None and exchange.usage.output_tokens == OUTPUT_TOKENS


def judge(seen: Round, db: str) -> Outcome:
    """Open the ledger again and hold it against what was seen."""
    begin = f"session-{seen.seed}-"
    with open_ledger(db, must_exist=True) as ledger:
        rows = {name: each for each in ledger.exchanges() if (name := each.session_id or "").startswith(begin)}
    still_open = {name for name, row in rows.items() if row.closed_at_ms is None}
    lost = (seen.killed_at - seen.answered_at[name] for name in still_open & seen.answered_at.keys())
    finished = (name for name in seen.answered_at.keys() & rows.keys() if name not in still_open)
    return Outcome(
        reached=len(seen.reached),
        answered=len(seen.answered_at),
        open_rows=len(still_open),
        missing=sorted(seen.reached - rows.keys()),
        lost_ms=sorted((round(age * 1000, 1) for age in lost if age > 0), reverse=True),
        late_ms=seen.late_ms,
        wrong=sorted(name for name in finished if not _is_right(rows[name])),
    )


def reported(db: str) -> int:
    """Return how many exchanges `scrimp report --db` reads."""
    ended = subprocess.run(
        command("report", "--json", "--db", db), env=environment(), capture_output=True, check=False, timeout=60
    )
    assert (0, b"") == (ended.returncode, ended.stderr)
    count: int = json.loads(ended.stdout)["exchanges"]
    return count


def rounds(db: str, workers: int, count: int) -> Iterator[Outcome]:
    """Play rounds on one ledger, so that each is the restart of the one before; yield how each ended."""
    before = 0
    for seed in range(count):
        seen = play(seed, db, workers)
        outcome = judge(seen, db)
        held = reported(db)
        assert before + outcome.reached <= held, f"round {seed}"
        before = held
        yield outcome
