"""An import of the user's own past sessions: habits, across projects, and nothing else."""

from __future__ import annotations

from scrimp.core.belief.account import Account
from scrimp.replay.cold_start import taught_by
from scrimp.upstream.pricefeed import load_book
from tests.replay.transcripts import paused_for

BOOK = load_book()


def test_nothing_teaches_nothing() -> None:
    """Without past sessions an account is fresh."""
    assert Account() == taught_by([], {}, BOOK)


def test_past_pauses_are_learnt() -> None:
    """A return after seven minutes is one more in the table, and no money or open pause is left."""
    session = paused_for(420)
    account = taught_by(session.exchanges(), session.links(), BOOK)
    assert Account().table.returns[0] + 1 == account.table.returns[0]
    assert (0, 0, {}) == (account.spent_pico_usd, account.automatic_pico_usd, account.pauses)
    assert 0 < account.appended
