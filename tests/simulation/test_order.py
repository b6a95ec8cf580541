"""The order lever against the simulator: the bill of a volatile line at the head, and what may never happen to it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from scrimp.core.belief.cache import CacheRules
from scrimp.core.belief.session import Belief
from scrimp.core.plan.planning import Policy
from scrimp.sim.clients import scripted_agent
from scrimp.sim.rules import Rules
from tests.simulation.planned import START_MS, Shell, Turn, clock, with_a_clock

Body = dict[str, Any]

MARK = {"cache_control": {"type": "ephemeral"}}
HEADERS = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
TURNS = 20
PAUSE_MS = 20_000
ORDERED = Policy(mode="safe", order=True)
WORDS = "agent reads the file and mends what is broken then it runs all tests again and says so in two lines".split()
TAKES_SYSTEM, TAKES_NONE = "claude-opus-4-8", "claude-sonnet-4-6"
BINDS = "claude-opus-5-5"


def words(draw: random.Random, count: int) -> str:
    """Return some text, broken into lines."""
    lines = [" ".join(draw.choices(WORDS, k=12)) for _ in range(count // 12)]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines))


def counter(turn: int) -> str:
    """Return a line that no pattern knows at first sight."""
    return f"This is request {turn * 31 + 7} of the session, and the budget left is {9_000 - 31 * turn} credits."


def tools(draw: random.Random) -> list[Body]:
    """Return six tools with two fields each."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}}
    names = ("read", "write", "run", "search", "fetch", "plan")
    return [{"name": name, "description": words(draw, 60), "input_schema": schema} for name in names]


class App(NamedTuple):
    """An application: its model, how it marks, the line that it states, and where."""

    model: str = TAKES_SYSTEM
    marking: str = "automatic"
    line: Callable[[int], str] = clock
    place: str = "head"
    thinking: str | None = None
    change: Callable[[Body, random.Random], None] | None = None
    system_words: int = 4_000

    def request(self, messages: list[Body], turn: int) -> Body:
        """Return the request of a turn."""
        draw = random.Random(7)
        stable = words(draw, self.system_words)
        system = f"{self.line(turn)}\n{stable}" if self.place == "head" else stable
        body: Body = {"model": self.model, "max_tokens": 1_000, "tools": tools(draw)}
        body["messages"] = json.loads(json.dumps(messages))
        last = body["messages"][-1]
        if self.marking == "automatic" and self.place == "head":
            body |= {"system": system} | MARK
        elif self.marking == "automatic":
            body["system"] = system
            last["content"][-1] |= MARK
        else:
            body["system"] = [{"type": "text", "text": system} | MARK]
            last["content"][-1] |= MARK
        if self.place == "tail" and self.model == TAKES_SYSTEM:
            body["messages"].append({"role": "system", "content": self.line(turn)})
        elif self.place == "tail":
            last["content"].append({"type": "text", "text": self.line(turn)})
        if self.thinking:
            body["thinking"] = {"type": self.thinking}
        if self.change:
            self.change(body, random.Random(turn))
        return body


def play(app: App, policy: Policy, rules: Rules | None = None, turns: int = TURNS) -> tuple[Shell, list[Turn | None]]:
    """Run one conversation of a tool loop; a turn is None where the API refused it."""
    shell, now_ms, played = Shell(policy, rules), START_MS, []
    messages: list[Body] = [{"role": "user", "content": [{"type": "text", "text": "SCENARIO:think30 Mend the test."}]}]
    for turn in range(turns):
        sent, answer = shell.send(app.request(messages, turn), HEADERS, now_ms)
        played.append(sent)
        now_ms += answer.duration_ms + PAUSE_MS
        shell.now_ms = now_ms
        if sent is None:
            break
        messages.append({"role": "assistant", "content": answer.body["content"]})
        uses = [block["id"] for block in answer.body["content"] if block["type"] == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": use, "content": words(random.Random(turn), 60)} for use in uses
        ]
        messages.append({"role": "user", "content": results or [{"type": "text", "text": "Go on."}]})
    return shell, played


def before_the_tail(turn: Turn) -> list[str]:
    """Return what a sent request says up to its last mark, marks aside, block by block in cache order."""
    blocks = [*turn.sent.get("tools", ()), *as_blocks(turn.sent.get("system", []))]
    for message in turn.sent["messages"]:
        blocks += [{"role": message["role"], **block} for block in as_blocks(message["content"])]
    last = max((i for i, block in enumerate(blocks) if "cache_control" in block), default=-1)
    bare = ({key: value for key, value in block.items() if key != "cache_control"} for block in blocks[: last + 1])
    return [json.dumps(block) for block in bare]


def as_blocks(content: Any) -> list[Body]:
    """Return content as blocks."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def is_exact(turns: list[Turn | None]) -> bool:
    """Whether every turn was answered and billed as predicted."""
    return all(turn is not None and turn.plan.split.usage == turn.billed for turn in turns)


@pytest.mark.parametrize("marking", ["automatic", "explicit"])
@pytest.mark.parametrize("model", [TAKES_SYSTEM, TAKES_NONE])
def test_a_volatile_line_at_the_head_costs_what_it_costs_at_the_tail(model: str, marking: str) -> None:
    """Twenty turns: within 5% of the bill with that line at the tail, each split exact, the prefix never changes."""
    head, played = play(App(model, marking), ORDERED)
    tail, written = play(App(model, marking, place="tail"), Policy(mode="safe"))
    alone, _ = play(App(model, marking), Policy(mode="safe"))
    bills = [shell.cost_nano_usd for shell in (alone, head, tail)]
    print(f"\nmeasured: {model} {marking}: at the head, put in order, at the tail: {bills}")
    assert is_exact(played)
    assert is_exact(written)
    assert head.cost_nano_usd <= 1.05 * tail.cost_nano_usd < 0.7 * alone.cost_nano_usd
    prefixes = [before_the_tail(turn) for turn in played if turn]
    assert all(now[: len(before)] == before for before, now in pairwise(prefixes))


def test_a_line_that_no_pattern_knows_is_moved_once_it_changed() -> None:
    """A counter is known by its change: one request is written twice; the next conversation reads from its first on."""
    app = App(marking="explicit", line=counter)
    head, played = play(app, ORDERED)
    tail, _ = play(App(marking="explicit", line=counter, place="tail"), Policy(mode="safe"))
    assert is_exact(played)
    assert [False, True, True] == [turn.plan.moved is not None for turn in played[:3] if turn]
    first = sum(turn.plan.predicted_input_cost_nano_usd or 0 for turn in played[:1] if turn)
    assert head.cost_nano_usd <= tail.cost_nano_usd + first
    print(f"\nmeasured: counter, first conversation: ordered {head.cost_nano_usd}, tail {tail.cost_nano_usd}")
    next_one, _ = head.send(app.request([USER], 90), HEADERS, head.now_ms)
    assert is_exact([next_one])
    assert next_one is not None
    assert next_one.billed.cache_read_input_tokens > 0.9 * next_one.billed.total_input_tokens


USER = {"role": "user", "content": [{"type": "text", "text": "SCENARIO:text Another task."}]}


@pytest.mark.parametrize("policy", [Policy(), Policy(mode="safe")])
@pytest.mark.parametrize("line", [clock, counter])
def test_a_gateway_that_may_not_move_it_reports_its_price(policy: Policy, line: Callable[[int], str]) -> None:
    """The default: the text is sent as it came, and a late turn's price is what two invoices differ by, within 8%."""
    left, played = play(App(line=line), policy)
    tail, written = play(App(line=line, place="tail"), policy)
    assert is_exact(played)
    assert all(turn.sent["system"] == turn.asked["system"] for turn in played if turn)
    assert all(
        turn.sent["messages"][0]["content"][0]["text"] == "SCENARIO:think30 Mend the test." for turn in played if turn
    )
    last, other = played[-1], written[-1]
    assert last is not None
    assert other is not None
    found = last.plan.pitfall
    assert found is not None
    assert ("system.0", 0) == (found.path, found.byte)
    assert "behind the last mark" in found.fix
    assert found.fix in last.plan.reason
    differ = (last.plan.predicted_input_cost_nano_usd or 0) - (other.plan.predicted_input_cost_nano_usd or 0)
    print(f"\nmeasured: {line.__name__}: pitfall {found.cost_nano_usd}, invoices differ by {differ}, {found.cause}")
    assert left.cost_nano_usd > tail.cost_nano_usd
    assert differ == pytest.approx(found.cost_nano_usd, rel=0.08)


# --- tools ------------------------------------------------------------------------------------------------------------


def shuffled(body: Body, draw: random.Random) -> None:
    """Put the tools in another order, with a mark on the last of them."""
    for tool in body["tools"]:
        tool.pop("cache_control", None)
    draw.shuffle(body["tools"])
    body["tools"][-1] = body["tools"][-1] | MARK


def rekeyed(body: Body, draw: random.Random) -> None:
    """Write each tool's fields in another order, too."""
    shuffled(body, draw)
    for tool in body["tools"]:
        properties = list(tool["input_schema"]["properties"].items())
        draw.shuffle(properties)
        tool["input_schema"] = {"properties": dict(properties), "type": "object"}


def unmarked_tools(body: Body, draw: random.Random) -> None:
    """Put the tools in another order, without a mark on any."""
    draw.shuffle(body["tools"])


@pytest.mark.parametrize("change", [shuffled, rekeyed, unmarked_tools])
@pytest.mark.parametrize("marking", ["automatic", "explicit"])
def test_drifting_tools_are_sorted(change: Callable[[Body, random.Random], None], marking: str) -> None:
    """After two drifts were seen every request reads what the one before it wrote, each split exact."""
    app = App(marking=marking, line=lambda _: "Be brief.", change=change)
    ordered, played = play(app, ORDERED)
    alone, _ = play(app, Policy(mode="safe"))
    assert is_exact(played)
    moved = [turn for turn in played if turn and turn.plan.moved]
    assert len(moved) >= TURNS - 3
    names = [[tool["name"] for tool in turn.sent["tools"]] for turn in moved]
    assert all(sorted(each) == each for each in names)
    assert all(turn.billed.cache_read_input_tokens > 0.8 * turn.billed.total_input_tokens for turn in moved[1:])
    assert ordered.cost_nano_usd < 0.5 * alone.cost_nano_usd


@pytest.mark.parametrize("marking", ["automatic", "explicit"])
def test_a_stable_order_is_left_alone(marking: str) -> None:
    """Tools that are not sorted but always come alike are sent as they came, and so is a stable system prompt."""
    _, played = play(App(marking=marking, line=lambda _: "Be brief."), ORDERED)
    assert is_exact(played)
    assert all(turn.plan.moved is None and turn.plan.pitfall is None for turn in played if turn)
    assert all(turn.sent["tools"] == turn.asked["tools"] for turn in played if turn and marking == "explicit")


# --- where it stands down ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["new", "old"])
def test_thinking_that_may_be_bound_keeps_the_text_where_it_is(account: Any) -> None:
    """A tail that is gone when the thinking comes back is a 400, as an application's own would be; ours never is."""
    rules = Rules(account=account)
    _, own = play(App(BINDS, place="tail", thinking="adaptive"), Policy(mode="safe"), rules)
    assert (None in own) is (account == "new")
    ordered, played = play(App(BINDS, thinking="adaptive"), ORDERED, rules)
    alone, left = play(App(BINDS, thinking="adaptive"), Policy(mode="safe"), rules)
    assert len(left) == len(played)
    assert alone.cost_nano_usd == ordered.cost_nano_usd
    assert all(turn.plan.moved is None and turn.plan.pitfall is not None for turn in played if turn)


def test_without_thinking_the_same_model_is_put_in_order() -> None:
    """Thinking switched off binds nothing."""
    _, played = play(App(BINDS, thinking="disabled"), ORDERED, Rules(account="new"))
    assert is_exact(played)
    assert all(turn.plan.moved for turn in played if turn)


@pytest.mark.parametrize("model", ["claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5", "claude-sonnet-4-5"])
def test_thinking_that_is_not_bound_lives_with_the_tail(model: str) -> None:
    """Models that hold thinking to nothing: every request is answered, and billed as predicted."""
    thinking = "enabled" if "4-5" in model else "adaptive"
    _, played = play(App(model, thinking=thinking), ORDERED, Rules(account="new"))
    assert is_exact(played)
    assert TURNS == len(played)
    assert all(
        (turn.plan.moved is None) is ("4-5" in model and number > 0) for number, turn in enumerate(played) if turn
    )


def prefilled(body: Body, _draw: random.Random) -> None:
    """End the request with the assistant's own words."""
    body["messages"].append({"role": "assistant", "content": [{"type": "text", "text": "Well,"} | MARK]})
    body.pop("cache_control", None)


def with_a_fallback(body: Body, _draw: random.Random) -> None:
    """Let another model answer where the first one does not."""
    body["fallbacks"] = [{"model": "claude-opus-4-6"}]


@pytest.mark.parametrize("change", [prefilled, with_a_fallback])
@pytest.mark.parametrize("model", [TAKES_SYSTEM, TAKES_NONE])
def test_a_request_that_has_no_place_for_a_tail_goes_as_it_came(model: str, change: Any) -> None:
    """A prefill, and a request that another model may answer."""
    _, played = play(App(model, change=change), ORDERED, turns=4)
    assert None not in played
    assert all(turn.plan.moved is None for turn in played if turn)
    assert all(turn.sent["system"] == turn.asked["system"] for turn in played if turn and turn.plan.edits)


def test_too_many_marks_are_the_clients_own_error() -> None:
    """Five marks are refused with and without us, on the same text."""

    def five(body: Body, _draw: random.Random) -> None:
        body["tools"] = [tool | MARK for tool in body["tools"][:5]]

    _, played = play(App(change=five), ORDERED)
    assert [None] == played


# --- any conversation -------------------------------------------------------------------------------------------------


def whole_block(turn: int) -> list[Body]:
    """Return a system prompt whose first block is volatile, and marked."""
    return [
        {"type": "text", "text": clock(turn)} | MARK,
        {"type": "text", "text": words(random.Random(7), 3_000)} | MARK,
    ]


def in_the_middle(turn: int) -> list[Body]:
    """Return a system prompt with volatile lines at three places, one of which comes and goes."""
    head, rest = words(random.Random(8), 600), words(random.Random(9), 3_000)
    now_and_then = f"Modified files: {turn}\n" if turn % 3 else ""
    first = f"{head}\n{clock(turn)}\n{now_and_then}{head[::-1]}"
    return [{"type": "text", "text": first}, {"type": "text", "text": f"{rest}\nRequest {turn * 17}"} | MARK]


@pytest.mark.parametrize("system", [whole_block, in_the_middle])
@pytest.mark.parametrize("model", [TAKES_SYSTEM, TAKES_NONE])
def test_pieces_anywhere_in_the_system_prompt(model: str, system: Callable[[int], list[Body]]) -> None:
    """A block of its own, lines in two blocks, lines that come and go: all behind the last mark, all splits exact."""
    turn_of = iter(range(TURNS))

    def change(body: Body, _draw: random.Random) -> None:
        body["system"] = system(next(turn_of))

    _, played = play(App(model, marking="explicit", change=change), ORDERED)
    assert is_exact(played)
    assert all(
        turn.billed.cache_read_input_tokens > 0.7 * turn.billed.total_input_tokens for turn in played[4:] if turn
    )
    last = played[-1]
    assert last is not None
    assert clock(TURNS - 1) in json.dumps(last.sent["messages"][-1])
    assert clock(TURNS - 1) not in json.dumps(last.sent["system"])


@pytest.mark.parametrize("seed", range(12))
def test_earlier_turns_stay_as_they_were(seed: int) -> None:
    """Random applications: nothing in front of the last mark ever changes, nothing is lost, every split is exact."""
    draw = random.Random(seed)
    app = App(
        model=draw.choice([TAKES_SYSTEM, TAKES_NONE, "claude-opus-5", "claude-sonnet-4-5"]),
        marking=draw.choice(["automatic", "explicit"]),
        line=draw.choice([clock, counter]),
        change=draw.choice([None, shuffled, rekeyed]),
        system_words=draw.choice([60, 900, 4_000]),
    )
    _, played = play(app, ORDERED, turns=draw.randint(4, 12))
    assert is_exact(played)
    moved = [turn for turn in played if turn and turn.plan.moved]
    prefixes = [before_the_tail(turn) for turn in moved[1:]]
    assert all(now[: len(before)] == before for before, now in pairwise(prefixes[2:]))
    for turn in moved:
        asked, sent = (sorted("".join(strings(body)).split()) for body in (turn.asked, turn.sent))
        assert asked == sent


@pytest.mark.slow
def test_clients_of_all_kinds_with_a_clock(seed_count: int | None) -> None:
    """Searches, pictures, branches, subagents, compaction: every split exact, all answered, and a lower bill."""
    rules = Rules(foreign_thinking="kept", account="exempt")
    bills, moved = [], 0
    for policy in (ORDERED, Policy(mode="safe")):
        shell, answered = Shell(policy, rules), 0
        shell.belief = Belief(rules=CacheRules(foreign_thinking_dropped=False))
        for seed in range(seed_count or 120):
            for turn in shell.play(with_a_clock(scripted_agent(seed)), 60_000):
                assert turn.plan.split.usage == turn.billed, seed
                moved += turn.plan.moved is not None
                answered += 1
        bills.append((answered, shell.cost_nano_usd))
    print(f"\nmeasured: clients with a clock: {bills}, {moved} requests put in order")
    assert bills[0][0] == bills[1][0]
    assert moved > 0
    assert bills[0][1] < bills[1][1]


def strings(value: Any) -> list[str]:
    """Return every text of a request that a model reads, one to a line."""
    if isinstance(value, dict):
        return [
            text
            for key, each in value.items()
            if key in {"text", "content", "system", "messages"}
            for text in strings(each)
        ]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [f"{value}\n"] if isinstance(value, str) else []
