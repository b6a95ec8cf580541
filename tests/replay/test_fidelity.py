"""Recorded bills against predicted ones: on small transcripts, and on real sessions where they are at hand."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from msgspec.structs import replace

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.branching import steps_of
from scrimp.replay.emulator import bill
from scrimp.replay.fidelity import Fidelity, fidelity
from scrimp.replay.rates import Rates
from scrimp.replay.traces.discover import Reading
from scrimp.replay.traces.links import links_of
from scrimp.upstream.pricefeed import load_book
from tests.conftest import DATA
from tests.replay.transcripts import Transcript

SESSIONS = DATA / "claude_code_sessions"


def score(session: Transcript) -> Fidelity:
    """Return the fidelity of one session."""
    exchanges, links = session.exchanges(), session.links()
    return fidelity(steps_of(exchanges, links), exchanges, links, Rates(load_book()))


def talk(second_read: int) -> Transcript:
    """Return a session of one tool turn that read so much."""
    session = Transcript()
    session.user(0, "go")
    session.answer(2, "m1", 10_003, read=4_000)
    session.result(3)
    session.answer(4, "m2", 11_001, read=second_read, tail=1)
    return session


def test_a_bill_as_predicted_is_exact() -> None:
    """Reads of the whole last prompt are what the rules say."""
    found = score(talk(10_000))

    assert (1.0, 0.0, 1, 1.0, []) == (
        found.total_ratio,
        found.median_session_error,
        found.tool_turns,
        found.tool_turn_reads_exact,
        found.misses,
    )


def test_a_lost_entry_is_listed_with_its_money() -> None:
    """10,000 tokens that were written again instead of read, at Opus 4.5's $6.25 and $0.50 a million."""
    found = score(talk(0))
    (miss,) = found.misses

    assert ("lost", 10_000, 0, 57_500_000) == (
        miss.kind,
        miss.predicted_read_tokens,
        miss.recorded_read_tokens,
        miss.cost_nano_usd,
    )
    assert (0.0, {"lost, no change seen": 57_500_000}, miss.cost_nano_usd) == (
        found.tool_turn_reads_exact,
        found.missed_nano_usd,
        found.recorded_nano_usd - found.predicted_nano_usd,
    )


def test_nothing_recorded_has_no_fidelity() -> None:
    """Unknown is None, never 0."""
    found = fidelity({}, [], {}, Rates(load_book()))

    assert (None, None, None) == (found.total_ratio, found.median_session_error, found.tool_turn_reads_exact)


def test_what_has_no_price_is_left_out() -> None:
    """An unknown model's bill cannot be compared."""
    session = talk(10_000)
    session.model = "somebody-elses-model"
    session.rows = []
    session.last = None
    session.user(0, "go")
    session.answer(2, "m1", 10_003)

    assert 0 == score(session).exchanges


# --- real sessions ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sessions() -> Path:
    """Return the folder of real sessions, or skip."""
    if not SESSIONS.is_dir():
        pytest.skip(f"the recorded sessions are not here: {SESSIONS}")
    return SESSIONS


def test_recorded_bills_are_predicted(sessions: Path) -> None:
    """Issue C, fidelity: median error 1%, tool turns 99% to the token, total within 2%."""
    exchanges = Reading([str(sessions)]).finish().exchanges
    links = links_of([str(sessions)])
    found = fidelity(steps_of(exchanges, links), exchanges, links, Rates(load_book()))

    assert found.median_session_error is not None
    assert found.total_ratio is not None
    assert found.tool_turn_reads_exact is not None
    assert found.median_session_error <= 0.01
    assert 0.98 <= found.total_ratio <= 1.02
    assert found.tool_turn_reads_exact >= 0.99


def test_the_recorded_split_is_not_looked_at(sessions: Path) -> None:
    """With reads and writes of all but each thread's first request moved at random, the prediction is the same."""
    exchanges = Reading([str(sessions)]).finish().exchanges
    links = links_of([str(sessions)])
    moved = _scrambled(exchanges)
    known, blind = steps_of(exchanges, links), steps_of(moved, links)

    assert exchanges != moved
    assert [bill(steps, side_requests=True) for steps in known.values()] == [
        bill(steps, side_requests=True) for steps in blind.values()
    ]


def _scrambled(exchanges: list[Exchange]) -> list[Exchange]:
    """Move tokens between reads and writes as each name's checksum says; the class of the marks stays."""
    seen: set[tuple[str | None, str | None]] = set()
    moved: list[Exchange] = []
    for exchange in exchanges:
        usage = exchange.usage or Usage()
        written, is_first = usage.cache_write_input_tokens, (exchange.session_id, exchange.agent_id) not in seen
        seen.add((exchange.session_id, exchange.agent_id))
        if is_first or not written:
            moved.append(exchange)
            continue
        marked = usage.cache_read_input_tokens + written
        read = crc32(exchange.exchange_id.encode()) % marked
        hour = marked - read if usage.cache_write_1h_input_tokens else 0
        split = replace(
            usage,
            cache_read_input_tokens=read,
            cache_write_1h_input_tokens=hour,
            cache_write_5m_input_tokens=marked - read - hour,
        )
        moved.append(replace(exchange, usage=split))
    return moved
