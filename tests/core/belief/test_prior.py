"""What is believed of a user of whom nothing is known: plausible numbers of the right shape."""

from __future__ import annotations

from scrimp.core.belief.account import LEFT, Account
from scrimp.core.belief.gaps import EDGES_MS, FIRST_MS, still_open
from scrimp.core.belief.prior import PRIOR_HOUR_SAVED, PRIOR_RATIOS, PRIOR_RETURNS, PRIOR_SECONDS


def test_the_table_has_a_number_for_each_span() -> None:
    """Returns and seconds belong to the spans of `gaps`, and seconds are never less than nothing."""
    assert (len(EDGES_MS), len(EDGES_MS)) == (len(PRIOR_RETURNS), len(PRIOR_SECONDS))
    assert min(*PRIOR_RETURNS, *PRIOR_SECONDS) >= 0


def test_most_who_return_do_so_within_an_hour() -> None:
    """Of pauses beyond five minutes a good part ends within the hour, and few of the rest within a day."""
    hour, day = still_open(Account().table.chances, 1.0, [FIRST_MS + 3_600_000, 86_400_000])
    assert 0.3 < hour < 0.6
    assert 0.6 * hour < day < hour


def test_more_signs_mean_more_returns() -> None:
    """No sign is least, all three are most, and people who went elsewhere return less than anybody."""
    none, one, two, three = (Account().ratio(str(signs)) for signs in range(4))
    assert Account().ratio(LEFT) < none < min(one, two)
    assert max(one, two) < three


def test_what_is_not_known_is_average() -> None:
    """A group that nobody has seen has the table's own chances."""
    assert (1.0, 1.0) == (Account().ratio(None), Account().ratio("never seen"))
    assert "never seen" not in PRIOR_RATIOS


def test_an_hour_saves_more_where_reads_are_dearer() -> None:
    """The belief is listed by the price of a read, and rises with it: pings cost more then."""
    assert sorted(PRIOR_HOUR_SAVED) == list(PRIOR_HOUR_SAVED)
    assert sorted(saved for _, saved in PRIOR_HOUR_SAVED) == [saved for _, saved in PRIOR_HOUR_SAVED]
