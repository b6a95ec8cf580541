"""The text of an audit: every finding's group has its row, its place and its fix, and nothing recorded can spoil it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.cli.audit_text import as_text
from scrimp.replay.advice import ADVICE, advice_for
from scrimp.replay.audit import Audit, Finding, grouped
from scrimp.replay.traces.trace import Problem, printable


def finding(cause: str, cost: int | None, name: str = "m1", gap_ms: int | None = None) -> Finding:
    """Return a finding."""
    advice = advice_for(cause)
    return Finding(
        kind=advice.kind,
        cause=cause,
        session_id="s1",
        exchange_id=name,
        at_ms=0,
        tokens=1_000,
        cost_nano_usd=cost,
        fix=advice.fix,
        gap_ms=gap_ms,
    )


def text_of(*findings: Finding, top: int = 20) -> str:
    """Return the text of an audit with these findings."""
    total = sum(each.cost_nano_usd or 0 for each in findings)
    audit = Audit(10, 2, 1_000_000_000, total, list(findings), grouped(findings))
    return as_text(audit, [Problem("a.jsonl", "this line is no JSON", "leave it out", line=3)], top, "list price")


FINDINGS = st.builds(
    finding,
    st.sampled_from(sorted(ADVICE)) | st.text(max_size=9),
    st.none() | st.integers(0, 10**12),
    st.text(max_size=20),
)


@given(st.lists(FINDINGS, max_size=12))
def test_each_group_has_its_row_and_its_fix(findings: list[Finding]) -> None:
    """However many there are and however they are called, and no control character of theirs is printed."""
    text = text_of(*findings)
    for group in grouped(findings):
        assert group.dearest.fix in text
    plain = text.replace("\n", "")
    assert printable(plain) == plain
    assert text.endswith("Note: a.jsonl line 3: this line is no JSON; leave it out.")


def test_pauses_are_told_in_minutes_and_hours() -> None:
    """Two hours and more are hours."""
    assert "after 7 minutes" in text_of(finding("ttl_expired", 1, gap_ms=7 * 60_000))
    assert "after 9 hours" in text_of(finding("ttl_expired", 1, gap_ms=9 * 3_600_000))


def test_an_unknown_cost_is_said() -> None:
    """It is never shown as zero."""
    text = text_of(finding("date", None))
    assert ("unknown" in text, "the cost of 1 finding is unknown" in text) == (True, True)


def test_nothing_found() -> None:
    """Good news has no table."""
    assert text_of().startswith("10 requests in 2 sessions: no break of the cache and no pitfall.")
