"""What each kind of rewriting leaves of a prompt, in small transcripts; real sessions are in test_fidelity."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scrimp.core.belief.exchange import CLIENT, PING, Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.branching import account_of, steps_of
from scrimp.replay.emulator import bill
from scrimp.replay.steps import ROOT, SideRequest, Step
from tests.replay.transcripts import T0_MS, Transcript

BASE = 4_000


def talk(**more: Any) -> Transcript:
    """Return a session whose first request found a base of 4,000 tokens warm, and called a tool."""
    session = Transcript(**more)
    session.user(0, "mend the shop")
    session.answer(2, "m1", 10_003, read=BASE)
    return session


def last(session: Transcript) -> Step:
    """Return the last step."""
    return session.steps()[-1]


def place(step: Step) -> tuple[int, int, str | None]:
    """Return where a step hangs, what it shares there, and why no more."""
    return step.parent, step.shared_tokens, step.cause


def test_the_first_request_takes_what_was_warm_as_given() -> None:
    """Its read is where the mark of tools and system lies, and is read under every policy."""
    first = talk().steps()[0]

    assert (ROOT, BASE, BASE, 10_000) == (first.parent, first.base_tokens, first.given_tokens, first.marked_tokens)


def test_a_tool_turn_extends_the_whole_prompt() -> None:
    """Nothing is lost between an answer and the results of its calls."""
    session = talk()
    session.result(3)
    session.answer(4, "m2", 11_001, tail=1)

    assert (0, 10_003, None) == place(last(session))


def test_a_rewound_prompt_extends_the_older_one() -> None:
    """What came after the older answer is not part of it."""
    session = talk()
    fork = session.last
    session.result(3)
    session.answer(4, "m2", 11_000)
    session.last = fork
    session.user(9, "no, do that")
    session.answer(10, "m3", 10_500)

    assert (0, 10_003, None) == place(last(session))


def test_a_compaction_leaves_the_base() -> None:
    """The summary stands for the conversation; tools and system are as they were."""
    session = talk()
    before, session.last = session.last, None
    session.system(60, "compact_boundary", logicalParentUuid=before)
    session.user(60, "This session is being continued ...", isCompactSummary=True)
    session.answer(70, "m2", 6_000)

    assert (0, BASE, "compaction") == place(last(session))


@pytest.mark.parametrize(("noted", "total"), [(True, 11_000), (False, 9_000)])
def test_cleared_tool_results_leave_the_base(noted: bool, total: int) -> None:
    """The client notes that it cleared them, or the prompt got shorter although the conversation grew."""
    session = talk()
    session.result(3)
    if noted:
        session.system(3, "microcompact_boundary")
    session.answer(4, "m2", total)

    assert (0, BASE, "microcompact") == place(last(session))


def test_a_new_conversation_of_the_session_leaves_the_base() -> None:
    """After /clear nothing of the messages is left."""
    session = talk()
    session.last = None
    session.user(9, "something else")
    session.answer(10, "m2", 12_000)

    assert (0, BASE, "cleared") == place(last(session))


@pytest.mark.parametrize(("version", "expected"), [("2.1.20", (0, BASE, "resumed")), ("2.1.330", (0, 10_003, None))])
def test_older_builds_render_a_resumed_conversation_anew(version: str, expected: tuple[int, int, str | None]) -> None:
    """Newer ones send what they had sent (facts on clients)."""
    session = talk(version=version)
    session.result(3)
    session.made_up(90, "No response requested.")
    session.user(95, "go on")
    session.answer(96, "m2", 12_000)

    assert expected == place(last(session))


def test_a_fork_extends_the_request_that_it_copied() -> None:
    """Another session's file repeats the rows; its own first request goes on from the copied one."""
    session = talk()
    fork = Transcript(session="s2")
    fork.user(0, "mend the shop")
    fork.answer(2, "m1", 10_003, read=BASE)
    fork.user(60, "another way")
    fork.answer(62, "m2", 11_000)
    copied = [replace(exchange, session_id="s2") for exchange in fork.exchanges()]
    (steps,) = steps_of([*session.exchanges(), *copied[1:]], {**fork.links(), **session.links()}).values()

    assert (("s1", "s2"), (0, 10_003, None)) == (tuple(step.session_id for step in steps), place(steps[1]))


def test_a_subagent_has_a_beginning_of_its_own() -> None:
    """Its prompt shares nothing with the main thread's, and its first read is given, too."""
    session = talk(version="2.0.76")
    main, session.last = session.last, None
    session.user(3, "look for it", isSidechain=True, agentId="a1")
    session.answer(4, "m2", 6_000, read=2_000, isSidechain=True, agentId="a1")
    session.last = main
    session.result(9)
    session.answer(10, "m3", 11_000)
    steps = session.steps()

    assert [(ROOT, "", BASE), (ROOT, "a1", 2_000), (0, "", 0)] == [
        (step.parent, step.thread, step.given_tokens) for step in steps
    ]


def test_another_model_meets_another_cache() -> None:
    """A prompt that went to one model is cold for the next, and warm again when the first comes back."""
    session = talk(model="claude-opus-4-8", version="2.1.330")
    session.result(3)
    session.answer(4, "m2", 11_000, model="claude-sonnet-5")
    session.result(5)
    session.answer(6, "m3", 12_000)
    steps = session.steps()

    assert [(ROOT, 0, "model"), (0, 10_003, "model")] == [place(step) for step in steps[1:]]


def test_a_skill_is_asked_without_thinking_and_the_next_prompt_with_it() -> None:
    """Builds up to 2.1.37: both switches lose the messages, and the way back finds the older prompt with thinking."""
    session = talk()
    session.result(3)
    session.user(3, "Base directory for this skill: ...", isMeta=True)
    session.answer(4, "m2", 11_000, blocks=[("text", None)])
    session.user(60, "and now?")
    session.answer(62, "m3", 12_000)
    steps = session.steps()

    assert [(0, BASE, "thinking"), (0, 10_003, "thinking")] == [place(step) for step in steps[1:]]


def test_a_plan_that_is_carried_out_without_thinking_meets_the_base_of_its_making() -> None:
    """Models that think as they see fit have another base with thinking; the planning before had warmed it."""
    session = Transcript(model="claude-opus-4-6")
    session.user(0, "Implement the following plan:\n1.")
    session.answer(2, "m1", 10_003, read=BASE, blocks=[("text", None)])
    session.user(60, "and now?")
    session.answer(62, "m2", 12_000)
    second = last(session)

    assert ((ROOT, 0, "thinking"), BASE) == (place(second), second.given_tokens)


def test_an_answer_in_one_piece_has_a_budget_of_its_own() -> None:
    """The client's second try loses the messages; the next stream goes on from the last one."""
    session = talk()
    session.result(3)
    session.answer(90, "m2", 11_000, whole=True)
    session.result(91)
    session.answer(92, "m3", 12_000)
    steps = session.steps()

    assert [(0, BASE, "thinking"), (0, 10_003, "thinking")] == [place(step) for step in steps[1:]]


def test_older_models_drop_the_thinking_of_a_finished_turn() -> None:
    """The next prompt shares what stood before the first answer that thought."""
    session = Transcript(model="claude-sonnet-4-5-20250929")
    session.user(0, "go")
    session.answer(2, "m1", 10_000, read=BASE)
    session.result(3)
    session.answer(4, "m2", 11_000, blocks=[("text", None)])
    session.user(60, "and now?")
    session.answer(62, "m3", 10_800)

    assert (0, 10_000, "thinking_dropped") == place(last(session))


def test_a_suggestion_was_asked_for_when_the_turn_ended() -> None:
    """The client's own request read the prompt and wrote the answer, up to where the next prompt begins."""
    session = talk()
    session.result(3)
    session.answer(9, "m2", 11_003, blocks=[("text", None)])
    session.user(60, "x" * 100)
    session.answer(62, "m3", 12_003)

    assert SideRequest(T0_MS + 9_000, 12_000 - 34) == last(session).side


@pytest.mark.parametrize(("ran", "side"), [(9, SideRequest(T0_MS + 60_000, 12_000 - 34 - 10)), (1, None)])
def test_a_stopped_request_counts_if_its_answer_had_begun(ran: int, side: SideRequest | None) -> None:
    """It had, if it ran longer than a cold prompt takes to its first token."""
    session = talk()
    session.result(3)
    session.answer(4, "m2", 11_003)
    session.user(60, "first words")
    session.user(60 + ran, [{"type": "text", "text": "[Request interrupted by user]"}])
    session.user(99, "x" * 100)
    session.answer(100, "m3", 12_003)

    assert side == last(session).side


def test_sessions_of_one_base_share_it() -> None:
    """A second session of the same client and base hangs on the first."""
    first, second = talk(), Transcript(session="s2")
    second.user(600, "something else")
    second.answer(602, "n1", 9_003, read=BASE)
    (steps,) = steps_of([*first.exchanges(), *second.exchanges()], {**first.links(), **second.links()}).values()

    assert (0, BASE, None) == place(steps[1])


def test_what_has_no_link_follows_its_thread() -> None:
    """Exchanges of other recordings hang on the one before them in their session."""
    exchanges = [
        Exchange(
            exchange_id=f"x{index}",
            opened_at_ms=index,
            source="otel",
            session_id="s",
            served_model="claude-opus-5",
            usage=Usage(cache_write_5m_input_tokens=1_000 * (index + 1)),
        )
        for index in range(3)
    ]
    (steps,) = steps_of(exchanges, {}).values()

    assert [(ROOT, 0, None), (0, 1_000, None), (1, 2_000, None)] == [place(step) for step in steps]


def test_exchanges_without_usage_are_left_out() -> None:
    """Nothing is known of what was refused."""
    assert {} == steps_of([Exchange(exchange_id="x", opened_at_ms=0, source="gateway")], {})


def test_an_account_is_the_credential_else_the_project_else_the_session() -> None:
    """Whose caches they are, as far as is known."""
    bare = Exchange(exchange_id="x", opened_at_ms=0, source="gateway", session_id="s")
    placed = replace(bare, project="shop")

    assert ["s", "shop", "key"] == [account_of(each) for each in (bare, placed, replace(placed, principal="key"))]


# --- no look at the recorded split --------------------------------------------------------------------------------


@st.composite
def sessions(draw: st.DrawFn) -> Transcript:
    """Draw a session of any turns, compactions and pauses."""
    session = talk(model=draw(st.sampled_from(("claude-opus-4-5-20251101", "claude-opus-4-6", "claude-sonnet-4-5"))))
    second, total = 10.0, 10_000
    for index in range(draw(st.integers(1, 8))):
        second += draw(st.sampled_from((5, 200, 400, 4_000)))
        kind = draw(st.sampled_from(("tool", "tool", "prompt", "skill", "summary")))
        if kind == "tool":
            session.result(second)
        else:
            session.user(second, "text", isMeta=kind == "skill", isCompactSummary=kind == "summary")
        total = total // 2 + BASE if kind == "summary" else total + draw(st.integers(100, 5_000))
        blocks = [("text", None)] if draw(st.booleans()) else [("thinking", None), ("tool_use", "Read")]
        session.answer(second + 3, f"n{index}", total, read=draw(st.integers(0, total - 100)), blocks=blocks)
    return session


def scrambled(exchange: Exchange, share: float) -> Exchange:
    """Move tokens between reads and writes, keeping the class of the marks, which a write shows."""
    usage = exchange.usage or Usage()
    marked = usage.total_input_tokens - usage.uncached_input_tokens
    read = min(int(marked * share), marked - 1)
    written = (
        {"cache_write_1h_input_tokens": marked - read}
        if usage.cache_write_1h_input_tokens
        else {"cache_write_5m_input_tokens": marked - read}
    )
    none = {"cache_write_5m_input_tokens": 0, "cache_write_1h_input_tokens": 0}
    return replace(exchange, usage=replace(usage, cache_read_input_tokens=read, **(none | written)))


@given(sessions(), st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_the_recorded_split_changes_no_prediction(session: Transcript, shares: list[float]) -> None:
    """Reads and writes are moved at random in all but the first request of the thread; steps and bill stay."""
    exchanges, links = session.exchanges(), session.links()
    first, *others = exchanges
    moved = [first, *(scrambled(exchange, share) for exchange, share in zip(others, shares, strict=False))]
    (known,) = steps_of(exchanges, links).values()
    (blind,) = steps_of(moved, links).values()

    assert (known, bill(known, side_requests=True)) == (blind, bill(blind, side_requests=True))


# --- what we sent ourselves ---


def row(number: int, tokens: int, **more: Any) -> Exchange:
    """Return a row of a ledger, one a second, whose whole prompt was written to the cache."""
    usage = Usage(cache_write_5m_input_tokens=tokens)
    common: dict[str, Any] = {"source": "gateway", "session_id": "s", "served_model": "claude-opus-5-5"}
    fields = common | {"usage": usage, "opened_at_ms": number * 1_000} | more
    return Exchange(exchange_id=f"x{number}", **fields)


def pings_of(*exchanges: Exchange) -> list[list[int]]:
    """Return, for each step of one account, the seconds at which it was pinged."""
    (steps,) = steps_of(exchanges, {}).values()
    return [[ping.at_ms // 1_000 for ping in step.pings] for step in steps]


@given(st.lists(st.sampled_from([CLIENT, PING, "shadow"]), max_size=12))
def test_what_we_sent_ourselves_is_no_step(origins: list[str]) -> None:
    """Steps are the client's own requests, as if nothing of ours stood between them; each ping stands with one."""
    exchanges = [row(number, 10_000 + number, origin=origin) for number, origin in enumerate([CLIENT, *origins])]
    own = [each for each in exchanges if each.origin == CLIENT]
    (steps,), (bare,) = steps_of(exchanges, {}).values(), steps_of(own, {}).values()
    assert bare == [replace(step, pings=()) for step in steps]
    assert [each.opened_at_ms for each in exchanges if each.origin == PING] == [
        ping.at_ms for step in steps for ping in step.pings
    ]


def test_a_ping_stands_with_the_request_that_it_repeats() -> None:
    """That is the latest one of its thread that is as long as it, else the latest one."""
    requests = [row(0, 10_000), row(1, 20_000), row(2, 30_000, session_id="other", principal=None)]
    same, shorter, unlike = row(3, 20_000, origin=PING), row(4, 10_000, origin=PING), row(5, 15_000, origin=PING)
    account = [replace(each, project="shop") for each in (*requests, same, shorter, unlike)]
    assert [[4], [3, 5], []] == pings_of(*account)
    usages = [ping.usage for step in steps_of(account, {})["shop"] for ping in step.pings]
    assert {same.usage, shorter.usage, unlike.usage} == set(usages)


def test_a_ping_of_another_agent_or_before_anything_stands_nowhere() -> None:
    """A recording may begin in the middle of a pause, and a thread's pings are its own."""
    exchanges = [row(0, 10_000, origin=PING), row(1, 10_000), row(2, 10_000, origin=PING, agent_id="a")]
    assert [[]] == pings_of(*exchanges)
    assert {} == steps_of(exchanges[:1], {})


@pytest.mark.parametrize(("stop", "waiting"), [("tool_use", "tool"), ("end_turn", "turn_ended"), (None, "turn_ended")])
def test_a_ledger_says_what_an_answer_left_open(stop: str | None, waiting: str) -> None:
    """It knows why answers stopped, though not which tools they asked for."""
    (steps,) = steps_of([row(0, 10_000, stop_reason=stop)], {}).values()
    assert [waiting] == [step.waiting for step in steps]


def test_who_only_reads_had_a_mark() -> None:
    """A thread's first request that wrote nothing is no request without marks: it read."""
    (steps,) = steps_of([row(0, 0, usage=Usage(5, 10_000))], {}).values()
    assert [("5m", 10_000)] == [(step.ttl, step.given_tokens) for step in steps]
