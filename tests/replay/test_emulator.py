"""The biller of replay against the block-level emulator of the gateway, which is tested against the simulator."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.belief.cache import CacheRules, Entries, land, predict, send
from scrimp.core.belief.prefix import Mark, Prompt
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.usage import Usage
from scrimp.replay.emulator import Decision, Emulator, Ping, as_recorded, bill
from scrimp.replay.steps import ROOT, SentPing, SideRequest, Step

RULES = CacheRules()
BASE = 2_000
MINUTE = 60_000


def step(at_ms: int, total: int, parent: int = ROOT, **more: Any) -> Step:
    """Return a step of a conversation with a known base whose prompt is marked at its end."""
    shared = more.pop("shared_tokens", None)
    return Step(
        exchange_id=f"x{at_ms}",
        session_id="s",
        at_ms=at_ms,
        model="claude-opus-5-5",
        cache="claude-opus-5-5|standard",
        parent=parent,
        shared_tokens=0 if parent == ROOT else shared if shared is not None else 10**9,
        total_tokens=total,
        base_tokens=more.pop("base_tokens", BASE),
        **more,
    )


def reads(steps: list[Step], **more: Any) -> list[int]:
    """Return what each step reads as recorded."""
    return [usage.cache_read_input_tokens for usage in bill(steps, **more).usages]


def test_a_conversation_reads_what_its_last_request_wrote() -> None:
    """Each request within the lifetime reads the whole prompt before it and writes what is new."""
    found = bill([step(0, 10_000), step(MINUTE, 12_000, 0), step(2 * MINUTE, 15_000, 1)]).usages

    assert [
        Usage(cache_write_5m_input_tokens=10_000),
        Usage(cache_read_input_tokens=10_000, cache_write_5m_input_tokens=2_000),
        Usage(cache_read_input_tokens=12_000, cache_write_5m_input_tokens=3_000),
    ] == found


def test_five_minutes_from_the_start_of_the_request_the_entry_is_gone() -> None:
    """One millisecond inside the lifetime reads, its end does not; a read starts the lifetime again."""
    inside = [step(0, 10_000), step(299_999, 10_000, 0), step(599_998, 10_000, 1)]
    outside = [step(0, 10_000), step(300_000, 10_000, 0)]

    assert ([0, 10_000, 10_000], [0, 0]) == (reads(inside), reads(outside))


def test_a_changed_prompt_keeps_the_base() -> None:
    """Where only tools and system still stand, they are read."""
    assert [0, BASE] == reads([step(0, 10_000), step(MINUTE, 8_000, 0, shared_tokens=BASE)])


def test_an_older_end_is_found_within_the_look_back_only() -> None:
    """A branch reads the older prompt's end if that is within 20 positions of its own, else the base."""
    near = [step(0, 10_000), step(1, 20_000, 0, blocks=30), step(2, 12_000, 0, blocks=19)]
    far = [step(0, 10_000), step(1, 20_000, 0, blocks=30), step(2, 12_000, 0, blocks=20)]

    assert ([0, BASE, 10_000], [0, BASE, BASE]) == (reads(near), reads(far))


def test_what_is_being_written_cannot_be_read_yet() -> None:
    """A second request before the first one's first token writes the same prompt again (API docs: concurrency)."""
    first = step(0, 10_000, first_token_at_ms=2_000)

    assert [0, 0] == reads([first, step(1_999, 12_000, 0)])
    assert [0, 10_000] == reads([first, step(2_000, 12_000, 0)])


def test_a_prompt_below_the_models_minimum_is_not_cached() -> None:
    """Nothing is read or written, and no entry made."""
    found = bill([step(0, 400, base_tokens=0), step(1, 600, 0, base_tokens=0)]).usages

    assert [Usage(uncached_input_tokens=400), Usage(cache_write_5m_input_tokens=600)] == found


def test_what_follows_the_last_mark_is_uncached() -> None:
    """The API bills what stands behind the last mark as input, and the next request reads up to the mark."""
    found = bill([step(0, 10_010, marked_tokens=10_000), step(1, 12_000, 0)]).usages

    assert Usage(uncached_input_tokens=10, cache_write_5m_input_tokens=10_000) == found[0]
    assert 10_000 == found[1].cache_read_input_tokens


def test_a_ping_keeps_the_prefix_alive_and_is_billed_as_a_read() -> None:
    """A ping within the lifetime reads the prompt; the next request then reads it, too, after five minutes."""
    steps = [step(0, 10_000), step(500_000, 12_000, 0)]
    found = Emulator(steps).bill([Decision("5m", "5m", pings_ms=(290_000,)), Decision("5m", "5m")])

    assert [Ping(0, 290_000, Usage(cache_read_input_tokens=10_000))] == found.pings
    assert 10_000 == found.usages[1].cache_read_input_tokens


def test_pings_that_were_sent_keep_the_prefix_and_cost_what_they_were_billed() -> None:
    """As recorded they do what a ping of a policy does; other policies know nothing of them."""
    billed = Usage(uncached_input_tokens=7, cache_read_input_tokens=9_993)
    held = step(0, 10_000, pings=(SentPing(290_000, billed), SentPing(580_000, billed)))
    steps = [held, step(800_000, 11_000, 0)]
    decisions = [Decision("5m", "5m", pings_ms=(290_000, 580_000)), Decision("5m", "5m")]
    as_sent = bill(steps)

    assert Emulator(steps).bill(decisions).usages == as_sent.usages
    assert [Ping(0, 290_000, billed), Ping(0, 580_000, billed)] == as_sent.pings
    assert [0, 10_000] == [usage.cache_read_input_tokens for usage in as_sent.usages]
    assert [0, 0] == [
        usage.cache_read_input_tokens for usage in Emulator(steps).bill([Decision("5m", None)] * 2).usages
    ]


def test_a_ping_that_was_an_upgrade_holds_for_an_hour() -> None:
    """What it wrote for an hour goes on from what it read; without it the entry is gone after five minutes."""
    upgrade = SentPing(290_000, Usage(cache_read_input_tokens=9_900, cache_write_1h_input_tokens=100))
    plain = SentPing(290_000, Usage(cache_read_input_tokens=10_000))
    for ping, read in ((upgrade, 10_000), (plain, 0)):
        assert [0, read] == reads([step(0, 10_000, pings=(ping,)), step(3_800_000, 11_000, 0)])
    assert [0, 0] == reads([step(0, 10_000, pings=(upgrade,)), step(3_890_000, 11_000, 0)])


def test_mixed_lifetimes_are_split_at_the_hour_mark() -> None:
    """An hour up to the front's end, five minutes behind it (API docs, mixing TTLs)."""
    steps = [step(0, 10_000), step(400_000, 15_000, 0)]
    found = Emulator(steps).bill([Decision("5m", "5m"), Decision("5m", "1h", fronts=((0, "1h"),))]).usages[1]

    assert Usage(cache_write_1h_input_tokens=10_000, cache_write_5m_input_tokens=5_000) == found


def test_given_tokens_are_read_whatever_is_known() -> None:
    """A session that starts on what others warmed reads it, and keeps it alive for itself."""
    steps = [step(0, 10_000, given_tokens=BASE), step(MINUTE, 9_000, 0, shared_tokens=BASE)]

    assert [BASE, BASE] == reads(steps)


def test_side_requests_count_only_for_fidelity() -> None:
    """The client's own request keeps a prefix alive when a recorded bill is predicted, and not when policies are."""
    side = SideRequest(at_ms=200_000, tokens=10_500)
    steps = [step(0, 10_000), step(400_000, 12_000, 0, side=side)]

    assert ([0, 0], [0, 10_500]) == (reads(steps), reads(steps, side_requests=True))


# --- the same conversations in blocks ---------------------------------------------------------------------------

_TTLS: st.SearchStrategy[Ttl] = st.sampled_from(("5m", "1h"))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Step], list[Decision]]:
    """Draw steps that branch, cut back to the base and start anew, and any marks and pings for them."""
    steps: list[Step] = []
    decisions: list[Decision] = []
    base = draw(st.sampled_from((0, 300, BASE)))
    has_base = base > 0 and draw(st.booleans())
    at_ms = 0
    for index in range(draw(st.integers(1, 12))):
        at_ms += draw(st.sampled_from((1, 1_000, 100_000, 299_000, 301_000, 3_599_000, 3_601_000)))
        parent = draw(st.integers(ROOT, index - 1))
        whole = draw(st.booleans()) if has_base else True
        start = base if parent == ROOT or not whole else steps[parent].end_tokens
        end = start + draw(st.integers(1, 4_000))
        made = step(
            at_ms,
            end + draw(st.integers(0, 20)),
            parent,
            shared_tokens=start if parent != ROOT else 0,
            marked_tokens=end,
            base_tokens=base if has_base else 0,
            blocks=draw(st.integers(1, 12)),
            first_token_at_ms=at_ms + draw(st.sampled_from((0, 1_500, 400_000))),
        )
        steps.append(made)
        pings = draw(st.lists(st.integers(at_ms + 1, at_ms + 4_000_000), max_size=2, unique=True))
        base_ttl: Ttl | None = draw(_TTLS) if has_base else None
        decisions.append(Decision(draw(_TTLS), base_ttl, draw(_fronts(steps)), tuple(sorted(pings))))
    return steps, decisions


@st.composite
def _fronts(draw: st.DrawFn, steps: list[Step]) -> tuple[tuple[int, Ttl], ...]:
    """Draw marks at the ends of steps that the last one extends."""
    way = _way(steps, len(steps) - 1)[1:]
    picked = draw(st.lists(st.sampled_from(way), max_size=2, unique=True)) if way else []
    return tuple((index, draw(_TTLS)) for index in sorted(picked))


def _way(steps: list[Step], index: int) -> list[int]:
    """Return the steps whose whole prompt stands in a step's, itself first."""
    way = []
    while index != ROOT:
        way.append(index)
        made = steps[index]
        whole = made.parent != ROOT and steps[made.parent].end_tokens <= made.shared_tokens
        index = made.parent if whole else ROOT
    return way


def _prompt(steps: list[Step], decision: Decision, index: int) -> Prompt:
    """Return a step's prompt in blocks: the base, then what each step on its way appended, evenly long."""
    way = _way(steps, index)[::-1]
    base = steps[index].base_tokens
    root = steps[way[0]]
    while root.parent != ROOT and base:  # one base for all that hang together
        root = steps[root.parent]
    digests, tokens, ends = ([f"base {root.exchange_id}".encode()] if base else []), ([base] if base else []), {}
    for each in way:
        made = steps[each]
        start = tokens[-1] if tokens else 0
        count = made.blocks or 1
        for block in range(1, count + 1):
            digests.append(f"{made.exchange_id} {block}".encode())
            tokens.append(start + (made.end_tokens - start) * block // count)
        ends[each] = len(tokens) - 1
    marks = [Mark(0, decision.base_ttl)] if base and decision.base_ttl else []
    marks += [Mark(ends[front], ttl) for front, ttl in decision.fronts]
    marks += [Mark(ends[index], decision.ttl)] if decision.ttl else []
    made = steps[index]
    return Prompt(
        cache=made.cache,
        model=made.model,
        blocks=(),
        digests=tuple(digests),
        tokens=tuple(tokens),
        runs=tuple(range(len(tokens))),
        marks=tuple(sorted(marks, key=lambda mark: mark.index)),
        total_tokens=made.total_tokens,
    )


def _in_blocks(steps: list[Step], decisions: list[Decision]) -> tuple[list[Usage], list[Ping]]:
    """Bill the same steps and pings with the gateway's emulator."""
    entries: Entries = {}
    usages: list[Usage] = []
    pings: list[Ping] = []
    landings: list[tuple[int, str]] = []
    events = [(made.at_ms, 1, index) for index, made in enumerate(steps)]
    events += [(at_ms, 0, index) for index, decision in enumerate(decisions) for at_ms in decision.pings_ms]
    for at_ms, is_step, index in sorted(events):
        for landed in [landing for landing in landings if landing[0] <= at_ms]:
            landings.remove(landed)
            entries = land(entries, landed[1])
        prompt = _prompt(steps, decisions[index], index)
        split = predict(entries, prompt, at_ms, RULES)
        flight = f"{at_ms} {is_step} {index}"
        entries = send(entries, prompt, split, at_ms, flight, RULES)
        if is_step:
            usages.append(split.usage)
            landings.append((steps[index].first_token_at_ms or at_ms, flight))
        else:
            pings.append(Ping(index, at_ms, split.usage))
            entries = land(entries, flight)
    return usages, pings


@given(conversations())
def test_bills_equal_those_of_the_block_level_emulator(drawn: tuple[list[Step], list[Decision]]) -> None:
    """On lengths or on blocks, the same requests cost the same, under any marks, lifetimes and pings."""
    steps, decisions = drawn
    found = Emulator(steps, keeps_lifetimes=False).bill(decisions)

    assert _in_blocks(steps, decisions) == (found.usages, found.pings)


def test_an_hour_dies_with_the_five_minutes_that_it_goes_on_from() -> None:
    """Each token keeps the lifetime that it was written with; under the other reading the whole lives for an hour."""
    steps = [step(0, 10_000), step(MINUTE, 11_000, 0), step(11 * MINUTE, 12_000, 1)]
    decisions = [Decision("5m", None), Decision("1h", None), Decision("1h", None)]
    found = [Emulator(steps, keeps_lifetimes=kept).bill(decisions).usages[2] for kept in (True, False)]

    assert [0, 11_000] == [usage.cache_read_input_tokens for usage in found]


@given(conversations())
def test_classes_add_up_to_the_prompt(drawn: tuple[list[Step], list[Decision]]) -> None:
    """Every token of a prompt is billed once, whatever the decision."""
    steps, decisions = drawn

    assert [made.total_tokens for made in steps] == [
        usage.total_input_tokens for usage in Emulator(steps).bill(decisions).usages
    ]


@given(conversations())
def test_an_emulator_bills_one_policy_after_another_as_if_it_were_the_first(
    drawn: tuple[list[Step], list[Decision]],
) -> None:
    """No entry of one bill is left for the next."""
    steps, decisions = drawn
    emulator = Emulator(steps)
    recorded = [as_recorded(made) for made in steps]
    emulator.bill(decisions)

    assert Emulator(steps).bill(recorded) == emulator.bill(recorded)


def test_unmarked_requests_use_nothing_of_the_cache() -> None:
    """Without a mark the whole prompt is input, even over a warm prefix."""
    steps = [step(0, 10_000), replace(step(1, 12_000, 0), ttl=None)]

    assert Usage(uncached_input_tokens=12_000) == bill(steps).usages[1]
