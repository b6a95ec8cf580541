"""What the API refuses, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from scrimp.sim import checks, models
from scrimp.sim.errors import ApiError
from scrimp.sim.models import Model

NOW = models.day_ms("2026-11-22")
TEXT = {"type": "text", "text": "hello"}
USE = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}


def _request(**fields: Any) -> dict[str, Any]:
    base = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
    return {**base, **fields}


def _said(*messages: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    return _request(messages=[{"role": role, "content": content} for role, content in messages], **fields)


def _check(request: dict[str, Any], version: str = checks.OLD_VERSION) -> Model:
    model = checks.served_model(request, NOW)
    checks.check_message(request, model, version)
    return model


def _refusal(request: dict[str, Any], version: str = checks.OLD_VERSION, status: int = 400) -> ApiError:
    with pytest.raises(ApiError) as caught:
        _check(request, version)
    assert status == caught.value.status
    return caught.value


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "k"},
        {"authorization": "Bearer k"},
        {"authorization": "bearer  k "},
        {"x-api-key": "k", "authorization": "Bearer z"},
    ],
)
def test_both_ways_to_send_a_key_are_accepted(headers: dict[str, str]) -> None:
    """x-api-key wins where both are sent."""
    assert "k" == checks.credential(headers)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"authorization": "Basic k"}, {"authorization": "Bearer"}])
def test_a_missing_key_is_refused(headers: dict[str, str]) -> None:
    """401, as for a wrong one."""
    with pytest.raises(ApiError, match="x-api-key header is required") as caught:
        checks.credential(headers)
    assert 401 == caught.value.status


def test_both_api_versions_are_served_and_no_other() -> None:
    """A missing or unknown version is a 400."""
    for known in ("2023-06-01", "2026-10-21"):
        assert known == checks.version({"anthropic-version": known})
    with pytest.raises(ApiError, match="anthropic-version: header is required"):
        checks.version({})
    with pytest.raises(ApiError, match='anthropic-version: "2020-01-01" is not a valid version'):
        checks.version({"anthropic-version": "2020-01-01"})


def test_betas_are_a_set() -> None:
    """A comma list with blanks, or nothing."""
    assert frozenset({"a", "b"}) == checks.betas({"anthropic-beta": "a, b,,a"})
    assert frozenset() == checks.betas({})


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"a":1e400}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b"[" * 100_000],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Cut short, numbers past all bounds, lone surrogates, bytes that are no UTF-8, nesting without end."""
    with pytest.raises(ApiError, match="The request body is not valid JSON") as caught:
        checks.decode(body)
    assert 400 == caught.value.status


def test_a_body_is_one_object_of_limited_size() -> None:
    """A list is refused; one byte over 32 MB is a 413; of a duplicate key the last one counts."""
    with pytest.raises(ApiError, match="Input should be a valid dictionary"):
        checks.decode(b"[]")
    with pytest.raises(ApiError, match="Request exceeds the maximum") as caught:
        checks.decode(b" " * (checks.MAX_BODY_BYTES + 1))
    assert 413 == caught.value.status
    assert {"a": 2} == checks.decode(b'{"a":1,"a":2}'.ljust(checks.MAX_BODY_BYTES))


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "claude-unknown"}, 404, "model: claude-unknown"),
        ({"model": 5}, 404, "model: 5"),
        ({"model": "claude-opus-4-1"}, 404, "model: claude-opus-4-1"),
        ({"max_tokens": "5"}, 400, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, 400, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": -1}, 400, "max_tokens: Input should be greater than or equal to 0"),
        (
            {"max_tokens": 128_001},
            400,
            "max_tokens: 128001 > 128000, which is the maximum allowed number of output tokens for claude-opus-5-5",
        ),
        ({"messages": []}, 400, "messages: at least one message is required"),
        ({"messages": "hello"}, 400, "messages: Input should be a valid list"),
        ({"messages": ["hello"]}, 400, "messages: Input should be a valid list"),
        ({"system": 5}, 400, "system: Input should be a valid list"),
        ({"tools": {}}, 400, "tools: Input should be a valid list"),
        ({"tools": [{"type": 5}]}, 400, "tools.0.type: Input should be a valid string"),
        ({"thinking": "on"}, 400, "thinking: Input should be a valid dictionary"),
        ({"tool_choice": {"type": "any"}}, 400, "tool_choice: type 'any' is not supported by claude-opus-5-5"),
        (
            {"model": "claude-haiku-4-5", "inference_geo": "us"},
            400,
            "inference_geo: not supported by claude-haiku-4-5-20251001",
        ),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], status: int, message: str) -> None:
    """Each refusal says which field and what it should be."""
    assert message == _refusal(_request(**fields), status=status).message


@pytest.mark.parametrize("field", ["model", "max_tokens", "messages"])
def test_required_fields(field: str) -> None:
    """The API's wording for a field that is missing."""
    request = _request()
    del request[field]
    assert f"{field}: Field required" == _refusal(request).message


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([("owner", "x")], "messages.0.role: Input should be 'assistant' or 'system' or 'user'"),
        ([(["user"], "x")], "messages.0.role: Input should be 'assistant' or 'system' or 'user'"),
        ([("user", None)], "messages.0.content: Input should be a valid list"),
        ([("user", [{"text": "x"}])], "messages.0.content.0.type: Field required"),
        ([("user", [{"type": "text"}])], "messages.0.content.0.text.text: Field required"),
        ([("user", [{**RESULT, "content": [{"type": 5}]}])], "messages.0.content.0.type: Field required"),
        (
            [("user", "")],
            "messages.0: all messages must have non-empty content except for the optional final assistant message",
        ),
        (
            [("user", "x"), ("assistant", []), ("user", "y")],
            "messages.1: all messages must have non-empty content except for the optional final assistant message",
        ),
        ([("user", [{"type": "text", "text": ""}])], "messages: text content blocks must be non-empty"),
    ],
)
def test_a_bad_message_is_named(messages: list[tuple[str, Any]], message: str) -> None:
    """Roles, content and empty text."""
    assert message == _refusal(_said(*messages)).message


@pytest.mark.parametrize(
    "messages",
    [
        [("user", "x"), ("assistant", "")],
        [("user", "x"), ("system", [])],
        [("user", "x"), ("assistant", [TEXT, USE]), ("user", [RESULT])],
        [("user", "x"), ("assistant", [USE]), ("system", "note"), ("user", [RESULT, TEXT])],
        [("user", "x"), ("assistant", [USE]), ("user", [RESULT]), ("user", "more")],
        [("user", "x"), ("assistant", [TEXT]), ("assistant", [USE]), ("user", [RESULT])],
        [("user", "x"), ("assistant", [USE])],
    ],
)
def test_good_messages_pass(messages: list[tuple[str, Any]]) -> None:
    """Empty last answers and system messages, tool pairs across neighbours of one role."""
    assert "claude-opus-5-5" == _check(_said(*messages)).name


def test_a_tool_use_needs_its_result_and_a_result_its_use() -> None:
    """The API's words; what is cut by a client-side pruner runs into them."""
    missing = _refusal(_said(("user", "x"), ("assistant", [USE]), ("user", "next"))).message
    assert missing.startswith(
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1."
    )
    stray = _refusal(_said(("user", "x"), ("assistant", "y"), ("user", [RESULT]))).message
    assert stray.startswith("messages.2: unexpected `tool_use_id` found in `tool_result` blocks: t1.")
    assert _refusal(_said(("user", [RESULT]))).message.startswith("messages.0: unexpected `tool_use_id`")


def test_system_messages_are_for_models_that_know_them() -> None:
    """Sonnet 5 does not, Sonnet 5.5 does."""
    messages = (("user", "x"), ("system", "note"))
    wording = "messages.1.role: Input should be 'assistant' or 'user'"
    assert wording == _refusal(_said(*messages, model="claude-sonnet-5")).message
    assert "claude-sonnet-5-5" == _check(_said(*messages, model="claude-sonnet-5-5")).name


@pytest.mark.parametrize(
    ("model", "betas", "day", "refused"),
    [
        ("claude-opus-5-5", (), "2026-11-22", False),
        ("claude-fable-5-2", (), "2026-11-22", False),
        ("claude-opus-5", (), "2026-11-22", True),
        ("claude-opus-5", (models.FAST_PREVIEW,), "2026-12-24", False),
        ("claude-opus-4-8", (models.FAST_PREVIEW,), "2026-11-29", False),
        ("claude-opus-4-8", (models.FAST_PREVIEW,), "2026-11-30", True),
        ("claude-opus-4-7", (models.FAST_PREVIEW,), "2026-11-22", True),
        ("claude-opus-4-6", (), "2026-11-22", False),
    ],
)
def test_fast_mode_is_asked_for_as_each_model_wants(
    model: str, betas: tuple[str, ...], day: str, refused: bool
) -> None:
    """Some need the preview's beta, one loses it in time, one ignores the wish, and some never had it."""
    found = models.find(model)
    assert found is not None
    arguments = (found, frozenset(betas), models.day_ms(day))
    checks.check_speed({"speed": "standard"}, *arguments)
    if not refused:
        checks.check_speed({"speed": "fast"}, *arguments)
        return
    with pytest.raises(ApiError, match="speed: 'fast'") as caught:
        checks.check_speed({"speed": "fast"}, *arguments)
    assert 400 == caught.value.status


def test_some_models_may_refuse_to_warm() -> None:
    """A switch names them; any other limit is nobody's concern."""
    opus = models.find("claude-opus-5-5")
    assert opus is not None
    refusing = frozenset({"claude-opus-5-5"})
    checks.check_zero_allowed({"max_tokens": 1}, opus, refusing)
    checks.check_zero_allowed({"max_tokens": 0}, opus, frozenset({"claude-opus-5"}))
    with pytest.raises(ApiError, match="max_tokens: 0 is not supported by claude-opus-5-5"):
        checks.check_zero_allowed({"max_tokens": 0}, opus, refusing)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"stream": True}, "stream"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, "thinking.type 'enabled'"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
        ({"model": "claude-opus-5", "tool_choice": {"type": "any"}}, "tool_choice"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
    ],
)
def test_zero_tokens_do_not_go_with_everything(fields: dict[str, Any], name: str) -> None:
    """max_tokens 0 warms the cache; what asks for an answer is refused, and passes with one token."""
    assert f"max_tokens: 0 is not supported together with {name}" == _refusal(_request(max_tokens=0, **fields)).message
    assert _check(_request(max_tokens=1, **fields)).name
    assert _check(_request(max_tokens=0)).name


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (_request(temperature=1), "temperature: not supported on API version 2026-10-21"),
        (_request(top_p=0.5), "top_p: not supported on API version 2026-10-21"),
        (_request(top_k=5), "top_k: not supported on API version 2026-10-21"),
        (
            _said(("user", "x"), ("assistant", [{"type": "document", "source": {"type": "text"}}])),
            "messages.1.content.0: document blocks are not supported in assistant messages",
        ),
        (
            _said(("user", [{**TEXT, "citations": [{"type": "page"}]}])),
            "messages.0.content.0.citations: not supported in user messages",
        ),
    ],
)
def test_the_new_version_refuses_what_the_old_one_takes(request_: dict[str, Any], message: str) -> None:
    """Sampling parameters, documents of the assistant and citations of the user went with 2026-10-21."""
    assert message == _refusal(request_, checks.NEW_VERSION).message
    assert "claude-opus-5-5" == _check(request_).name


def test_counting_needs_no_max_tokens() -> None:
    """count_tokens reads only what makes the prompt."""
    request = _request()
    del request["max_tokens"]
    checks.check_prompt(request, checks.served_model(request, NOW))
    with pytest.raises(ApiError, match="at least one message"):
        checks.check_prompt({**request, "messages": []}, checks.served_model(request, NOW))
