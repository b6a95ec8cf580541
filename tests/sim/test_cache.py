"""The cache's documented rules, one by one, on prompts of one token a position unless said otherwise."""

from __future__ import annotations

from itertools import accumulate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim import models
from scrimp.sim.cache import Cache, CacheUse, usage_of
from scrimp.sim.marks import Mark
from scrimp.sim.models import Model
from scrimp.sim.render import Position, Prompt
from scrimp.sim.rules import Rules

FIVE_MINUTES, HOUR = 300_000, 3_600_000


def _model(minimum: int) -> Model:
    found = models.find("claude-opus-5-5")
    assert found is not None
    return msgspec.structs.replace(found, minimum_cacheable_tokens=minimum)


ANY_LENGTH = _model(0)


def _prompt(length: int, name: str = "p", tokens: int = 1) -> Prompt:
    """Return a prompt of `length` positions; prompts of one name share their prefix."""
    positions = tuple(Position("messages", f"messages.{at}", "text", f"{name}{at}", tokens) for at in range(length))
    hashes = tuple(accumulate((f"{name}{at}".encode() for at in range(length)), lambda left, right: left + right))
    ends = tuple(tokens * (at + 1) for at in range(length))
    return Prompt(positions, hashes, ends, tuple(range(length)))


def _at(position: int, ttl: str = "5m") -> Mark:
    """Return a mark on a position, counted from 1 as the documentation does."""
    return Mark(position - 1, ttl)


def _send(
    cache: Cache,
    prompt: Prompt,
    *marks: Mark,
    at_ms: int = 0,
    first_token_ms: int = 0,
    workspace: str = "w",
    model: Model = ANY_LENGTH,
) -> CacheUse:
    use = cache.look_up(workspace, prompt, marks, model, at_ms)
    cache.commit(workspace, prompt, use, at_ms, at_ms + first_token_ms)
    return use


def _parts(use: CacheUse) -> tuple[int, int, int, int]:
    return use.cache_read, use.write_1h, use.write_5m, use.uncached


def test_the_documented_hit() -> None:
    """An entry at 10, a breakpoint at 15: positions 11 to 15 are written."""
    cache = Cache(Rules())
    assert (0, 0, 10, 2) == _parts(_send(cache, _prompt(12), _at(10)))
    assert (10, 0, 5, 1) == _parts(_send(cache, _prompt(16), _at(15)))


def test_the_documented_miss() -> None:
    """An entry at 15, a breakpoint at 35: positions 35 to 16 are looked at, so all is written again."""
    cache = Cache(Rules())
    _send(cache, _prompt(15), _at(15))
    assert (0, 0, 35, 0) == _parts(_send(cache, _prompt(35), _at(35)))


def test_the_window_holds_twenty_positions() -> None:
    """An entry at 16 is the twentieth position of a breakpoint at 35."""
    cache = Cache(Rules())
    _send(cache, _prompt(16), _at(16))
    assert (16, 0, 19, 0) == _parts(_send(cache, _prompt(35), _at(35)))


def test_an_earlier_breakpoint_looks_back_too() -> None:
    """What the last breakpoint cannot see, an earlier one finds."""
    cache = Cache(Rules())
    _send(cache, _prompt(15), _at(15))
    assert (15, 0, 20, 0) == _parts(_send(cache, _prompt(35), _at(20), _at(35)))


def test_nothing_is_written_between_breakpoints() -> None:
    """Only the marked position can be read later, not those before it."""
    cache = Cache(Rules())
    _send(cache, _prompt(10), _at(10))
    assert 1 == len(cache)
    assert (0, 0, 5, 0) == _parts(_send(cache, _prompt(5), _at(5)))


def test_without_a_breakpoint_nothing_is_read() -> None:
    """A request without marks is plain input, whatever is cached."""
    cache = Cache(Rules())
    _send(cache, _prompt(10), _at(10))
    assert (0, 0, 0, 10) == _parts(_send(cache, _prompt(10)))


def test_parallel_requests_miss_until_the_first_token() -> None:
    """Identical requests all write until the first response begins; then they read."""
    cache, prompt = Cache(Rules()), _prompt(10)
    for start in (0, 100, 499):
        assert (0, 0, 10, 0) == _parts(_send(cache, prompt, _at(10), at_ms=start, first_token_ms=500))
    assert (10, 0, 0, 0) == _parts(_send(cache, prompt, _at(10), at_ms=500, first_token_ms=500))


def test_a_lifetime_starts_with_the_request() -> None:
    """Five minutes from the start of the writing request, however long it took to answer."""
    for at_ms, read in ((FIVE_MINUTES - 1, 10), (FIVE_MINUTES, 0)):
        cache = Cache(Rules())
        _send(cache, _prompt(10), _at(10), first_token_ms=60_000)
        assert read == _send(cache, _prompt(10), _at(10), at_ms=at_ms).cache_read


@pytest.mark.parametrize(("keeps", "expected"), [(False, (11, 0, 0, 1)), (True, (0, 11, 0, 1))])
def test_an_hour_over_five_minutes(keeps: bool, expected: tuple[int, int, int, int]) -> None:
    """The entry of an hour lives as a whole, or dies with the five minutes that it goes on from."""
    cache = Cache(Rules(keeps_lifetimes=keeps))
    _send(cache, _prompt(10), _at(10))
    assert (10, 1, 0, 0) == _parts(_send(cache, _prompt(11), _at(11, "1h"), at_ms=60_000))
    assert expected == _parts(_send(cache, _prompt(12), _at(11, "1h"), at_ms=660_000))


@pytest.mark.parametrize("refreshes", [False, True])
def test_reading_keeps_every_part_alive(refreshes: bool) -> None:
    """Each token's lifetime starts again with each reading of the whole; what was written anew is one piece."""
    cache = Cache(Rules(keeps_lifetimes=True, refresh_shorter_entries=refreshes))
    _send(cache, _prompt(10), _at(10))
    _send(cache, _prompt(11), _at(11, "1h"), at_ms=60_000)
    for turn in range(1, 5):
        assert 11 == _send(cache, _prompt(11), _at(11, "1h"), at_ms=turn * (FIVE_MINUTES - 1)).cache_read
    _send(cache, _prompt(11), _at(11, "1h"), at_ms=HOUR)
    assert 11 == _send(cache, _prompt(11), _at(11, "1h"), at_ms=2 * HOUR - 1).cache_read


@pytest.mark.parametrize(("ttl", "life_ms"), [("5m", FIVE_MINUTES), ("1h", HOUR)])
def test_each_use_restarts_the_lifetime(ttl: str, life_ms: int) -> None:
    """Read every life less a second, an entry stays; left alone for one life it is gone."""
    cache, now = Cache(Rules()), 0
    _send(cache, _prompt(10), _at(10, ttl))
    for _ in range(3):
        now += life_ms - 1_000
        assert 10 == _send(cache, _prompt(10), _at(10, ttl), at_ms=now).cache_read
    assert 0 == _send(cache, _prompt(10), _at(10, ttl), at_ms=now + life_ms).cache_read


def test_a_hit_keeps_the_lifetime_of_the_write() -> None:
    """Reading an entry through a mark of the other lifetime neither shortens nor lengthens its life."""
    for written, marked, alive_ms, dead_ms in (
        ("1h", "5m", HOUR - 1, HOUR),
        ("5m", "1h", FIVE_MINUTES - 1, FIVE_MINUTES),
    ):
        for after_ms, read in ((alive_ms, 10), (dead_ms, 0)):
            cache = Cache(Rules())
            _send(cache, _prompt(10), _at(10, written))
            assert 10 == _send(cache, _prompt(10), _at(10, marked), at_ms=1_000).cache_read
            assert read == _send(cache, _prompt(10), _at(10, marked), at_ms=1_000 + after_ms).cache_read


def test_writing_a_live_entry_again_never_shortens_it() -> None:
    """Two parallel writes of one prefix leave the longer lifetime and the earlier first reading."""
    cache = Cache(Rules())
    _send(cache, _prompt(10), _at(10, "1h"), first_token_ms=200)
    _send(cache, _prompt(10), _at(10, "5m"), at_ms=100, first_token_ms=900)
    assert 10 == _send(cache, _prompt(10), _at(10), at_ms=200).cache_read
    assert 10 == _send(cache, _prompt(10), _at(10), at_ms=200 + HOUR - 1).cache_read


def test_mixed_lifetimes_split_the_write() -> None:
    """A to B at the hour's price, B to C at the five minutes', the rest plain (usage computation of the docs)."""
    cache = Cache(Rules())
    assert (0, 6, 4, 2) == _parts(_send(cache, _prompt(12), _at(3, "1h"), _at(6, "1h"), _at(10)))
    assert (10, 0, 5, 3) == _parts(_send(cache, _prompt(18), _at(6, "1h"), _at(15)))
    other = Cache(Rules())
    _send(other, _prompt(3), _at(3, "1h"))
    assert (3, 3, 4, 2) == _parts(_send(other, _prompt(12), _at(3, "1h"), _at(6, "1h"), _at(10)))


def test_the_five_minute_tail_dies_alone() -> None:
    """After ten minutes the hour's prefix is read and the tail is written again."""
    cache = Cache(Rules())
    _send(cache, _prompt(10), _at(6, "1h"), _at(10))
    assert (6, 0, 6, 0) == _parts(_send(cache, _prompt(12), _at(6, "1h"), _at(12), at_ms=600_000))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [(Rules(), (0, 0, 8, 4)), (Rules(minimum_per="request"), (0, 5, 3, 4))],
)
def test_a_short_prefix_is_silently_not_cached(rules: Rules, expected: tuple[int, ...]) -> None:
    """The minimum is asked of each breakpoint's prefix, or of the whole prompt by rule."""
    cache, model = Cache(rules), _model(6)
    assert expected == _parts(_send(cache, _prompt(12), _at(5, "1h"), _at(8), model=model))
    assert (0, 0, 0, 5) == _parts(_send(cache, _prompt(5, "q"), _at(5), model=model))


def test_workspaces_share_nothing() -> None:
    """The same prompt under another credential is written again."""
    cache = Cache(Rules())
    _send(cache, _prompt(10), _at(10), workspace="a")
    assert 0 == _send(cache, _prompt(10), _at(10), workspace="b").cache_read
    assert 10 == _send(cache, _prompt(10), _at(10), workspace="a").cache_read


def test_a_longer_read_keeps_the_shorter_entries_warm() -> None:
    """By rule: going back to an earlier prompt finds its entry alive, or not."""
    for refresh, short, read in ((True, 5, 5), (True, 1, 1), (False, 5, 0), (False, 1, 0)):
        cache = Cache(Rules(refresh_shorter_entries=refresh))
        _send(cache, _prompt(10), _at(short), _at(10))
        _send(cache, _prompt(10), _at(10), at_ms=200_000)
        assert read == _send(cache, _prompt(5), _at(short), at_ms=400_000).cache_read


def test_lifetimes_may_be_kept_apart() -> None:
    """By rule a mark reads only what was written with its own lifetime."""
    cache = Cache(Rules(cross_ttl_hits=False))
    _send(cache, _prompt(10), _at(10, "1h"))
    assert 0 == _send(cache, _prompt(10), _at(10), at_ms=1).cache_read


def test_marks_below_a_hit_may_write_for_free() -> None:
    """By rule a marked position under the hit gets an entry of its own, without a charge."""
    for free, read in ((True, 5), (False, 0)):
        cache = Cache(Rules(write_below_hit=free))
        _send(cache, _prompt(10), _at(10))
        assert (10, 0, 0, 0) == _parts(_send(cache, _prompt(10), _at(5), _at(10), at_ms=1))
        assert read == _send(cache, _prompt(5), _at(5), at_ms=2).cache_read


def test_eviction_loses_its_share() -> None:
    """One look-up in four misses at 250 per mille, always the same ones for one seed; none at 0, all at 1,000."""

    def reads(permille: int, seed: int) -> list[int]:
        cache, found = Cache(Rules(eviction_permille=permille), seed), []
        for at in range(400):
            _send(cache, _prompt(2, f"{at}:"), _at(2))
            found.append(_send(cache, _prompt(2, f"{at}:"), _at(2), at_ms=1).cache_read)
        return found

    assert [400, 0] == [reads(0, 1).count(2), reads(1_000, 1).count(2)]
    assert 260 < reads(250, 1).count(2) < 340
    assert reads(250, 1) == reads(250, 1) != reads(250, 2)


def test_what_has_run_out_is_forgotten() -> None:
    """Forgetting frees memory and changes no answer."""
    cache = Cache(Rules())
    _send(cache, _prompt(3), _at(3))
    _send(cache, _prompt(3, "q"), _at(3, "1h"))
    cache.expire(FIVE_MINUTES)
    assert 1 == len(cache)
    assert 3 == _send(cache, _prompt(3, "q"), _at(3, "1h"), at_ms=FIVE_MINUTES).cache_read


marks_of = st.lists(st.tuples(st.integers(0, 29), st.booleans()), max_size=4, unique_by=lambda each: each[0])


@given(marks_of, st.integers(-1, 29), st.integers(1, 500))
def test_the_classes_add_up(places: list[tuple[int, bool]], read_at: int, tokens: int) -> None:
    """Read, both writes and the rest are never negative and make up the whole prompt."""
    prompt = _prompt(30, tokens=tokens)
    marks = [Mark(at, "1h" if hour else "5m") for at, hour in sorted(places)]
    parts = _parts(usage_of(prompt, marks, read_at))
    assert prompt.total_tokens == sum(parts)
    assert min(parts) >= 0


@given(marks_of.filter(bool), st.integers(1, 30), st.integers(0, FIVE_MINUTES - 1))
def test_a_repeat_in_time_reads_all_that_was_marked(places: list[tuple[int, bool]], length: int, after_ms: int) -> None:
    """The same request within the shortest lifetime reads up to its last mark and writes nothing."""
    marks = [Mark(at, "1h" if hour else "5m") for at, hour in sorted(places) if at < length]
    cache, prompt = Cache(Rules()), _prompt(length)
    _send(cache, prompt, *marks)
    marked = prompt.ends[marks[-1].at] if marks else 0
    assert (marked, 0, 0, length - marked) == _parts(_send(cache, prompt, *marks, at_ms=after_ms))
