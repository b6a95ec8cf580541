"""A gateway of ours that times its own event loop: how long one turn of it takes while a request is served.

    python bench/peers/blocked.py UPSTREAM LEDGER

Prints its URL, serves until standard input ends, then prints one JSON list: for each request the longest turn of the
loop in milliseconds, [by the clock, by the CPU time of the loop's thread]. During a turn nothing else is served.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from scrimp.config import Settings
from scrimp.gateway.asgi import App, Receive, Scope, Send
from scrimp.gateway.build import build
from scrimp.gateway.server import serving, spare_collector


class Turns:
    """Notes the longest turn of the loop: a callback that asks for its own next turn sees each of them end."""

    def __init__(self) -> None:
        self.longest = (0.0, 0.0)
        self._running = False

    def begin(self) -> None:
        """Start to measure, in the loop."""
        self.longest, self._running = (0.0, 0.0), True
        asyncio.get_running_loop().call_soon(self._turned, time.perf_counter(), time.thread_time())

    def end(self) -> tuple[float, float]:
        """Stop, and return the longest turn in milliseconds."""
        self._running = False
        return self.longest

    def _turned(self, clock: float, cpu: float) -> None:
        now, used = time.perf_counter(), time.thread_time()
        self.longest = (max(self.longest[0], (now - clock) * 1e3), max(self.longest[1], (used - cpu) * 1e3))
        if self._running:
            asyncio.get_running_loop().call_soon(self._turned, now, used)


def timed(app: App, into: list[tuple[float, float]]) -> App:
    """Return the app, with the longest turn of each request noted: from its head on to the end of its answer."""

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        turns = Turns()
        turns.begin()
        try:
            await app(scope, receive, send)
        finally:
            into.append(turns.end())

    return measured


def main() -> None:
    """Serve until standard input ends."""
    upstream, ledger = sys.argv[1:]
    longest: list[tuple[float, float]] = []
    app = timed(build(Settings(upstream=upstream, db=ledger, trust_env=False)), longest)
    spare_collector()
    with serving(app) as url:
        print(url, flush=True)
        sys.stdin.read()
    json.dump(longest, sys.stdout)


if __name__ == "__main__":
    main()
