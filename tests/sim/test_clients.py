"""The scripted agents: the same for a seed, and between them everything that agents do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

from scrimp.sim.blocks import as_blocks, walk
from scrimp.sim.clients import Ask, Played, play, scripted_agent
from scrimp.sim.habits import CACHING, Traffic
from scrimp.sim.machine import Simulator
from scrimp.sim.models import day_ms

START = day_ms("2026-11-22")


def _played(seeds: range) -> list[list[Played]]:
    simulator = Simulator(seed=1)
    return [play(scripted_agent(seed), simulator, START + seed * 1_000) for seed in seeds]


SESSIONS = _played(range(150))
EVERY = [each for session in SESSIONS for each in session]


def test_a_seed_is_a_conversation() -> None:
    """The same seed asks and hears the same, at the same times; another seed does not."""
    again = _played(range(20))
    assert SESSIONS[:20] == again
    assert SESSIONS[0] != SESSIONS[1]


def test_every_request_is_accepted() -> None:
    """An agent sends nothing that the API refuses."""
    assert [] == [each.answer.body for each in EVERY if each.answer.status != 200]


def test_time_only_goes_on() -> None:
    """Requests of a conversation start in order; only those that overlap start before the answers before are out."""
    for session in SESSIONS:
        ended = START
        for before, each in zip([None, *session], session, strict=False):
            assert before is None or before.started_at_ms <= each.started_at_ms
            assert each.ask.overlaps or ended <= each.started_at_ms
            ended = max(ended, each.started_at_ms + each.answer.duration_ms)


def _blocks(ask: Ask) -> Iterator[dict[str, Any]]:
    contents = [message["content"] for message in ask.request["messages"] if isinstance(message["content"], list)]
    yield from (block for content in contents for block in walk(content))


def _messages(played: Played) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = played.ask.request["messages"]
    return messages


def _parallel_uses(played: Played) -> int:
    return [block["type"] for block in played.answer.body["content"]].count("tool_use")


def _is_compacted(session: list[Played]) -> bool:
    """Say whether a summary was asked for and is what the next request begins with."""
    for before, later in pairwise(session):
        if "SCENARIO:summary" in str(_messages(before)[-1]["content"]):
            return str(before.answer.body["content"][0]["text"]) in str(_messages(later)[0]["content"])
    return False


def _shrinks(session: list[Played]) -> bool:
    sizes: list[int] = [len(each.ask.request["messages"]) for each in session if each.ask.agent_id is None]
    return any(later < before for before, later in pairwise(sizes))


def test_between_them_they_do_what_agents_do() -> None:
    """Tool loops, parallel uses, thinking, branches, subagents, other models, long pauses, both ways to send a key."""
    seen = {
        "tool results": any(block["type"] == "tool_result" for each in EVERY for block in _blocks(each.ask)),
        "thinking": any(block["type"] == "thinking" for each in EVERY for block in _blocks(each.ask)),
        "parallel uses": any(_parallel_uses(each) > 1 for each in EVERY),
        "branches": any(_shrinks(session) for session in SESSIONS),
        "subagents": any(each.ask.agent_id for each in EVERY),
        "overlaps": any(each.ask.overlaps for each in EVERY),
        "model changes": any(len({each.ask.request["model"] for each in session}) > 1 for session in SESSIONS),
        "over five minutes": any(each.ask.pause_ms > 300_000 for each in EVERY),
        "over an hour": any(each.ask.pause_ms > 3_600_000 for each in EVERY),
        "streams": {True, False} == {each.ask.request["stream"] for each in EVERY},
        "keys": {"x-api-key", "authorization"} <= {name for each in EVERY for name in each.ask.headers},
        "reads": any(each.answer.body["usage"]["cache_read_input_tokens"] for each in EVERY),
        "pictures": any(block["type"] == "image" for each in EVERY for block in _blocks(each.ask)),
        "references": any(block["type"] == "tool_reference" for each in EVERY for block in _blocks(each.ask)),
        "deferred tools": any(tool.get("defer_loading") for each in EVERY for tool in each.ask.request["tools"]),
        "system messages": any(message["role"] == "system" for each in EVERY for message in _messages(each)),
        "efforts": any("output_config" in message for each in EVERY for message in _messages(each)),
        "compaction": any(_is_compacted(session) for session in SESSIONS),
        "wide turns": any(_parallel_uses(each) > 12 for each in EVERY),
        "hour writes": any(each.answer.body["usage"]["cache_creation"]["ephemeral_1h_input_tokens"] for each in EVERY),
    }
    assert [] == [name for name, found in seen.items() if not found]


def test_every_habit_of_caching_is_played() -> None:
    """No marks, one line of automatic caching, explicit marks of either lifetime, and both together."""

    def habit(ask: Ask) -> tuple[Any, ...]:
        tools, system = ask.request["tools"][-1], ask.request["system"][-1]
        last = as_blocks(ask.request["messages"][-1]["content"])[-1]
        controls = [block.get("cache_control") for block in (tools, system, last)]
        return tuple(control and control.get("ttl", "5m") for control in [*controls, ask.request.get("cache_control")])

    expected = {(each.tools, each.system, each.last, each.automatic) for each in CACHING}
    assert expected == {habit(each.ask) for each in EVERY}


def test_history_is_only_appended_to() -> None:
    """Within a turn each request starts with all messages of the one before, marks aside."""

    def bare(message: dict[str, Any]) -> Any:
        content = message["content"]
        if isinstance(content, str):
            return message["role"], [{"type": "text", "text": content}]
        return message["role"], [{k: v for k, v in block.items() if k != "cache_control"} for block in content]

    appending = Traffic(compaction=False, system_messages=False)
    for seed in range(40):
        session = play(scripted_agent(seed, traffic=appending), Simulator(seed=1), START)
        main = [each.ask for each in session if each.ask.agent_id is None]
        for before, later in pairwise(main):
            common = min(len(before.request["messages"]), len(later.request["messages"])) - 1
            assert [bare(each) for each in before.request["messages"][:common]] == [
                bare(each) for each in later.request["messages"][:common]
            ]


def test_each_kind_of_traffic_can_be_switched_off() -> None:
    """With everything off none of it is left, and the habits of the agents are the same."""
    plain = Traffic(**dict.fromkeys(Traffic.__struct_fields__, False))
    for seed, session in enumerate(SESSIONS[:60]):
        bare = play(scripted_agent(seed, traffic=plain), Simulator(seed=1), START + seed * 1_000)
        assert session[0].ask.request["model"] == bare[0].ask.request["model"]
        assert not any(message["role"] == "system" for each in bare for message in _messages(each))
        kinds = {block["type"] for each in bare for block in _blocks(each.ask)}
        assert not kinds & {"image", "tool_reference"}
        assert all(_parallel_uses(each) <= 12 for each in bare)
        assert not _is_compacted(bare)


def test_an_agent_gives_up_when_it_is_refused() -> None:
    """An error ends the conversation instead of looping."""
    agent = scripted_agent(3)
    asked = next(agent)
    assert 1 == len(asked.request["messages"])
    refusal = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}
    assert [] == list(islice(iter(lambda: _next(agent, refusal), None), 5))


def _next(agent: Any, heard: dict[str, Any]) -> Ask | None:
    try:
        asked: Ask = agent.send(heard)
    except StopIteration:
        return None
    return asked
