"""Message threads: conversations that the API holds for a while, so that a turn sends only what is new.

Served where `Rules.threads` says so, under the beta `message-threads-2026-08-12` (API docs, message threads). A thread
is known by the id of its latest answer, it can be continued once from each, and it is forgotten five minutes after
the last one. The create request's system, tools and marks count again on every turn.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from scrimp.sim.blocks import JsonObject, as_blocks, as_object, compact
from scrimp.sim.errors import ApiError, bad_request
from scrimp.sim.rules import Rules

BETA = "message-threads-2026-08-12"

#: Answers that are remembered; the oldest are forgotten first, which a client sees as a thread that is not found.
THREADS_MAX = 10_000

#: What may not stand beside a thread, by the name that the refusal gives it (SDK, ThreadUnsupportedFeatureName).
_UNSUPPORTED = ("context_management", "fallbacks", "compaction")
#: What a turn may leave out and may not change, and what it has to repeat.
_KEPT = ("system", "tools")
_PINNED = ("model", "thinking", "output_config")


class _Turn(msgspec.Struct):
    """One stored answer with all before it. `continuing_until_ms` is set by the turn that continues it."""

    workspace: str
    request: JsonObject
    ready_at_ms: int
    expires_at_ms: int
    continuing_until_ms: int | None = None


def _unsupported(names: list[str], message: str) -> ApiError:
    return bad_request(message, {"error_code": "thread_unsupported_request", "unsupported": names})


def _not_found(name: object) -> ApiError:
    return ApiError(404, f"thread: no thread found for previous_message_id {name}", {"error_code": "thread_not_found"})


class Threads:
    """Every workspace's threads."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._turns: OrderedDict[str, _Turn] = OrderedDict()

    def whole(self, request: JsonObject, workspace: str, betas: frozenset[str], now_ms: int) -> JsonObject:
        """Return the request with the conversation that its thread holds, itself where it is part of none."""
        thread = request.get("thread")
        if thread is None:
            return request
        _check_supported(request, betas, self._rules)
        bare = {name: value for name, value in request.items() if name != "thread"}
        match as_object(thread).get("type"):
            case "create":
                return bare
            case "continue":
                turn = self._find(as_object(thread).get("previous_message_id"), workspace, now_ms)
                return _joined(turn.request, bare)
        raise bad_request("thread.type: Input should be 'create' or 'continue'")

    def _find(self, name: object, workspace: str, now_ms: int) -> _Turn:
        turn = self._turns.get(name) if isinstance(name, str) else None
        if turn is None or turn.workspace != workspace or not turn.ready_at_ms <= now_ms < turn.expires_at_ms:
            raise _not_found(name)
        if turn.continuing_until_ms is not None and now_ms < turn.continuing_until_ms:
            code = "thread_continue_in_flight"
            raise bad_request(f"thread: another request is still continuing from {name}", {"error_code": code})
        if turn.continuing_until_ms is not None:
            code = "thread_already_continued"
            raise bad_request(f"thread: {name} has already been continued", {"error_code": code})
        return turn

    def keep(self, sent: JsonObject, whole: JsonObject, message: JsonObject, workspace: str, ends_at_ms: int) -> None:
        """Store a turn that was answered: what was `sent`, the `whole` request it stood for, and its answer."""
        thread = as_object(sent.get("thread"))
        if not thread:
            return
        before = self._turns.get(str(thread.get("previous_message_id")))
        if before is not None:
            before.continuing_until_ms = ends_at_ms
        answer = {"role": "assistant", "content": message["content"]}
        kept = {**whole, "messages": [*whole["messages"], answer]}
        self._turns[message["id"]] = _Turn(workspace, kept, ends_at_ms, ends_at_ms + self._rules.thread_ms)
        if len(self._turns) > THREADS_MAX:
            self._turns.popitem(last=False)


def refuse_thread(request: JsonObject) -> None:
    """Refuse a thread where there can be none, such as in count_tokens."""
    if request.get("thread") is not None:
        raise _unsupported(["thread"], "thread: message threads are not supported here")


def _check_supported(request: JsonObject, betas: frozenset[str], rules: Rules) -> None:
    if not rules.threads:
        refuse_thread(request)
    if BETA not in betas:
        raise bad_request(f"thread: this field requires the anthropic-beta value `{BETA}`")
    found = [name for name in _UNSUPPORTED if request.get(name) is not None]
    if found:
        raise _unsupported(found, f"thread: message threads do not support {', '.join(found)}")


def _joined(stored: JsonObject, request: JsonObject) -> JsonObject:
    """Return the stored conversation with a turn's messages added; raise where it changes what it may not."""
    differing = [name for name in _KEPT if name in request and _text(request[name]) != _text(stored.get(name))]
    differing += [name for name in _PINNED if _text(request.get(name)) != _text(stored.get(name))]
    if differing:
        raise bad_request(
            f"thread: the request differs from the thread; differing field(s): {', '.join(differing)}",
            {"error_code": "thread_fingerprint_mismatch"},
        )
    messages = request.get("messages")
    added = messages if isinstance(messages, list) else []
    kept = {name: stored[name] for name in _KEPT if name in stored}
    return {**request, **kept, "messages": [*stored["messages"], *added]}


def _text(value: Any) -> str:
    """Return what is compared of a field; marks and nothing at all do not count."""
    return compact([_unmarked(each) for each in as_blocks(value)] or value or None, sort_keys=True)


def _unmarked(block: JsonObject) -> JsonObject:
    return {name: value for name, value in block.items() if name != "cache_control"}
