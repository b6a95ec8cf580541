"""A client tried twice against one script: directly, and through the gateway. It has to do the same both times."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from scrimp.config import Settings
from scrimp.core.belief.exchange import Exchange
from scrimp.gateway.build import build
from scrimp.gateway.server import serving
from scrimp.store.ledger import open_ledger
from tests.e2e.source import Source, Step, is_stream
from tests.e2e.stand import Seen, Tap, end_to_end

#: A client: it is given a base URL and a folder of its own, and returns what it made of the answers, as JSON has it.
Client = Callable[[str, Path], Any]

#: What differs from run to run without anything being different: ids of sessions and devices, ports.
_PASSING = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{64}\b|127\.0\.0\.1:\d+")
#: Headers that carry such ids, or times and lengths that follow from them.
_OWN_HEADERS = frozenset(
    {
        "content-length",
        "x-claude-code-agent-id",
        "x-claude-code-prev-tool-durations",
        "x-claude-code-prompt-id",
        "x-claude-code-session-id",
    }
)


@contextmanager
def gateway_before(upstream: str, db: Path) -> Generator[tuple[str, Tap]]:
    """Run the gateway before an upstream; yields its address and the tap before it."""
    tap = Tap(build(Settings(upstream=upstream, db=str(db), trust_env=False)))
    with serving(tap) as url:
        yield url, tap


class Twice:
    """One client, one script, two runs beside each other, held against each other by `run`."""

    def __init__(self, folder: Path, script: Sequence[Step], otherwise: Step) -> None:
        self._folder = folder
        self._db = folder / "ledger.db"
        self.direct, self.behind = Source(script, otherwise), Source(script, otherwise)

    def run(self, client: Client) -> Any:
        """Run the client both ways, hold one against the other, and return what it made of the answers."""
        with ExitStack() as open_:
            direct = open_.enter_context(self.direct).url
            url, self.front = open_.enter_context(gateway_before(open_.enter_context(self.behind).url, self._db))
            with ThreadPoolExecutor(2) as both:
                runs = [both.submit(client, *self._place(*where)) for where in (("direct", direct), ("through", url))]
            told, told_through = (run.result() for run in runs)
        self._check_same(told, told_through)
        self._check_untouched()
        return told

    def _place(self, name: str, url: str) -> tuple[str, Path]:
        folder = self._folder / name
        folder.mkdir()
        return url, folder

    def _check_same(self, told: Any, told_through: Any) -> None:
        direct, through = self._folder / "direct", self._folder / "through"
        asked = [_asked(seen, direct) for seen in self.direct.messages()]
        other = [_asked(seen, through) for seen in self.behind.messages()]
        assert asked == other, _difference(asked, other)
        assert _plain(told, direct) == _plain(told_through, through)
        assert sorted(map(_line, self.direct.seen)) == sorted(map(_line, self.behind.seen))

    def _check_untouched(self) -> None:
        """Check that bytes and headers are the same before and behind the gateway, and that the ledger has each row."""
        fronts = [seen for seen in self.front.seen if seen.is_messages]
        for front, behind in zip(fronts, self.behind.messages(), strict=True):
            assert (front.method, front.target, end_to_end(front.headers)) == (
                behind.method,
                behind.target,
                end_to_end(behind.headers),
            )
            assert front.body == behind.body
            if behind.status is not None:
                assert (behind.status, behind.answer) == (front.status, front.answer)
                assert end_to_end(behind.answer_headers) == end_to_end(front.answer_headers)
        self._check_ledger()
        left = [seen.left for seen in self.direct.messages()]
        assert left == [seen.left for seen in self.behind.messages()]

    def _check_ledger(self) -> None:
        """Check that each request has its row: its status, whether its usage arrived, and whether it was whole."""
        assert [_settled(seen) for seen in self.behind.messages()] == [
            (each.http_status, each.cost_nano_usd is not None, each.usage_complete if each.usage else False)
            for each in self.exchanges()
        ]

    def exchanges(self) -> list[Exchange]:
        """Return what the ledger holds, in the order of opening."""
        with open_ledger(self._db, must_exist=True) as ledger:
            return list(ledger.exchanges())

    def asked(self) -> str:
        """Return the answers that the client had, in order; of requests that asked for no stream with a `p`."""
        return " ".join(f"{seen.status or 'none'}{'' if is_stream(seen) else 'p'}" for seen in self.behind.messages())

    def row(self) -> dict[str, Any]:
        """Return what happened, for the record."""
        exchanges = self.exchanges()
        return {
            "clients": sorted({exchange.client or "unknown" for exchange in exchanges}),
            "answers": self.asked(),
            "requests_direct": len(self.direct.seen),
            "requests": len(self.behind.seen),
            "exchanges": len(exchanges),
            "ledger_nano_usd": sum(exchange.cost_nano_usd or 0 for exchange in exchanges),
        }


def _difference(asked: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> str:
    """Return both sequences, each request as its line, form and digest, for a person to read."""
    both = {"direct": asked, "through": other}
    return "\n".join(f"{name}: {[each[:4] for each in requests]}" for name, requests in both.items())


def _settled(seen: Seen) -> tuple[int | None, bool, bool]:
    """Return an answer's status, and whether it told a usage and the final one."""
    is_final = b"message_delta" in seen.answer or not seen.answer.startswith(b"event:")
    has_usage = b'"usage"' in seen.answer
    return seen.status, has_usage, has_usage and is_final


def _line(seen: Seen) -> tuple[str, str]:
    return seen.method, seen.target


def _asked(seen: Seen, folder: Path) -> tuple[Any, ...]:
    """Return what has to be the same about a request: its line, its form, its headers and a digest of its body."""
    kept = [": ".join(pair) for pair in end_to_end(seen.headers) if pair[0] not in _OWN_HEADERS]
    headers = [_neutral(header.encode(), folder) for header in sorted(kept)]
    return *_line(seen), is_stream(seen), sha256(_neutral(seen.body, folder)).hexdigest()[:16], headers


def _neutral(body: bytes, folder: Path) -> bytes:
    """Return the bytes without what passes, and without the folder, written as a path or as Claude Code names it."""
    names = (str(folder), re.sub(r"[^A-Za-z0-9]", "-", str(folder)))
    for name in names:
        body = body.replace(name.encode(), b"FOLDER")
    return _PASSING.sub(b"PASSING", body)


def _plain(told: Any, folder: Path) -> Any:
    return json.loads(_neutral(json.dumps(told).encode(), folder))


class Trials:
    """Makes the trials of one test, so that it can be told afterwards what the client did."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Twice] = []

    def make(self, script: Sequence[Step], otherwise: Step) -> Twice:
        """Return a trial that is not run yet."""
        folder = self._folder / f"trial-{len(self._made)}"
        folder.mkdir()
        made = Twice(folder, script, otherwise)
        self._made.append(made)
        return made

    def row(self) -> dict[str, Any]:
        """Return what the client did, for the record; a test has one trial."""
        return self._made[0].row()
