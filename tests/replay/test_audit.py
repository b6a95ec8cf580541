"""Breaks and pitfalls of recorded sessions: found where they are, at the difference of two bills, and nowhere else."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from scrimp.core.belief.exchange import PING, Exchange
from scrimp.core.wire.prices import nano_usd
from scrimp.core.wire.usage import Usage
from scrimp.replay.audit import NEGLIGIBLE_TOKENS, Audit, Finding, audit, grouped
from scrimp.replay.branching import steps_of
from scrimp.replay.emulator import bill
from scrimp.replay.gather import Material, gather
from scrimp.replay.policies import cards_of
from scrimp.replay.rates import Rates
from scrimp.replay.regret import input_pico_usd
from scrimp.upstream.pricefeed import load_book
from tests.conftest import DATA
from tests.replay.transcripts import T0_MS, Transcript

RATES = Rates(load_book())
SESSIONS = DATA / "claude_code_sessions"
MINUTE = 60
#: Of claude-opus-4-5, in nano-USD a token: written for five minutes, for an hour, read.
WRITE, WRITE_1H, READ = 6_250, 10_000, 500


@cache
def recorded() -> tuple[Material, Audit]:
    """Return the real sessions and their audit."""
    material = gather([str(SESSIONS)])
    return material, audit(material.accounts, material.exchanges, RATES)


def audited(*sessions: Transcript) -> Audit:
    """Audit sessions of one account."""
    exchanges = sorted((each for one in sessions for each in one.exchanges()), key=lambda each: each.opened_at_ms)
    links = {name: link for one in sessions for name, link in one.links().items()}
    return audit(steps_of(exchanges, links), exchanges, RATES)


def only(found: Audit) -> Finding:
    """Return the one finding."""
    (finding,) = found.findings
    return finding


def talk(pause: int, read: int, ttl: str = "5m") -> Transcript:
    """Return a session that goes on after a pause in seconds, and then read so much of its 50,000 tokens."""
    session = Transcript()
    session.user(0, "go")
    session.answer(2, "m1", 50_003, read=0, ttl=ttl)
    session.result(2 + pause)
    session.answer(4 + pause, "m2", 51_003, read=read, ttl=ttl)
    session.result(6 + pause)
    session.answer(7 + pause, "m3", 52_003, read=51_000, ttl=ttl)
    return session


def test_a_session_without_a_break_has_no_finding() -> None:
    """All that was left was read."""
    found = audited(talk(3, read=50_000))
    assert ([], [], 0, 3, 1) == (found.findings, found.groups, found.cost_nano_usd, found.exchanges, found.sessions)
    assert found.input_nano_usd > 0


def test_an_entry_that_ran_out() -> None:
    """Seven minutes: 50,000 tokens are written anew; one ping would have held them."""
    session = talk(7 * MINUTE, read=0)
    finding = only(audited(session))
    assert ("caching across long idle gaps", "ttl_expired", "m2", "s1") == (
        finding.kind,
        finding.cause,
        finding.exchange_id,
        finding.session_id,
    )
    assert (50_000, 50_000 * (WRITE - READ)) == (finding.tokens, finding.cost_nano_usd)
    assert 50_000 * READ + 3 * 5_000 == finding.hold_nano_usd
    assert finding.gap_ms is not None
    assert 7 <= finding.gap_ms / 60_000 < 7.2


def test_the_cost_is_the_difference_of_two_bills_of_the_emulator() -> None:
    """As it was, less had the prefix been readable: here the same steps, sent in time."""
    session = talk(7 * MINUTE, read=0)
    steps = session.steps()
    cards = cards_of(steps, RATES)
    in_time = [replace(step, at_ms=T0_MS + 60_000 * number, ended_at_ms=None) for number, step in enumerate(steps)]
    costs = [
        sum(input_pico_usd(usage, card) for usage, card in zip(bill(each).usages, cards, strict=True))
        for each in (steps, in_time)
    ]
    assert nano_usd(costs[0] - costs[1]) == audited(session).cost_nano_usd


def test_a_pause_too_long_to_be_held() -> None:
    """Ten hours would have cost more pings than the rewrite; the advice is another one."""
    finding = only(audited(talk(10 * 60 * MINUTE, read=0)))
    assert ("idle_too_long", True) == (finding.cause, (finding.hold_nano_usd or 0) >= (finding.cost_nano_usd or 0))


def test_a_loss_that_nothing_explains() -> None:
    """Alive, unchanged, and not read all the same."""
    finding = only(audited(talk(3, read=4_000)))
    assert ("unexplained", "unknown", 46_000) == (finding.kind, finding.cause, finding.tokens)
    assert 46_000 * (WRITE - READ) == finding.cost_nano_usd


def test_what_the_bill_does_not_show_is_not_told() -> None:
    """An entry that outlived its time was read, so nothing was lost; nor do a few tokens make a break."""
    assert [] == audited(talk(7 * MINUTE, read=50_000)).findings
    assert [] == audited(talk(3, read=50_000 - NEGLIGIBLE_TOKENS)).findings


def test_a_compaction_is_the_price_of_its_summary() -> None:
    """The new history, written instead of read."""
    session = Transcript()
    session.user(0, "go")
    session.answer(2, "m1", 20_003, read=10_000)
    session.result(3)
    session.answer(4, "m2", 21_003, read=20_000)
    session.system(20, "compact_boundary")
    session.user(21, "This is what happened", isCompactSummary=True)
    session.answer(25, "m3", 15_003, read=10_000)
    finding = only(audited(session))
    assert ("history replaced", "compaction", "messages_changed", "m3") == (
        finding.kind,
        finding.cause,
        finding.reason,
        finding.exchange_id,
    )
    assert (5_000, 5_000 * (WRITE - READ)) == (finding.tokens, finding.cost_nano_usd)


def test_another_model_has_another_cache() -> None:
    """What one model has cached is lost on the other."""
    session = Transcript()
    session.user(0, "go")
    session.answer(2, "m1", 50_003)
    session.result(3)
    session.answer(4, "m2", 51_003, model="claude-opus-4-6")
    session.result(5)
    session.answer(6, "m3", 52_003, read=51_000, model="claude-opus-4-6")
    (finding,) = [each for each in audited(session).findings if each.kind != "marks never read"]
    assert ("model", "model_changed", "m2") == (finding.cause, finding.reason, finding.exchange_id)


def test_an_hour_that_was_never_needed() -> None:
    """Three requests within seconds, marked for an hour: 75% of the base price for each token written."""
    finding = only(audited(talk(3, read=50_000, ttl="1h")))
    assert ("1h premium never used", "hour_unused") == (finding.kind, finding.cause)
    assert 52_000 * (WRITE_1H - WRITE) == finding.cost_nano_usd


def test_marks_that_nobody_read() -> None:
    """A session of one request."""
    session = Transcript()
    session.user(0, "go")
    session.answer(2, "m1", 50_003)
    finding = only(audited(session))
    assert ("marks never read", 50_000 * (WRITE - 5_000)) == (finding.kind, finding.cost_nano_usd)


def _warmed(second: float, name: str, agent: str | None, read: int, total: int = 30_003) -> Transcript:
    session = Transcript(name)
    session.user(second, "go")
    more: dict[str, Any] = {"agentId": agent, "isSidechain": True} if agent else {}
    session.answer(second + 4, f"{name}-1", total, read=read, **more)
    session.result(second + 5, **more)
    session.answer(second + 6, f"{name}-2", total + 1_000, read=total - 3, **more)
    return session


def test_sessions_that_each_write_what_they_share() -> None:
    """One began while another wrote the same base: a fan-out. One came after it, and read nothing: its front varies."""
    first = _warmed(-9_000, "s0", None, read=20_000)
    writer, sibling, later = (_warmed(at, name, None, read=0) for at, name in ((0, "s1"), (1, "s2"), (100, "s3")))
    found = {each.exchange_id: (each.kind, each.tokens) for each in audited(first, writer, sibling, later).findings}
    assert ("fan-out written several times", 20_000) == found["s2-1"]
    assert ("variable content before stable content", 20_000) == found["s3-1"]
    assert "s1-1" not in found


def told(**more: Any) -> Exchange:
    """Return an exchange of the gateway's."""
    usage = Usage(cache_write_5m_input_tokens=20_000)
    base = Exchange(
        exchange_id="ex_1",
        opened_at_ms=T0_MS,
        source="gateway",
        session_id="s1",
        served_model="claude-opus-5-5",
        usage=usage,
    )
    return replace(base, **more)


def test_what_the_gateway_saw_stands() -> None:
    """Cause, block, byte and money are the ledger's own; that a date in front of the rest is a pitfall is ours."""
    first = told(exchange_id="ex_0", opened_at_ms=T0_MS - 60_000)
    broken = told(
        break_cause="date",
        break_reason="system_changed",
        break_block="system.0",
        break_byte=41,
        break_lost_tokens=20_000,
        break_cost_nano_usd=123,
    )
    findings = audit(steps_of([first, broken], {}), [first, broken], RATES).findings
    (finding,) = [each for each in findings if each.kind != "marks never read"]
    assert ("variable content before stable content", "date", "system_changed", "system.0", 41, 20_000, 123) == (
        finding.kind,
        finding.cause,
        finding.reason,
        finding.block,
        finding.byte,
        finding.tokens,
        finding.cost_nano_usd,
    )


def test_the_gateway_s_silence_is_believed() -> None:
    """Where it held the requests and found no break, none is made up from lengths."""
    exchanges = [told(exchange_id=f"ex_{number}", opened_at_ms=T0_MS + 1_000 * number) for number in range(3)]
    assert [] == [each for each in audit(steps_of(exchanges, {}), exchanges, RATES).findings if each.reason]


def test_pings_for_nobody_are_found_with_their_money() -> None:
    """At what they were billed, with the request that they repeat; those of a pause that ended are no finding."""
    usage = Usage(cache_read_input_tokens=20_000)
    minutes = {4: usage, 8: usage, 20: Usage(5, 20_000)}
    pings = [
        told(exchange_id=f"ping{minute}", opened_at_ms=T0_MS + minute * 60_000, origin=PING, usage=each)
        for minute, each in minutes.items()
    ]
    back = told(exchange_id="ex_2", opened_at_ms=T0_MS + 600_000, usage=Usage(5, 20_000))
    exchanges = [told(), *pings[:2], back, pings[2]]
    found = audit(steps_of(exchanges, {}), exchanges, RATES)
    finding = only(found)
    read, again = 20_000 * 200, 20_000 * 200 + 5 * 4_000
    assert ("pings nobody came back to", "pings_in_vain", "s1", "ex_2", 20_005, again) == (
        finding.kind,
        finding.cause,
        finding.session_id,
        finding.exchange_id,
        finding.tokens,
        finding.cost_nano_usd,
    )
    assert "hold = false" in finding.fix
    assert (2, 20_000 * 5_000 + 2 * read + 2 * again) == (found.exchanges, found.input_nano_usd)


def test_what_has_no_price_is_listed_last_with_an_unknown_cost() -> None:
    """Unknown is None, and adds nothing."""
    exchange = told(served_model="gpt-9", break_cause="id", break_lost_tokens=5_000)
    found = audit(steps_of([exchange], {}), [exchange], RATES)
    assert (None, 0) == (found.findings[-1].cost_nano_usd, found.cost_nano_usd)


def test_groups_hold_every_finding_once() -> None:
    """Many like findings are one line: sums, counts and the dearest, in the order of money."""
    sessions = [talk(pause * MINUTE, read=0) for pause in (7, 8, 600)]
    for number, session in enumerate(sessions):
        session.session = f"s{number}"
        for row in session.rows:
            row["sessionId"] = f"s{number}"
            if row["type"] == "assistant":
                row["message"] = row["message"] | {"id": f"s{number}-{row['message']['id']}"}
    found = audited(*sessions)
    assert (len(found.findings), found.cost_nano_usd) == (
        sum(group.count for group in found.groups),
        sum(group.cost_nano_usd for group in found.groups),
    )
    costs = [group.cost_nano_usd for group in found.groups]
    assert sorted(costs, reverse=True) == costs
    assert [each.cost_nano_usd for each in found.findings] == sorted(
        (each.cost_nano_usd or 0 for each in found.findings), reverse=True
    )
    assert [] == grouped([])


@pytest.mark.skipif(not SESSIONS.is_dir(), reason="no recorded sessions beside the repository: NOTHING REAL IS AUDITED")
def test_real_sessions() -> None:
    """Breaks cost less than all input, what nothing explains is a small part, and each place is a recorded one."""
    material, found = recorded()
    unknown = sum(each.cost_nano_usd for each in found.groups if each.cause == "unknown")
    assert (True, True) == (0 < found.cost_nano_usd < found.input_nano_usd / 2, unknown < found.cost_nano_usd / 10)
    known = {exchange.exchange_id: exchange for exchange in material.exchanges}
    assert all(known[each.exchange_id].session_id == each.session_id for each in found.findings)
    assert all(each.cost_nano_usd is None or each.cost_nano_usd >= 0 for each in found.findings)


@pytest.mark.skipif(not SESSIONS.is_dir(), reason="no recorded sessions beside the repository: NOTHING REAL IS AUDITED")
@pytest.mark.parametrize("number", range(20))
def test_a_prefix_lost_in_a_real_session_is_found_with_its_money(number: int) -> None:
    """A recorded read, turned into a write of the same tokens: a finding of what that added, but for estimates."""
    material, before = recorded()
    spoilt, exchanges = _spoilt(list(material.exchanges), number)
    after = audit(steps_of(exchanges, material.links), exchanges, RATES)
    known = {each.exchange_id: each.cost_nano_usd or 0 for each in before.findings}
    (finding,) = [each for each in after.findings if each.exchange_id == spoilt and each.cause != "hour_unused"]
    added = after.input_nano_usd - before.input_nano_usd
    assert abs((finding.cost_nano_usd or 0) - known.get(spoilt, 0) - added) <= NEGLIGIBLE_TOKENS * WRITE_1H


def _spoilt(exchanges: list[Exchange], number: int) -> tuple[str, list[Exchange]]:
    """Let one exchange in the middle of a session write what it read."""
    reading = [at for at, each in enumerate(exchanges) if each.usage and each.usage.cache_read_input_tokens > 20_000]
    at = reading[(number * 331) % len(reading)]
    usage = exchanges[at].usage
    assert usage is not None
    name = "cache_write_1h_input_tokens" if usage.cache_write_1h_input_tokens else "cache_write_5m_input_tokens"
    written = {name: getattr(usage, name) + usage.cache_read_input_tokens, "cache_read_input_tokens": 0}
    changed = replace(usage, **written)
    lines = tuple(replace(line, usage=changed) for line in exchanges[at].usage_lines[:1])
    exchanges[at] = replace(exchanges[at], usage=changed, usage_lines=lines)
    return exchanges[at].exchange_id, exchanges
