"""From requests and answers to exchanges: whatever comes in, a record comes out, and nothing is said of its text."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.clock import VirtualClock
from scrimp.core.belief.exchange import Exchange
from scrimp.core.plan.planning import Policy
from scrimp.core.wire.response import Answer, ResponseMeter
from scrimp.core.wire.usage import ApiUsage, Usage
from scrimp.engine.outside import Outside
from scrimp.engine.recorder import Opened, Recorder
from scrimp.engine.states import PRINCIPALS_MAX
from scrimp.store.rows import OPEN, from_row, to_row
from scrimp.upstream.pricefeed import load_book

SECRET = "the client's own words"
MODEL = "claude-opus-5-5"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
LABEL = st.text(st.characters(max_codepoint=255), max_size=300)
HEADERS = st.dictionaries(
    st.sampled_from(
        "x-api-key authorization user-agent scrimp-task scrimp-session x-claude-code-session-id x-claude-code-agent-id "
        "x-claude-code-agent-type x-claude-code-request-class x-claude-code-prompt-id".split()
    ),
    LABEL,
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "tool_result", "thinking", "image", "document", "new_kind"])},
    optional=dict.fromkeys(("text", "content", "source", "input", "id", "tool_use_id", "cache_control"), JSON),
)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"])}, optional={"content": JSON})
TURNS = st.lists(TURN | st.fixed_dictionaries({"role": st.just("user"), "content": st.lists(BLOCK, max_size=3)}))
FIELDS = (
    "model messages tools system max_tokens stream metadata cache_control thinking tool_choice output_config thread"
)
BODIES = st.fixed_dictionaries(
    {"model": st.sampled_from([MODEL, "no-such-model"]) | st.text(max_size=5), "messages": TURNS},
    optional=dict.fromkeys(FIELDS.split()[2:], JSON),
)


def recorder(clock: VirtualClock | None = None) -> Recorder:
    """Return a recorder over the real prices."""
    return Recorder(Outside(prices=load_book(), clock=clock or VirtualClock(1_790_000_000_000)))


def request(**fields: Any) -> bytes:
    """Return a request that can be read."""
    base = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": SECRET}]}
    return json.dumps({**base, **fields}).encode()


def heard(body: bytes, kind: str = "application/json") -> Answer:
    """Return what a whole answer said."""
    meter = ResponseMeter(kind, None)
    meter.feed(body)
    return meter.answer()


def message(usage: Any) -> bytes:
    """Return a Message with this usage."""
    return json.dumps({"type": "message", "id": "msg_1", "model": MODEL, "usage": usage}).encode()


@given(HEADERS, st.binary(max_size=200) | BODIES.map(lambda body: json.dumps(body).encode()), JSON)
def test_whatever_comes_in_is_recorded(headers: dict[str, str], body: bytes, usage: Any) -> None:
    """No header, body or usage makes planning or closing raise, and the ledger can hold what comes out."""
    keeper = recorder()
    opened = keeper.arrive(headers, body)
    assert opened.exchange.opened_at_ms == from_row(to_row(opened.exchange, OPEN)).opened_at_ms
    keeper.first_token(opened)
    closed = keeper.close(opened, heard(message(usage)), status=200)
    assert (closed.usage, closed.cost_nano_usd) == _money(from_row(to_row(closed, OPEN)))
    assert (opened.exchange.exchange_id, opened.request is not None) == (closed.exchange_id, closed.planned)
    assert closed.cost_nano_usd is None or closed.cost_nano_usd >= 0


def test_a_thread_is_observed_without_a_prediction() -> None:
    """The rest of its prompt is on the server: nothing is believed of it, and nothing is wrong with it."""
    keeper = recorder()
    opened = keeper.arrive({}, request(thread={"type": "continue", "previous_message_id": "msg_0"}))
    closed = keeper.close(opened, heard(message({"input_tokens": 9, "output_tokens": 1})), status=200)

    assert (None, True) == (opened.plan, closed.planned)
    assert closed.usage is not None
    assert closed.cost_nano_usd is not None


def _money(exchange: Exchange) -> tuple[Usage | None, int | None]:
    return exchange.usage, exchange.cost_nano_usd


def test_an_exchange_says_which_face_it_came_through() -> None:
    """The gateway's by default."""
    named = Recorder(Outside(prices=load_book(), clock=VirtualClock(1_790_000_000_000), source="sdk"))
    assert ("gateway", "sdk") == tuple(each.arrive({}, request()).exchange.source for each in (recorder(), named))


def test_a_body_too_large_to_read_is_unplanned() -> None:
    """It is known by its headers alone."""
    opened = recorder().arrive({"scrimp-task": "nightly"}, None)
    assert (False, "nightly", None, None) == (
        opened.exchange.planned,
        opened.exchange.task_tag,
        opened.exchange.requested_model,
        opened.plan,
    )


def test_times_are_the_clock_s() -> None:
    """Opened, first token and closed: each as it happened."""
    clock = VirtualClock(1_790_000_000_000)
    keeper = recorder(clock)
    opened = keeper.arrive({}, request())
    clock.advance_ms(10)
    keeper.first_token(opened)
    clock.advance_ms(20)
    closed = keeper.close(opened, heard(message({"input_tokens": 1, "output_tokens": 1})))
    start = 1_790_000_000_000
    assert (start, start + 10, start + 30) == (closed.opened_at_ms, closed.first_token_at_ms, closed.closed_at_ms)


def test_an_exchange_without_usage_costs_an_unknown_amount() -> None:
    """Unknown is None, and never zero."""
    keeper = recorder()
    closed = keeper.close(keeper.arrive({}, request()), Answer(), error_type="upstream_unavailable")
    assert (None, None, None, False, "upstream_unavailable") == (
        closed.usage,
        closed.cost_nano_usd,
        closed.baseline_cost_nano_usd,
        closed.usage_complete,
        closed.error_type,
    )


def test_an_open_row_has_an_upper_bound() -> None:
    """What a killed gateway leaves behind says what it can have cost, the close of a whole answer what it did."""
    keeper = recorder()
    opened = keeper.arrive({}, request())
    assert from_row(to_row(opened.exchange, OPEN)).cost_upper_nano_usd == opened.exchange.cost_upper_nano_usd
    assert 5 * 22_000 < (opened.exchange.cost_upper_nano_usd or 0)
    closed = keeper.close(opened, heard(message({"input_tokens": 9, "output_tokens": 1})), status=200)
    assert (9 * 4_000 + 20_000, 9 * 4_000 + 20_000) == (closed.cost_nano_usd, closed.cost_upper_nano_usd)


def test_an_upper_bound_knows_of_our_own_marks() -> None:
    """A prompt that its client does not mark may be written to the cache once we do: that is dearer."""
    tool = {"name": "Read", "description": "Reads. " * 4_000, "input_schema": {"type": "object"}}
    body, uppers = request(tools=[tool], max_tokens=0), list[int | None]()
    for mode in ("observe", "safe"):
        outside = Outside(prices=load_book(), clock=VirtualClock(1_790_000_000_000), policy=Policy(mode=mode))
        opened = Recorder(outside).arrive({"x-api-key": "sk-fake"}, body, body)
        assert (mode == "safe") == (opened.body is not None)
        uppers.append(opened.exchange.cost_upper_nano_usd)
    assert uppers[0]
    assert uppers[0] * 5 // 4 == uppers[1]


def test_what_was_never_sent_costs_nothing() -> None:
    """Nor does what the API refused; without an answer the request's own bound stays."""
    keeper = recorder()
    opened = keeper.arrive({}, request())
    for closed, expected in (
        (keeper.close(opened, Answer(), error_type="upstream_unavailable", was_sent=False), 0),
        (keeper.close(opened, Answer(error_type="rate_limit_error"), status=429), 0),
        (keeper.close(opened, Answer(), error_type="upstream_unavailable"), opened.exchange.cost_upper_nano_usd),
    ):
        assert (None, expected) == (closed.cost_nano_usd, closed.cost_upper_nano_usd)


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        (Answer(), 200, "upstream_incomplete"),
        (Answer(message_id="m", usage=ApiUsage(input_tokens=1, output_tokens=1)), 200, "upstream_incomplete"),
        (Answer(stop_reason="end_turn", usage=ApiUsage(output_tokens=1)), 200, None),
        (Answer(usage=ApiUsage(input_tokens=1, output_tokens=1), usage_complete=True), 200, None),
        (Answer(is_readable=False), 200, None),
        (Answer(error_type="overloaded_error"), 200, "overloaded_error"),
        (Answer(), 502, None),
        (Answer(), None, None),
    ],
)
def test_an_answer_that_ends_without_its_end_is_an_error(
    answer: Answer, status: int | None, expected: str | None
) -> None:
    """A clean end in the middle is as much of an error as a cut; what could not be read is not judged."""
    keeper = recorder()
    assert expected == keeper.close(keeper.arrive({}, request()), answer, status=status).error_type


def test_the_next_turn_reads_what_the_last_one_wrote() -> None:
    """Beliefs are folded: arrival, first token and usage each move them, for this principal alone."""
    keeper = recorder()
    marked = [{"type": "text", "text": SECRET * 1000, "cache_control": {"type": "ephemeral"}}]
    body = request(system=marked)
    first = _answered(keeper, {"x-api-key": "one"}, body)
    again = _answered(keeper, {"x-api-key": "one"}, body)
    other = _answered(keeper, {"x-api-key": "two"}, body)
    reads = [opened.plan.split.usage.cache_read_input_tokens if opened.plan else -1 for opened in (first, again, other)]
    assert (0, True, 0) == (reads[0], reads[1] > 0, reads[2])


def _answered(keeper: Recorder, headers: dict[str, str], body: bytes) -> Opened:
    opened = keeper.arrive(headers, body)
    keeper.first_token(opened)
    keeper.close(opened, heard(message({"input_tokens": 1, "output_tokens": 1})))
    return opened


def test_the_oldest_principal_is_forgotten() -> None:
    """Memory has a bound; an exchange of a forgotten one still closes."""
    keeper = recorder()
    first = keeper.arrive({"x-api-key": "first"}, request())
    for number in range(PRINCIPALS_MAX + 10):
        keeper.arrive({"x-api-key": str(number)}, request())
    assert PRINCIPALS_MAX >= len(keeper._states)
    assert (first.exchange.principal or "") not in keeper._states
    assert keeper.close(first, heard(message({"input_tokens": 1, "output_tokens": 1}))).cost_nano_usd


@pytest.mark.parametrize("broken", ["recorder.plan", "states.step", "recorder.session_of"])
def test_a_fault_of_ours_costs_no_exchange_and_tells_no_secret(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks: the exchange is priced, and the log says what and where, never the text that broke it."""

    def fail(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(f"scrimp.engine.{broken}", fail)
    keeper = recorder()
    opened = keeper.arrive({"x-api-key": "sk-fake"}, request())
    keeper.first_token(opened)
    closed = keeper.close(opened, heard(message({"input_tokens": 1, "output_tokens": 1})))
    assert closed.cost_nano_usd
    assert "KeyError in fail" in caplog.text
    assert SECRET not in caplog.text
    assert "sk-fake" not in caplog.text


def test_nothing_is_logged_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    """Not even at the finest level."""
    caplog.set_level(logging.DEBUG)
    _answered(recorder(), {"x-api-key": "sk-fake"}, request())
    assert "" == caplog.text


def test_a_model_without_a_price_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not for each of its requests."""
    keeper = recorder()
    answer = Answer(served_model="claude-from-the-future", usage=heard(message({"input_tokens": 1})).usage)
    for _ in range(3):
        assert keeper.close(keeper.arrive({}, request()), answer).cost_nano_usd is None
    assert 1 == caplog.text.count("claude-from-the-future")
