"""Claude Code sessions: what is one exchange, whose it is, when it began, and what kind of work it is."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.replay.traces.claude_code import output_is_partial, read, sniff
from scrimp.replay.traces.trace import Source, Trace

T0 = "2026-11-25T10:00:00.000Z"
T0_MS = 1_795_600_800_000


def _at(second: int) -> str:
    return f"2026-11-25T10:{second // 60:02}:{second % 60:02}.000Z"


def _usage(output: Any = 7, **more: Any) -> dict[str, Any]:
    return {
        "input_tokens": 1,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 3,
        "output_tokens": output,
    } | more


def _user(uuid: str, content: Any, second: int = 0, **more: Any) -> dict[str, Any]:
    row = {"type": "user", "uuid": uuid, "timestamp": _at(second), "sessionId": "s1", "version": "2.1.80"}
    return row | {"message": {"role": "user", "content": content}} | more


def _answer(message_id: str, second: int = 5, parent: str = "u1", **more: Any) -> dict[str, Any]:
    """Return an assistant row; `usage`, `content`, `model` and `stop_reason` go into its message."""
    message = {"id": message_id, "role": "assistant", "model": "claude-opus-4-6", "usage": _usage(), "content": []}
    inner = {key: more.pop(key) for key in ("usage", "content", "model", "stop_reason") if key in more}
    row = {"type": "assistant", "uuid": f"a-{message_id}-{second}", "parentUuid": parent, "timestamp": _at(second)}
    return row | {"sessionId": "s1", "version": "2.1.80", "message": message | inner} | more


def _read(rows: Iterable[dict[str, Any]], path: str = "home/shop/s1.jsonl", sidecar: bytes | None = None) -> Trace:
    return read(Source(path, b"".join(json.dumps(row).encode() + b"\n" for row in rows), sidecar))


def _one(rows: Iterable[dict[str, Any]], path: str = "home/shop/s1.jsonl") -> Exchange:
    (exchange,) = _read(rows, path).exchanges
    return exchange


def _types(rows: Iterable[dict[str, Any]]) -> list[str | None]:
    return [exchange.task_type for exchange in _read(rows).exchanges]


# --- one message, one exchange ---


def test_a_message_on_several_rows_is_one_exchange() -> None:
    """Its usage counts once, with the largest output count; it closes with its last row."""
    rows = [
        _user("u1", "fix the bug"),
        _answer("m1", 5, usage=_usage(3)),
        _answer("m1", 6, usage=_usage(90), stop_reason="tool_use"),
        _answer("m1", 8, usage=_usage(8)),
    ]
    exchange = _one(rows)
    assert Usage(1, 2, 3, 0, 90) == exchange.usage
    assert (T0_MS, T0_MS + 8_000, "tool_use") == (exchange.opened_at_ms, exchange.closed_at_ms, exchange.stop_reason)


def test_every_field_is_filled() -> None:
    """Ids, project, client, model and terms come from the rows."""
    usage = _usage(
        cache_creation={"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2},
        service_tier="batch",
        speed="fast",
        inference_geo="us",
    )
    row = _answer(
        "m1",
        usage=usage,
        cwd="/home/ada/shop",
        requestId="req_1",
        requestedModel="opus",
        promptId="p",
        stop_reason="end_turn",
    )
    exchange = _one([_user("u1", "fix the bug", promptId="p1"), row])
    (line,) = exchange.usage_lines
    assert Usage(1, 2, 1, 2, 7) == exchange.usage == line.usage
    assert ("batch", "fast", "us", "claude-opus-4-6") == (line.service_tier, line.speed, line.inference_geo, line.model)
    assert ("m1", "m1", "req_1", "s1", "p1") == (
        exchange.exchange_id,
        exchange.message_id,
        exchange.request_id,
        exchange.session_id,
        exchange.prompt_id,
    )
    assert ("/home/ada/shop", "claude-code/2.1.80", "opus", "claude-opus-4-6", "claude-code", "main") == (
        exchange.project,
        exchange.client,
        exchange.requested_model,
        exchange.served_model,
        exchange.source,
        exchange.request_class,
    )


def test_iterations_are_billed_line_by_line() -> None:
    """A compaction inside an answer is on top of its totals."""
    iterations = [
        {
            "type": "message",
            "input_tokens": 1,
            "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 3,
            "output_tokens": 7,
        }
    ]
    iterations.append({"type": "compaction", "input_tokens": 100, "output_tokens": 10})
    exchange = _one([_answer("m1", usage=_usage(iterations=iterations))])
    assert [("message", 6), ("compaction", 100)] == [(x.kind, x.usage.total_input_tokens) for x in exchange.usage_lines]
    assert Usage(101, 2, 3, 0, 17) == exchange.usage


@pytest.mark.parametrize(
    ("usage", "expected", "complete"),
    [
        (None, None, False),
        ({}, None, False),
        ({"service_tier": "standard"}, None, False),
        ({"input_tokens": None, "output_tokens": None}, None, False),
        ({"input_tokens": 3}, Usage(3), False),
        ({"output_tokens": 4}, Usage(output_tokens=4), False),
        ({"input_tokens": 0, "output_tokens": 0}, Usage(), True),
    ],
)
def test_unknown_usage_is_not_zero(usage: Any, expected: Usage | None, complete: bool) -> None:
    """No count at all is no usage, one side alone is a lower bound; zeros that are stated are zeros."""
    exchange = _one([_answer("m1", usage=usage)])
    assert (expected, complete, expected is not None) == (
        exchange.usage,
        exchange.usage_complete,
        bool(exchange.usage_lines),
    )


def test_the_row_that_says_most_is_the_usage() -> None:
    """Whichever comes first: a row without counts takes nothing from one that has them."""
    rows = [_answer("m1", usage=usage) for usage in ({}, {"input_tokens": 1}, {"input_tokens": 1, "output_tokens": 0})]
    for order in permutations(rows):
        exchange = _one(order)
        assert (Usage(1), True) == (exchange.usage, exchange.usage_complete)


def test_rows_that_nothing_names_are_exchanges_of_their_own() -> None:
    """Without any id each is one, in each file."""
    row = _answer("m1") | {"uuid": None}
    row["message"]["id"] = None
    exchanges = [*_read([row, row], "a.jsonl").exchanges, *_read([row], "b.jsonl").exchanges]
    assert 3 == len({each.exchange_id for each in exchanges})


@pytest.mark.parametrize(
    "row",
    [
        _answer("m1", model="<synthetic>"),
        _answer("m1", isApiErrorMessage=True),
        _answer("m1", model=None),
        {"type": "assistant", "uuid": "a", "timestamp": T0},
        {"type": "summary", "summary": "x", "leafUuid": "l"},
        {"type": "progress", "uuid": "p", "message": "a text where another kind of row has an object"},
    ],
)
def test_rows_without_an_answer_are_no_exchange_and_no_problem(row: dict[str, Any]) -> None:
    """What the client made up, and kinds that nobody reads, are left out silently."""
    trace = _read([row])
    assert ([], []) == (trace.exchanges, trace.problems)


@pytest.mark.parametrize(
    ("rows", "second"),
    [
        ([_user("u1", "x", 3), _answer("m1", 5)], 3),
        ([_answer("m1", 5, parent="elsewhere")], 5),
        ([_user("u1", "x", 9), _answer("m1", 5)], 5),
        ([{"type": "attachment", "uuid": "u1", "timestamp": _at(4)}, _answer("m1", 5)], 4),
        (
            [
                _user("u1", "x", 1),
                {"type": "api-request", "id": "r", "timestamp": _at(2), "querySource": "sdk"},
                _answer("m1", 5, requestRef="r"),
            ],
            2,
        ),
        ([_user("u1", "x", 3) | {"timestamp": "yesterday"}, _answer("m1", 5)], 5),
    ],
)
def test_an_exchange_opens_with_what_it_answers(rows: list[dict[str, Any]], second: int) -> None:
    """The request's own row knows best, then the parent row, then the first row itself; never after its answer."""
    assert T0_MS + second * 1_000 == _one(rows).opened_at_ms


@pytest.mark.parametrize(
    ("version", "partial"),
    [
        ("2.0.76", False), ("2.1.1", True), ("2.1.2", False), ("2.1.7", False), ("2.1.12", True), ("2.1.43", True),
        ("2.1.44", False), ("2.1.80", False), ("2.1.330", False), ("1.0.98", False), (None, False), ("odd", False),
    ],
)  # fmt: skip
def test_builds_with_partial_output_counts_are_marked(version: str | None, partial: bool) -> None:
    """Only 2.1.1 and 2.1.12 to 2.1.43 wrote the first partial count."""
    assert partial is output_is_partial(version)
    assert partial is _one([_answer("m1", version=version)]).output_partial


# --- threads and kinds of work ---


def test_a_session_keeps_the_kind_of_its_first_telling_prompt() -> None:
    """A greeting says nothing; what comes later does not rename the session."""
    rows = [_user("u1", "hi"), _answer("m1"), _user("u2", "fix the crash"), _answer("m2"), _user("u3", "run the tests")]
    assert ["fix bug"] * 3 == _types([*rows, _answer("m3")])


def test_a_command_names_its_exchanges_until_the_next_prompt() -> None:
    """An acknowledgement does not end it, a local command does not begin anything."""
    command = "<command-message>review</command-message>\n<command-name>/review</command-name>"
    rows = [_user("u1", "add a button"), _answer("m1"), _user("u2", command), _answer("m2"), _user("u3", "yes, go on")]
    rows += [
        _answer("m3"),
        _user("u4", "<command-name>/model</command-name>"),
        _answer("m4"),
        _user("u5", "now explain it"),
    ]
    assert ["implement feature", "/review", "/review", "/review", "implement feature"] == _types([*rows, _answer("m5")])


def test_a_skill_names_its_exchanges_until_the_next_prompt() -> None:
    """The exchange that calls for the skill already belongs to it."""
    skill = [{"type": "tool_use", "name": "Skill", "input": {"skill": "pdf"}}]
    rows = [_user("u1", "add a button"), _answer("m1", content=skill), _answer("m2"), _user("u2", "explain that to me")]
    assert ["skill: pdf", "skill: pdf", "implement feature"] == _types([*rows, _answer("m3")])


def test_notes_of_the_client_are_no_prompts() -> None:
    """Meta rows, tool results, summaries, shell output and interruptions leave the kind of work alone."""
    notes = [
        "[Request interrupted by user]",
        "<bash-stdout>review</bash-stdout>",
        "<local-command-stdout>x</local-command-stdout>",
    ]
    rows = [_user("u1", "review this", isMeta=True), _user("u2", "review it", isCompactSummary=True)]
    rows += [_user("u3", note) for note in notes]
    rows.append(_user("u4", [{"type": "tool_result", "content": "review"}]))
    rows.append(_user("u5", [{"type": "text", "text": "<system-reminder>review</system-reminder>fix the crash"}]))
    assert ["fix bug"] == _types([*rows, _answer("m1")])


@pytest.mark.parametrize(
    ("tools", "kind"),
    [
        (["Read", "Edit"], "other: edits files"),
        (["Bash"], "other: runs commands"),
        (["Grep"], "other: reads files"),
        ([], "other: conversation"),
    ],
)
def test_without_a_telling_prompt_the_tools_name_the_work(tools: list[str], kind: str) -> None:
    """There is no type for whatever was not understood."""
    content = [{"type": "tool_use", "name": name, "input": {}} for name in tools]
    assert [kind] == _types([_user("u1", "hi"), _answer("m1", content=content)])


def test_side_chains_of_older_builds_are_told_apart_by_their_parents() -> None:
    """Two subagents interleaved in one file keep their own prompts, and get their types from the launch."""
    task = {"prompt": "review the diff", "subagent_type": "critic"}
    launch = [{"type": "tool_use", "name": "Task", "input": task}]
    side: dict[str, Any] = {"isSidechain": True}
    rows = [
        _user("u1", "add a button"),
        _answer("m1", content=launch),
        _user("c1", "review the diff", **side),
        _user("d1", "run the tests", **side),
        _answer("m2", 6, "c1", **side),
        _answer("m3", 7, "d1", **side),
        _answer("m4", 8, "a-m2-6", **side),
        _answer("m5", 9, "u1"),
    ]
    found = {each.exchange_id: each for each in _read(rows).exchanges}
    assert [None, "c1", "d1", "c1", None] == [found[f"m{n}"].agent_id for n in range(1, 6)]
    assert [None, "critic", None, "critic", None] == [found[f"m{n}"].agent_type for n in range(1, 6)]
    assert ["subagent: critic", "subagent: tests"] == [found["m2"].task_type, found["m3"].task_type]
    assert ["main", "subagent"] == [found["m1"].request_class, found["m2"].request_class]


AGENT = "home/shop/s1/subagents/agent-x9.jsonl"


@pytest.mark.parametrize(
    ("sidecar", "more", "agent_type"),
    [
        (b'{"agentType":"Explore"}', {}, "Explore"),
        (None, {"attributionAgent": "Plan"}, "Plan"),
        (None, {}, None),
    ],
)
def test_a_subagents_own_file(sidecar: bytes | None, more: dict[str, Any], agent_type: str | None) -> None:
    """Agent id and project come from the path; the type from the sidecar or the rows, else it is an orphan."""
    side: dict[str, Any] = {"isSidechain": True, "agentId": "x9"}
    trace = _read([_user("u1", "explain this", **side), _answer("m1", **side, **more)], AGENT, sidecar)
    (exchange,) = trace.exchanges
    assert ("x9", agent_type, "subagent", "shop") == (
        exchange.agent_id,
        exchange.agent_type,
        exchange.request_class,
        exchange.project,
    )
    assert ([] if agent_type else ["x9"]) == list(trace.orphans)


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("p/s1.jsonl", "repl_main_thread:outputStyle", ("main", "fix bug")),
        ("p/s1.jsonl", "compact", ("compaction", "/compact")),
        ("p/s1.jsonl", "generate_session_title", ("auxiliary", "auxiliary: generate session title")),
        ("p/s1.jsonl", "agent:builtin:Explore", ("main", "fix bug")),
        ("p/s/subagents/agent-acompact-1f.jsonl", None, ("compaction", "/compact")),
        ("p/s/subagents/agent-aprompt_suggestion-1f.jsonl", None, ("auxiliary", "auxiliary: prompt suggestion")),
    ],
)
def test_side_requests_have_classes_of_their_own(path: str, source: str | None, expected: tuple[str, str]) -> None:
    """The request's own row says what it was for, else the agent id does."""
    rows = [
        _user("u1", "fix the crash"),
        {"type": "api-request", "id": "r", "timestamp": T0, "querySource": source},
        _answer("m1", requestRef="r"),
    ]
    exchange = _one(rows, path)
    assert expected == (exchange.request_class, exchange.task_type)


def test_a_compaction_is_noticed_once() -> None:
    """Its boundary and its summary are one; a second one after more answers is another."""
    pair = [
        {"type": "system", "subtype": "compact_boundary", "uuid": "b", "timestamp": T0, "sessionId": "s1"},
        _user("u2", "This session is being continued", isCompactSummary=True),
    ]
    trace = _read(
        [_answer("m1"), *pair, _answer("m2"), _user("u3", "summary", 9, isCompactSummary=True), _answer("m3")]
    )
    assert [("s1", T0_MS), ("s1", T0_MS + 9_000)] == [(each.session_id, each.at_ms) for each in trace.compactions]


def test_copied_rows_are_said_to_be_copies() -> None:
    """A fork names where its rows come from."""
    trace = _read([_answer("m1", forkedFrom={"sessionId": "s0", "messageUuid": "x"}), _answer("m2")])
    assert {"m1"} == trace.copied


# --- bad input ---


def test_bad_lines_cost_only_themselves() -> None:
    """A torn last line, foreign lines and counts that are none are told with their lines; the good part is used."""
    good = json.dumps(_answer("m1")).encode()
    wrong = json.dumps(_answer("m2", usage=_usage("many"))).encode()
    late = json.dumps(_answer("m3") | {"timestamp": None, "parentUuid": None}).encode()
    minus = json.dumps(_answer("m4", usage=_usage(-1))).encode()
    huge = json.dumps(_answer("m5", usage=_usage(10**18))).encode()
    early = json.dumps(_answer("m6") | {"timestamp": "0001-01-01T00:00:00+23:00", "parentUuid": None}).encode()
    lines = [good, b"not json", wrong, b'{"hello":"world"}', late, minus, huge, b"[1]", early, good[:50]]
    data = b"\n".join(lines)
    trace = read(Source("f", data))
    assert ["m1"] == [each.exchange_id for each in trace.exchanges]
    assert {
        (2, 1, "this line is not JSON"),
        (3, 3, "a value of this row has the wrong type or cannot be, as a count beyond 1,000,000,000 tokens"),
        (4, 2, "this line is JSON but no row of a Claude Code session"),
        (5, 2, "this answer has no readable time"),
        (10, 1, "the last line is cut off"),
    } == {(each.line, each.count, each.what) for each in trace.problems}


def test_half_an_emoji_does_not_cost_the_answer() -> None:
    """JavaScript writes half surrogate pairs where a text was cut."""
    row = json.dumps(_answer("m1", content=[{"type": "text", "text": "\ud83d"}])).encode()
    trace = read(Source("f", row + b"\n"))
    assert (1, []) == (len(trace.exchanges), trace.problems)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    """Total over any file."""
    assert [] == read(Source("f", data)).exchanges
    assert sniff(data) in {True, False}


def test_sniffing() -> None:
    """Rows of a session are known by their ids, also after a first line that is broken or of another kind."""
    yes = [{"type": "summary", "leafUuid": "x"}, _user("u", "x"), {"type": "mode", "sessionId": "s"}]
    no = [{"type": "x"}, {"scrimp_export": 1}, {"resourceSpans": []}, ["type", "uuid"]]
    assert [True] * 3 == [sniff(json.dumps(row).encode()) for row in yes]
    assert [False] * 4 == [sniff(json.dumps(row).encode()) for row in no]
    assert sniff(b"broken\n" + json.dumps(yes[0]).encode())


# --- recorded sessions ---


@pytest.mark.data
def test_recorded_sessions_equal_the_table(data: Path) -> None:
    """Exchanges, every token class, side chains and times equal the request table, session by session."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    with gzip.open(data / "cc_requests" / "requests.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["dup"] == "0":
                write_1h = int(row["w1"] or 0)
                counts = {
                    "exchanges": 1,
                    "uncached": int(row["inp"]),
                    "read": int(row["cr"]),
                    "write 5m": int(row["cw"]) - write_1h,
                    "write 1h": write_1h,
                    "output": int(row["out"]),
                    "side": int(row["side"]),
                    "closed": round(float(row["ts_end"]) * 1000),
                }
                table[row["session"]].update(counts)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    problems: list[str] = []
    for path in sorted((data / "claude_code_sessions").rglob("*.jsonl.gz")):
        trace = read(Source(str(path), gzip.decompress(path.read_bytes())))
        problems += map(str, trace.problems)
        for exchange in trace.exchanges:
            usage = exchange.usage or Usage()
            counts = {
                "exchanges": 1,
                "uncached": usage.uncached_input_tokens,
                "read": usage.cache_read_input_tokens,
                "write 5m": usage.cache_write_5m_input_tokens,
                "write 1h": usage.cache_write_1h_input_tokens,
                "output": usage.output_tokens,
                "side": exchange.request_class == "subagent",
                "closed": exchange.closed_at_ms or 0,
            }
            found[exchange.session_id or ""].update(counts)
    assert ([], table) == (problems, found)
