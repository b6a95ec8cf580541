"""The whole simulator, from a request's bytes to its invoice line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.billing import Classes, Line
from scrimp.sim.clients import play, scripted_agent
from scrimp.sim.errors import ApiError
from scrimp.sim.machine import Answer, Simulator
from scrimp.sim.models import MODELS, day_ms
from scrimp.sim.rules import Rules

NOW = day_ms("2026-11-22")
HEADERS = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01"}
SHORT, LONG = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}


def _request(**fields: Any) -> dict[str, Any]:
    system = [{"type": "text", "text": "careful " * 1_000, "cache_control": LONG}]
    base = {"model": "claude-opus-5-5", "max_tokens": 500, "system": system, "cache_control": SHORT}
    return {**base, "messages": [{"role": "user", "content": "go " * 300}], **fields}


def _usage(answer: Answer) -> dict[str, Any]:
    assert 200 == answer.status, answer.body
    usage: dict[str, Any] = answer.body["usage"]
    return usage


def _read(answer: Answer) -> int:
    return int(_usage(answer)["cache_read_input_tokens"])


def _error(answer: Answer, status: int) -> dict[str, Any]:
    assert status == answer.status
    assert "error" == answer.body["type"]
    assert answer.body["request_id"] == dict(answer.headers)["request-id"]
    error: dict[str, Any] = answer.body["error"]
    return error


def test_a_first_request_writes_and_a_second_reads() -> None:
    """The hour's part, the five minutes' part and the total, in the API's own fields."""
    simulator = Simulator()
    total = simulator.count_tokens(_request(), HEADERS, NOW).body["input_tokens"]
    first = _usage(simulator.handle(json.dumps(_request()).encode(), HEADERS, NOW))
    split = first["cache_creation"]
    assert split["ephemeral_1h_input_tokens"] > split["ephemeral_5m_input_tokens"] > 0
    assert total == sum(split.values()) == first["cache_creation_input_tokens"]
    second = _usage(simulator.handle(_request(), HEADERS, NOW + 10_000))
    assert (total, 0, 0) == tuple(
        second[name] for name in ("cache_read_input_tokens", "cache_creation_input_tokens", "input_tokens")
    )


def test_parallel_requests_miss_until_the_first_token_is_out() -> None:
    """Started a moment before it, a twin writes again; at that moment it reads."""
    first_token_ms = Simulator().handle(_request(), HEADERS, NOW).first_token_ms
    assert first_token_ms > 0
    for after_ms, hit in ((0, False), (first_token_ms - 1, False), (first_token_ms, True)):
        simulator = Simulator()
        simulator.handle(_request(), HEADERS, NOW)
        assert hit is bool(_read(simulator.handle(_request(), HEADERS, NOW + after_ms)))


def test_an_instant_answer_can_be_read_at_once() -> None:
    """Where answers take no time, the next request in the same millisecond hits."""
    simulator = Simulator()
    answer = simulator.handle(_request(stream=True), HEADERS, NOW, instant=True)
    assert {0} == {event.at_ms for event in answer.events}
    assert _read(simulator.handle(_request(), HEADERS, NOW, instant=True)) > 0


def test_a_workspace_is_a_credential() -> None:
    """The same key shares a cache however it is sent; another key does not."""
    simulator = Simulator()
    simulator.handle(_request(), HEADERS, NOW)
    bearer = {"Authorization": "Bearer sk-a", "Anthropic-Version": "2026-10-21"}
    assert _read(simulator.handle(_request(), bearer, NOW + 5_000)) > 0
    assert 0 == _read(simulator.handle(_request(), {**HEADERS, "x-api-key": "sk-b"}, NOW + 5_000))


def test_zero_tokens_warm_the_cache() -> None:
    """max_tokens 0 writes, answers nothing, bills no output; sent again in time it keeps the entry alive."""
    simulator = Simulator()
    warm = simulator.handle(_request(max_tokens=0), HEADERS, NOW)
    assert ([], "max_tokens", 0) == (warm.body["content"], warm.body["stop_reason"], _usage(warm)["output_tokens"])
    whole = _read(simulator.handle(_request(max_tokens=0), HEADERS, NOW + 290_000))
    assert whole == _read(simulator.handle(_request(), HEADERS, NOW + 580_000)) > 0


def test_keys_of_one_workspace_are_one_workspace() -> None:
    """They share its cache, and the invoice names it; a key of another workspace reads nothing of it."""
    simulator = Simulator(keys={"sk-a": "blue", "sk-b": "blue", "sk-c": "red"})
    asked = [
        simulator.handle(_request(), {**HEADERS, "x-api-key": key}, NOW, instant=True)
        for key in ("sk-a", "sk-b", "sk-c")
    ]
    assert [False, True, False] == [_read(answer) > 0 for answer in asked]
    assert ["blue", "blue", "red"] == [line.workspace for line in simulator.invoice.lines]


def test_errors_come_in_the_envelope() -> None:
    """Each kind of refusal, with its type, its request id in body and header, and nothing billed."""
    simulator = Simulator(keys={"sk-a": "team"})
    assert "not_found_error" == _error(simulator.handle(_request(model="nope"), HEADERS, NOW), 404)["type"]
    assert "x-api-key header is required" == _error(simulator.handle(_request(), {}, NOW), 401)["message"]
    wrong = simulator.handle(_request(), {**HEADERS, "x-api-key": "sk-z"}, NOW)
    assert {"type": "authentication_error", "message": "invalid x-api-key"} == _error(wrong, 401)
    assert "invalid_request_error" == _error(simulator.handle(b"{", HEADERS, NOW), 400)["type"]
    large = simulator.handle(b" " * 33_554_433, HEADERS, NOW)
    assert "request_too_large" == _error(large, 413)["type"]
    thread = _error(simulator.handle(_request(thread={"type": "create"}), HEADERS, NOW), 400)
    assert "thread_unsupported_request" == thread["details"]["error_code"]
    assert "not_found_error" == _error(simulator.refuse(ApiError(404, "Not found")), 404)["type"]
    assert [] == simulator.invoice.lines


def test_a_refused_request_writes_nothing() -> None:
    """Five marks are a 400; the cache stays as it was."""
    simulator = Simulator()
    five = [{"type": "text", "text": "x " * 600, "cache_control": SHORT} for _ in range(5)]
    answer = simulator.handle(_request(cache_control=None, system=five), HEADERS, NOW)
    assert "A maximum of 4 blocks with cache_control may be provided. Found 5." == _error(answer, 400)["message"]
    assert 0 == len(simulator.cache)


def test_a_prompt_past_the_window_is_too_long() -> None:
    """The API's wording, which makes clients compact."""
    simulator = Simulator()
    text = "word " * 130_000
    messages = [{"role": "user", "content": text}]
    answer = simulator.handle(_request(model="claude-haiku-4-5", messages=messages), HEADERS, NOW)
    total = simulator.count_tokens(_request(model="claude-haiku-4-5", messages=messages), HEADERS, NOW).body
    assert f"prompt is too long: {total['input_tokens']} tokens > 200000 maximum" == _error(answer, 400)["message"]


def test_counting_is_free_and_ignores_the_cache() -> None:
    """No max_tokens is needed, nothing is billed or written, and marks do not count."""
    simulator = Simulator()
    bare = {name: value for name, value in _request().items() if name not in {"max_tokens", "cache_control"}}
    counts = {simulator.count_tokens(each, HEADERS, NOW).body["input_tokens"] for each in (_request(), bare)}
    assert 1 == len(counts)
    assert (0, 0) == (len(simulator.invoice.lines), len(simulator.cache))


def test_models_are_listed_and_shown() -> None:
    """The list, one model by its alias, and an unknown one."""
    simulator = Simulator()
    listed = simulator.list_models(HEADERS, NOW).body
    assert [model.name for model in MODELS] == [each["id"] for each in listed["data"]]
    assert (False, MODELS[0].name, MODELS[-1].name) == (listed["has_more"], listed["first_id"], listed["last_id"])
    shown = simulator.list_models(HEADERS, NOW, "claude-sonnet-4-5").body
    assert ("claude-sonnet-4-5-20250929", "deprecated") == (shown["id"], shown["lifecycle"])
    assert "retired" == simulator.list_models(HEADERS, day_ms("2026-12-01"), "claude-sonnet-4-5").body["lifecycle"]
    _error(simulator.list_models(HEADERS, NOW, "nope"), 404)


def test_the_terms_of_a_request_reach_its_bill_and_its_usage() -> None:
    """Fast, US-only and searches; a model that ignores fast runs, says and bills standard."""
    simulator = Simulator()
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    messages = [{"role": "user", "content": "SCENARIO:search2"}]
    usage = _usage(
        simulator.handle(_request(speed="fast", inference_geo="us", tools=search, messages=messages), HEADERS, NOW)
    )
    assert ("fast", "us", 2) == (
        usage["speed"],
        usage["inference_geo"],
        usage["server_tool_use"]["web_search_requests"],
    )
    ignored = _usage(simulator.handle(_request(model="claude-opus-4-6", speed="fast"), HEADERS, NOW))
    assert "standard" == ignored["speed"]
    old = _usage(simulator.handle(_request(model="claude-haiku-4-5"), HEADERS, NOW))
    assert "not_available" == old["inference_geo"]
    assert ["fast", "standard", "standard"] == [line.terms.speed for line in simulator.invoice.lines]


def test_counting_takes_no_thread() -> None:
    """Whether or not threads are served."""
    for threads in (False, True):
        answer = Simulator(Rules(threads=threads)).count_tokens(_request(thread={"type": "create"}), HEADERS, NOW)
        assert "thread_unsupported_request" == _error(answer, 400)["details"]["error_code"]


def test_a_model_may_refuse_to_warm() -> None:
    """By switch, for the models that it names."""
    simulator = Simulator(Rules(refuse_zero_tokens=frozenset({"claude-opus-5-5"})))
    assert 400 == simulator.handle(_request(max_tokens=0), HEADERS, NOW).status
    assert 200 == simulator.handle(_request(max_tokens=0, model="claude-opus-5"), HEADERS, NOW).status


def test_fast_mode_needs_what_its_model_wants() -> None:
    """The preview's beta comes from the header."""
    request = _request(model="claude-opus-5", speed="fast")
    assert 400 == Simulator().handle(request, HEADERS, NOW).status
    asked = {**HEADERS, "anthropic-beta": "fast-mode-2026-02-01"}
    assert "fast" == _usage(Simulator().handle(request, asked, NOW))["speed"]


# --- answers that are cut off --------------------------------------------------------------------------------------


def _cut(plain_bytes: int, rules: Rules | None = None, *, stream: bool = True) -> tuple[Answer, Line]:
    """Return an answer of which a client saw only so much, and its line."""
    simulator = Simulator(rules)
    answer = simulator.handle(_request(stream=stream), HEADERS, NOW)
    simulator.cut_off(answer, plain_bytes)
    return answer, simulator.invoice.lines[0]


SIZES = [len(event.encode()) for event in Simulator().handle(_request(stream=True), HEADERS, NOW).events]


@given(st.integers(0, sum(SIZES)))
def test_a_cut_stream_bills_what_was_streamed(plain_bytes: int) -> None:
    """All of the input, and output that grows with what was sent; the usage arrived once message_delta did."""
    answer, line = _cut(plain_bytes)
    usage = _usage(answer)
    arrived = plain_bytes >= sum(SIZES[:-1])
    assert arrived is line.usage_arrived
    assert 2 < line.classes.output_tokens <= usage["output_tokens"]
    assert usage["cache_creation_input_tokens"] == line.classes.total_input_tokens
    assert not arrived or usage["output_tokens"] == line.classes.output_tokens
    assert line.classes.output_tokens <= _cut(plain_bytes + 100)[1].classes.output_tokens


def test_how_a_cut_is_billed_is_a_switch() -> None:
    """Nothing sampled ahead, or the whole answer."""
    start = SIZES[0]
    assert 2 == _cut(start, Rules(cut_ahead_tokens=0))[1].classes.output_tokens
    answer, line = _cut(start, Rules(cut_bill="whole"))
    assert (_usage(answer)["output_tokens"], False) == (line.classes.output_tokens, line.usage_arrived)


def test_a_cut_body_is_billed_whole() -> None:
    """Without a stream the answer is made before it is sent; its usage arrived only if all of it did."""
    for missing, arrived in ((1, False), (0, True)):
        whole = Simulator().handle(_request(), HEADERS, NOW)
        answer, line = _cut(len(whole.encode()) - missing, stream=False)
        assert (_usage(answer)["output_tokens"], arrived) == (line.classes.output_tokens, line.usage_arrived)


def test_an_error_that_is_cut_costs_nothing() -> None:
    """There is no line to change."""
    simulator = Simulator()
    simulator.cut_off(simulator.handle(b"{", HEADERS, NOW), 3)
    assert [] == simulator.invoice.lines


def test_a_stream_says_what_the_whole_answer_says() -> None:
    """The final usage of the stream is the answer's, and events run from the first token to the end."""
    answer = Simulator().handle(_request(stream=True), HEADERS, NOW)
    start, end = answer.events[0].data["message"], answer.events[-2].data
    assert answer.body["id"] == start["id"]
    assert _usage(answer)["cache_creation"] == start["usage"]["cache_creation"]
    assert _usage(answer)["output_tokens"] == end["usage"]["output_tokens"]
    assert (answer.first_token_ms, answer.duration_ms) == (answer.events[0].at_ms, answer.events[-1].at_ms)
    assert () == Simulator().handle(_request(), HEADERS, NOW).events


def test_answers_take_the_time_that_the_rules_say() -> None:
    """Uncached tokens delay the first token, output tokens the end; a cached prompt is quicker."""
    simulator = Simulator(Rules(first_token_ms=100, uncached_ms_per_1000_tokens=1_000, output_token_ms=7))
    first = simulator.handle(_request(), HEADERS, NOW)
    assert 100 + _usage(first)["cache_creation_input_tokens"] == first.first_token_ms
    assert first.first_token_ms + 7 * _usage(first)["output_tokens"] == first.duration_ms
    assert 100 == simulator.handle(_request(), HEADERS, NOW + 60_000).first_token_ms


def test_ids_are_unique_and_seeded() -> None:
    """Every answer has a request id of its own, and a message id where it is a message."""

    def ids(seed: int) -> list[str]:
        simulator = Simulator(seed=seed)
        answers = [simulator.handle(_request(), HEADERS, NOW) for _ in range(3)]
        return [name for each in answers for name in (each.body["id"], dict(each.headers)["request-id"])]

    assert 6 == len(set(ids(1)))
    assert ids(1) == ids(1) != ids(2)


def test_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that have run out are forgotten every so often."""
    monkeypatch.setattr("scrimp.sim.machine._EXPIRE_EVERY", 2)
    simulator = Simulator()
    simulator.count_tokens(_request(), HEADERS, NOW)
    for at in range(20):
        messages = [{"role": "user", "content": f"{at} " + "go " * 600}]
        simulator.handle(_request(system="", messages=messages), HEADERS, NOW + at * 400_000)
    assert len(simulator.cache) <= 3


# --- whole conversations -------------------------------------------------------------------------------------------

#: Nano-dollars a token: uncached, read, 5m write, 1h write, output.
RATES = {
    "claude-haiku-5-5": (100, 10, 125, 200, 500),
    "claude-opus-5-5": (4_000, 200, 5_000, 8_000, 20_000),
    "claude-sonnet-5-5": (2_000, 100, 2_500, 4_000, 10_000),
    "claude-fable-5-2": (8_000, 200, 10_000, 16_000, 40_000),
    "claude-opus-5": (5_000, 500, 6_250, 10_000, 25_000),
    "claude-opus-4-8": (5_000, 500, 6_250, 10_000, 25_000),
    "claude-sonnet-4-6": (3_000, 300, 3_750, 6_000, 15_000),
    "claude-haiku-4-5-20251001": (1_000, 100, 1_250, 2_000, 5_000),
}


def _recomputed(usage: dict[str, Any], model: str) -> int:
    """Return a message's cost in nano-dollars from its usage alone."""
    split = usage["cache_creation"]
    counts: list[int] = [usage["input_tokens"], usage["cache_read_input_tokens"]]
    counts += [split["ephemeral_5m_input_tokens"], split["ephemeral_1h_input_tokens"]]
    band = 5 if model == "claude-haiku-5-5" and sum(counts) > 100_000 else 1
    pairs = zip([*counts, usage["output_tokens"]], RATES[model], strict=True)
    cost: int = band * sum(count * rate for count, rate in pairs)
    return cost


@given(st.integers(0, 100_000))
def test_the_invoice_is_what_the_usages_cost(seed: int) -> None:
    """For any scripted agent: one line a message, each equal to an independent sum over the usage that was sent."""
    simulator = Simulator(Rules(foreign_thinking="kept"), seed=seed)
    played = play(scripted_agent(seed), simulator, NOW)
    bodies = [each.answer.body for each in played]
    assert [body["id"] for body in bodies] == [line.message_id for line in simulator.invoice.lines]
    expected = [_recomputed(body["usage"], body["model"]) for body in bodies]
    assert expected == [line.cost_nano_usd for line in simulator.invoice.lines]
    totals = simulator.invoice.totals()
    assert totals.output_tokens == sum(body["usage"]["output_tokens"] for body in bodies)
    assert totals.total_input_tokens == sum(
        simulator.count_tokens(each.ask.request, each.ask.headers, each.started_at_ms).body["input_tokens"]
        for each in played
    )


@given(st.integers(0, 100_000))
def test_two_workspaces_never_help_each_other(seed: int) -> None:
    """A conversation reads the same whether or not another workspace had the same one just before."""
    alone, crowded = Simulator(seed=1), Simulator(seed=1)
    expected = [_usage(each.answer) for each in play(scripted_agent(seed), alone, NOW)]
    play(scripted_agent(seed, key="sk-other"), crowded, NOW - 1_000)
    assert expected == [_usage(each.answer) for each in play(scripted_agent(seed), crowded, NOW)]


@given(st.integers(0, 100_000))
def test_a_repeat_reads_all_that_was_marked(seed: int) -> None:
    """Any request of any agent, sent again a minute after its answer, writes nothing."""
    simulator = Simulator(seed=seed)
    last = play(scripted_agent(seed), simulator, NOW)[-1]
    later = last.started_at_ms + last.answer.duration_ms + 60_000
    before, after = _usage(last.answer), _usage(simulator.handle(last.ask.request, last.ask.headers, later))
    assert 0 == after["cache_creation_input_tokens"]
    assert before["cache_read_input_tokens"] + before["cache_creation_input_tokens"] == after["cache_read_input_tokens"]
    assert before["input_tokens"] == after["input_tokens"]


# --- bad input -----------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers(-5, 10**6) | st.text(max_size=5) | st.floats(allow_nan=False)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "cache_control", "source", "data", "id"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)
FIELDS = ("model", "max_tokens", "messages", "system", "tools", "thinking", "output_config", "tool_choice", "speed")
MORE = ("context_management", "cache_control", "stream", "metadata", "inference_geo", "thread", "compaction")
KINDS = ("text", "image", "document", "thinking", "tool_use", "tool_result", "tool_reference", "search_result", "x")
block = st.dictionaries(
    st.sampled_from(
        ["text", "content", "source", "citations", "signature", "data", "input", "name", "id", "tool_name"]
    ),
    junk,
).flatmap(lambda fields: st.sampled_from(KINDS).map(lambda kind: {**fields, "type": kind}))
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": st.lists(block, max_size=3)}
)


@given(st.dictionaries(st.sampled_from(FIELDS + MORE), junk), st.lists(message, min_size=1, max_size=3))
def test_any_json_gets_an_answer(fields: dict[str, Any], messages: list[Any]) -> None:
    """Whatever JSON arrives, the machine answers with a message or with a refusal, and bills only messages."""
    simulator = Simulator()
    for request in (
        {**_request(), **fields},
        {**_request(messages=messages), **fields},
        {**fields, **_request(messages=messages)},
    ):
        billed = len(simulator.invoice.lines)
        answer = simulator.handle(json.dumps(request).encode(), HEADERS, NOW)
        assert answer.status in {200, 400, 404}
        assert (answer.status == 200) is (len(simulator.invoice.lines) == billed + 1)


def test_deep_nesting_is_refused() -> None:
    """A block inside a block, a thousand times."""
    content: Any = "x"
    for _ in range(400):
        content = [{"type": "tool_result", "tool_use_id": "t", "content": content}]
    request = _request(messages=[{"role": "user", "content": content}])
    assert Simulator().handle(request, HEADERS, NOW).status == 400


def test_totals_start_at_zero() -> None:
    """Nothing asked, nothing billed."""
    assert (Classes(), 0) == (Simulator().invoice.totals(), Simulator().invoice.cost_nano_usd)
