"""The clairvoyant bound against brute force: every token apart, every way to write it, hold it and let it go."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scrimp.core.plan.optimum import Bound, Visit, lossless
from tests.core.plan.trees import CHEAP, brute_force, tree


@given(st.data())
@settings(max_examples=300)
def test_the_bound_is_what_brute_force_finds(data: st.DataObject) -> None:
    """On small trees the cost, and the tokens that nobody reads again, are those of brute force."""
    visits, cards = tree(lambda low, high: data.draw(st.integers(low, high)))
    assert brute_force(visits, cards) == lossless(visits, cards)


def test_nothing_costs_nothing() -> None:
    """No visits have no cost."""
    assert Bound(0, ()) == lossless([], [])


def test_a_lone_prompt_is_best_sent_plain() -> None:
    """What nobody reads again is worth no mark: its price is the plain one."""
    assert Bound(4_000, (100,)) == lossless([Visit(0, 100)], [CHEAP])


def test_what_others_warmed_is_read() -> None:
    """Given tokens cost one read, and then the cheaper of holding and writing again."""
    visits = [Visit(0, 100, given=60), Visit(250_000, 100, 0, 100)]
    assert Bound(60 * (2 + 2) + 40 * (50 + 2), (0, 0)) == lossless(visits, [CHEAP, CHEAP])


@given(st.data(), st.integers(min_value=1, max_value=5))
def test_the_bound_grows_with_the_prices(data: st.DataObject, factor: int) -> None:
    """Rates that are all k times as high make the bound k times as high."""
    visits, cards = tree(lambda low, high: data.draw(st.integers(low, high)))
    dearer = [card.times((factor, 1)) for card in cards]
    assert lossless(visits, cards).cost_pico_usd * factor == lossless(visits, dearer).cost_pico_usd


@given(st.data())
def test_one_visit_more_costs_no_less(data: st.DataObject) -> None:
    """A visit more never lowers the bound of the visits before it."""
    visits, cards = tree(lambda low, high: data.draw(st.integers(low, high)))
    assert lossless(visits[:-1], cards[:-1]).cost_pico_usd <= lossless(visits, cards).cost_pico_usd


def test_a_long_conversation_is_exact() -> None:
    """Ten thousand requests in one chain: each token is written once and read by every later request."""
    visits = [Visit(0, 10)] + [Visit(1_000 * i, 10 + 10 * i, i - 1, 10 * i) for i in range(1, 10_000)]
    reads = sum(10 * i for i in range(1, 10_000)) * CHEAP.cache_read
    writes = 10 * 9_999 * CHEAP.cache_write_5m + 10 * CHEAP.uncached_input
    assert reads + writes == lossless(visits, [CHEAP] * 10_000).cost_pico_usd
