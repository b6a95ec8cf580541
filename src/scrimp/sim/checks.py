"""What the API refuses before it reads a prompt, in the API's words (API docs: errors, messages, versioning)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import msgspec

from scrimp.sim import models
from scrimp.sim.blocks import JsonObject, as_blocks, as_object, walk
from scrimp.sim.errors import ApiError, bad_request
from scrimp.sim.models import Model

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_MESSAGES = 100_000
OLD_VERSION, NEW_VERSION = "2023-06-01", "2026-10-21"
VERSIONS = frozenset({OLD_VERSION, NEW_VERSION})
ROLES = frozenset({"user", "assistant", "system"})
FORCED_CHOICES = frozenset({"any", "tool"})
SAMPLING = ("temperature", "top_p", "top_k")
_OBJECTS = ("thinking", "output_config", "tool_choice", "context_management", "metadata", "cache_control")


def credential(headers: Mapping[str, str]) -> str:
    """Return the key, sent either as x-api-key or as a bearer token; header names are in lower case."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    key = headers.get("x-api-key", "").strip() or bearer
    if not key:
        raise ApiError(401, "x-api-key header is required")
    return key


def version(headers: Mapping[str, str]) -> str:
    """Return the API version that the request asks for; both known ones are served."""
    asked = headers.get("anthropic-version", "")
    if not asked:
        raise bad_request("anthropic-version: header is required")
    if asked not in VERSIONS:
        raise bad_request(f'anthropic-version: "{asked}" is not a valid version')
    return asked


def betas(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the values of the anthropic-beta header."""
    return frozenset(value.strip() for value in headers.get("anthropic-beta", "").split(",") if value.strip())


def decode(body: bytes) -> JsonObject:
    """Return the request's JSON object."""
    if len(body) > MAX_BODY_BYTES:
        raise ApiError(413, "Request exceeds the maximum allowed number of bytes.")
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"The request body is not valid JSON: {error}") from error
    if not isinstance(request, dict):
        raise bad_request("Input should be a valid dictionary")
    return request


def served_model(request: JsonObject, now_ms: int) -> Model:
    """Return the model that the request names."""
    if "model" not in request:
        raise bad_request("model: Field required")
    model = models.find(request["model"])
    if model is None or models.is_retired(model, now_ms):
        raise ApiError(404, f"model: {request['model']}")
    return model


def _check_shapes(request: JsonObject, _model: Model) -> None:
    """Refuse fields of the wrong JSON type, so that all that follows can rely on them."""
    for field in _OBJECTS:
        if not isinstance(request.get(field) or {}, dict):
            raise bad_request(f"{field}: Input should be a valid dictionary")
    tools = request.get("tools")
    if tools is not None and not _are_objects(tools):
        raise bad_request("tools: Input should be a valid list")
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool.get("type") or "custom", str):
            raise bad_request(f"tools.{index}.type: Input should be a valid string")
    _check_content(request.get("system") or "", "system")


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _check_content(content: object, path: str) -> None:
    """Refuse content that is neither text nor a list of blocks that each have a type."""
    if not isinstance(content, str) and not _are_objects(content):
        raise bad_request(f"{path}: Input should be a valid list")
    for at, block in enumerate(as_blocks(content)):
        for inner in walk([block]):
            if not isinstance(inner.get("type"), str):
                raise bad_request(f"{path}.{at}.type: Field required")
            if inner["type"] == "text" and not isinstance(inner.get("text"), str):
                raise bad_request(f"{path}.{at}.text.text: Field required")


def _check_messages(request: JsonObject, model: Model) -> None:
    if "messages" not in request:
        raise bad_request("messages: Field required")
    messages = request["messages"]
    if not _are_objects(messages):
        raise bad_request("messages: Input should be a valid list")
    if not messages:
        raise bad_request("messages: at least one message is required")
    if len(messages) > MAX_MESSAGES:
        raise bad_request(f"messages: List should have at most {MAX_MESSAGES} items after validation")
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}", model, is_last=index == len(messages) - 1)


def _check_message(message: JsonObject, path: str, model: Model, *, is_last: bool) -> None:
    role, content = message.get("role"), message.get("content")
    allowed = ROLES if model.system_messages else ROLES - {"system"}
    if not isinstance(role, str) or role not in allowed:
        raise bad_request(f"{path}.role: Input should be {' or '.join(map(repr, sorted(allowed)))}")
    _check_content(content, f"{path}.content")
    if not content and role != "system" and not (is_last and role == "assistant"):
        raise bad_request(
            f"{path}: all messages must have non-empty content except for the optional final assistant message"
        )
    for block in as_blocks(content):
        if block.get("type") == "text" and not block.get("text") and not block.get("cache_control"):
            raise bad_request("messages: text content blocks must be non-empty")


def _ids(message: JsonObject, kind: str, field: str) -> list[str]:
    return [str(block.get(field)) for block in as_blocks(message.get("content")) if block.get("type") == kind]


def _turns(request: JsonObject) -> list[tuple[int, JsonObject]]:
    """Return the messages as turns: neighbours of one role are one, and system messages are not turns."""
    turns: list[tuple[int, JsonObject]] = []
    for index, message in enumerate(request["messages"]):
        if message["role"] == "system":
            continue
        if turns and turns[-1][1]["role"] == message["role"]:
            turns[-1][1]["content"] += as_blocks(message["content"])
        else:
            turns.append((index, {"role": message["role"], "content": as_blocks(message["content"])}))
    return turns


def _check_tool_pairs(request: JsonObject, _model: Model) -> None:
    """Refuse a tool_use without its result in the next turn, and a tool_result without its use in the one before."""
    turns = [(-1, {"role": "user", "content": []}), *_turns(request)]
    for (index, before), (at, after) in pairwise(turns):
        uses, results = _ids(before, "tool_use", "id"), _ids(after, "tool_result", "tool_use_id")
        missing = [use for use in uses if use not in results]
        stray = [result for result in results if result not in uses]
        if missing:
            raise bad_request(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        if stray:
            raise bad_request(
                f"messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(stray)}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )


def _check_max_tokens(request: JsonObject, model: Model) -> None:
    if "max_tokens" not in request:
        raise bad_request("max_tokens: Field required")
    limit = request["max_tokens"]
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise bad_request("max_tokens: Input should be a valid integer")
    if limit < 0:
        raise bad_request("max_tokens: Input should be greater than or equal to 0")
    if limit > model.max_output_tokens:
        raise bad_request(
            f"max_tokens: {limit} > {model.max_output_tokens}, which is the maximum allowed number of output tokens "
            f"for {model.name}"
        )


def _forces_tool(request: JsonObject) -> bool:
    return str(as_object(request.get("tool_choice")).get("type")) in FORCED_CHOICES


#: What max_tokens 0 (read the prompt, write the cache, answer nothing) does not go with.
_NOT_WITH_ZERO: dict[str, Callable[[JsonObject], Any]] = {
    "stream": lambda request: request.get("stream"),
    "thinking.type 'enabled'": lambda request: as_object(request.get("thinking")).get("type") == "enabled",
    "output_config.format": lambda request: as_object(request.get("output_config")).get("format"),
    "tool_choice": _forces_tool,
    "compaction": lambda request: request.get("compaction"),
}


def _check_zero_tokens(request: JsonObject, _model: Model) -> None:
    for name, is_set in _NOT_WITH_ZERO.items():
        if request["max_tokens"] == 0 and is_set(request):
            raise bad_request(f"max_tokens: 0 is not supported together with {name}")


def _check_features(request: JsonObject, model: Model) -> None:
    if _forces_tool(request) and not model.forced_tool_choice:
        raise bad_request(f"tool_choice: type '{request['tool_choice']['type']}' is not supported by {model.name}")
    if request.get("inference_geo") is not None and not model.inference_geo:
        raise bad_request(f"inference_geo: not supported by {model.name}")


def check_speed(request: JsonObject, model: Model, betas: frozenset[str], now_ms: int) -> None:
    """Refuse fast mode on a model that does not have it, not any more, or only as a preview that was not asked for."""
    if request.get("speed") != "fast" or model.fast == "ignored":
        return
    ended = model.fast_until is not None and now_ms >= models.day_ms(model.fast_until)
    if model.fast == "refused" or ended:
        raise bad_request(f"speed: 'fast' is not supported by {model.name}")
    if model.fast_beta is not None and model.fast_beta not in betas:
        raise bad_request(f"speed: 'fast' requires the anthropic-beta value `{model.fast_beta}` on {model.name}")


def check_zero_allowed(request: JsonObject, model: Model, refusing: frozenset[str]) -> None:
    """Refuse max_tokens 0 on the models that are named `refusing`."""
    if request["max_tokens"] == 0 and model.name in refusing:
        raise bad_request(f"max_tokens: 0 is not supported by {model.name}")


def _check_new_version(request: JsonObject) -> None:
    """Refuse what API version 2026-10-21 took out."""
    for field in SAMPLING:
        if request.get(field) is not None:
            raise bad_request(f"{field}: not supported on API version {NEW_VERSION}")
    for index, message in enumerate(request["messages"]):
        for at, block in enumerate(as_blocks(message["content"])):
            path = f"messages.{index}.content.{at}"
            if message["role"] == "assistant" and block.get("type") == "document":
                raise bad_request(f"{path}: document blocks are not supported in assistant messages")
            if message["role"] == "user" and block.get("type") == "text" and block.get("citations"):
                raise bad_request(f"{path}.citations: not supported in user messages")


_PROMPT_CHECKS = (_check_shapes, _check_messages, _check_tool_pairs)
_MESSAGE_CHECKS = (_check_max_tokens, *_PROMPT_CHECKS, _check_zero_tokens, _check_features)


def check_prompt(request: JsonObject, model: Model) -> None:
    """Raise what the API refuses about the parts that make the prompt: all that count_tokens reads."""
    for check in _PROMPT_CHECKS:
        check(request, model)


def check_message(request: JsonObject, model: Model, api_version: str) -> None:
    """Raise what the API refuses about a whole Messages request."""
    for check in _MESSAGE_CHECKS:
        check(request, model)
    if api_version == NEW_VERSION:
        _check_new_version(request)
