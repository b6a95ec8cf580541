"""The event stream, byte for byte, and what a client can rebuild from it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim.stream import Event, ends_usage, events, shown_text

USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 17,
    "service_tier": "standard",
    "inference_geo": "global",
    "output_tokens_details": {"thinking_tokens": 5},
}


def _message(*content: dict[str, Any], stop: str = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": None,
        "usage": USAGE,
    }


GOLDEN = """\
event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5",\
"content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":{"input_tokens":3,\
"cache_creation_input_tokens":30,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":10,\
"ephemeral_1h_input_tokens":20},"output_tokens":2,"service_tier":"standard","inference_geo":"global"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Grüße"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"Bash",\
"input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",\
"partial_json":"{\\"command\\": \\"echo\\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null,"stop_details":null},"usage":\
{"input_tokens":3,"cache_creation_input_tokens":30,"cache_read_input_tokens":100,"output_tokens":17,\
"output_tokens_details":{"thinking_tokens":5}}}

event: message_stop
data: {"type":"message_stop"}

"""


def test_a_stream_has_the_documented_shape() -> None:
    """Only message_start splits the writes by lifetime; message_delta carries the cumulative totals."""
    message = _message(
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "Grüße"},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "echo"}},
        stop="tool_use",
    )
    assert GOLDEN == b"".join(event.encode() for event in events(message, 0, 0)).decode()


def _rebuilt(streamed: tuple[Event, ...]) -> list[dict[str, Any]]:
    """Accumulate content blocks the way a client does."""
    content: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for event in streamed:
        data = event.data
        if event.name == "content_block_start":
            content.append(dict(data["content_block"]))
        elif event.name == "content_block_delta":
            delta, block = dict(data["delta"]), content[data["index"]]
            kind = delta.pop("type")
            if kind == "input_json_delta":
                inputs[data["index"]] = inputs.get(data["index"], "") + delta["partial_json"]
            else:
                block.update({name: block[name] + piece for name, piece in delta.items()})
    for index, shown in inputs.items():
        content[index]["input"] = json.loads(shown)
    return content


texts = st.text(min_size=1, max_size=200)
blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s" + text}, texts),
    st.builds(lambda text: {"type": "tool_use", "id": "t", "name": "n", "input": {text: [text]}}, texts),
    st.just({"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"type": "web_search_result"}]}),
)


@given(st.lists(blocks, max_size=4), st.integers(0, 5_000), st.integers(0, 9_000))
def test_a_client_rebuilds_the_message(content: list[dict[str, Any]], first_ms: int, rest_ms: int) -> None:
    """Every block comes back whole, in events that never go back in time, the first token's to the last's."""
    streamed = events(_message(*content), first_ms, first_ms + rest_ms)
    assert content == _rebuilt(streamed)
    times = [event.at_ms for event in streamed]
    assert sorted(times) == times
    assert (first_ms, first_ms + rest_ms) == (times[0], times[-1])
    assert content == [] or "ping" in [event.name for event in streamed]


@given(st.lists(blocks, max_size=4))
def test_events_show_the_output_piece_by_piece(content: list[dict[str, Any]]) -> None:
    """Put together they are all text, thinking and tool input; exactly one event brings the final usage."""
    found = events(_message(*content), 0, 100)
    shown = "".join(map(shown_text, found))
    expected = "".join(str(block.get("text", "")) + str(block.get("thinking", "")) + _input(block) for block in content)
    assert expected == shown
    assert [found[-2]] == [event for event in found if ends_usage(event)]


def _input(block: dict[str, Any]) -> str:
    return json.dumps(block["input"], ensure_ascii=False) if "input" in block else ""


def test_a_message_in_iterations_begins_with_the_first() -> None:
    """Its start does not know what later iterations read; its end lists them all."""
    first = {"type": "message", **{name: 1 for name in USAGE if name.endswith("tokens")}}
    message = {**_message(), "usage": {**USAGE, "iterations": [first, first]}}
    found = events(message, 0, 100)
    assert 1 == found[0].data["message"]["usage"]["input_tokens"]
    assert [first, first] == found[-2].data["usage"]["iterations"]
