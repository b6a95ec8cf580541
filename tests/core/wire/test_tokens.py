"""Tests of the token estimate: its properties, and how far off it is on recorded requests."""

from __future__ import annotations

import csv
import gzip
import json
import statistics
from base64 import b64encode
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.wire.blocks import Block, content_blocks
from scrimp.core.wire.request import parse
from scrimp.core.wire.tokens import (
    MODELS_MAX,
    RATIO_MAX,
    RATIO_MIN,
    STEP_LOG_MAX,
    TOOL_PROMPTS,
    UNCALIBRATED,
    Calibration,
    block_tokens,
    count_blocks,
    estimate,
    generation,
    image_tokens,
    observe,
    tool_prompt,
)

OLD, NEW = "claude-opus-4-6", "claude-opus-5-5"
PNG_100_BY_60 = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x64\0\0\0\x3c\x08\x02\0\0\0"


def encoded(value: Any) -> bytes:
    """Return JSON as clients write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def blocks(content: Any) -> list[Block]:
    """Return the blocks of one user message."""
    return list(content_blocks("messages", "messages.0.content", "user", msgspec.Raw(encoded(content))))


def tokens(content: Any, model: str = OLD) -> int:
    """Return the estimate of a message's content."""
    return sum(block_tokens(block, model) for block in blocks(content))


# --- the estimate ------------------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    """Appending cannot make a prompt cheaper."""
    assert tokens(text + " .") <= tokens(text + " ." + more)


@given(st.text(min_size=1))
def test_newer_models_count_more(text: str) -> None:
    """The same text is about 30% more tokens since Claude 4.7."""
    raw = encoded(text)
    assert estimate(raw, OLD) <= estimate(raw, NEW) <= 1.3 * estimate(raw, OLD) + 1.3


@given(st.text(), st.booleans(), st.sampled_from(["5m", "1h"]))
def test_a_mark_is_no_content(text: str, deep: bool, ttl: str) -> None:
    """A cache_control on a block changes its estimate by at most two tokens."""
    block: dict[str, Any] = {"type": "text", "text": text}
    block = {"type": "tool_result", "tool_use_id": "t", "content": [block]} if deep else block
    control = {"type": "ephemeral"} | ({"ttl": "1h"} if ttl == "1h" else {})
    assert abs(tokens([block]) - tokens([block | {"cache_control": control}])) <= 2


@given(st.text(alphabet="abcdef0123456789+/=", max_size=3000))
def test_a_signature_is_not_counted(signature: str) -> None:
    """Thinking is counted by its text, however long its signature."""
    plain = {"type": "thinking", "thinking": "Let me see.", "signature": ""}
    assert tokens([plain]) == tokens([plain | {"signature": signature}])


def test_redacted_thinking_counts_by_its_length() -> None:
    """Encrypted thinking still stands for text."""
    assert 100 < tokens([{"type": "redacted_thinking", "data": "A" * 1000}]) < 300


def test_a_picture_counts_by_its_size_not_its_bytes() -> None:
    """100 x 60 pixels are 4 x 3 patches, plain and in a tool's result, beside a few tokens of JSON."""
    source = {"type": "base64", "media_type": "image/png", "data": b64encode(PNG_100_BY_60 + bytes(90_000)).decode()}
    image = {"type": "image", "source": source}
    assert 12 <= tokens([image]) < 60
    assert 12 <= tokens([{"type": "tool_result", "tool_use_id": "t", "content": [image]}]) < 120


def test_a_picture_that_we_cannot_see_counts_as_the_largest() -> None:
    """A picture by URL or file may be as large as the model's limit."""
    image = [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]
    assert (1_568, 4_784) == (tokens(image), tokens(image, NEW))


def test_a_document_counts_by_its_pages() -> None:
    """A PDF's bytes are no text; torn base64 is no error."""
    for data in (b64encode(b"%PDF-" + bytes(120_000)).decode(), "A", ""):
        document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}
        assert max(1, len(data) // 66_667) * 2_250 <= tokens([document]) <= 3 * 2_250 + 60
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "word " * 1000}}
    assert 700 < tokens([text]) < 2_000


@pytest.mark.parametrize(
    ("size", "old", "new"),
    [((1, 1), 1, 1), ((28, 28), 1, 1), ((29, 28), 2, 2), ((0, 0), 1, 1), ((1092, 1092), 1521, 1521)],
)
def test_pictures_are_patches(size: tuple[int, int], old: int, new: int) -> None:
    """Patches of 28 x 28, partial ones too."""
    assert (old, new) == (image_tokens(*size, OLD), image_tokens(*size, NEW))


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_pictures_have_a_limit(width: int, height: int) -> None:
    """No picture exceeds its model's limit, and a newer model never sees less of it."""
    assert 1 <= image_tokens(width, height, OLD) <= 1_568
    assert image_tokens(width, height, OLD) <= image_tokens(width, height, NEW) <= 4_784


@pytest.mark.parametrize(
    ("model", "is_new", "free", "forced"),
    [
        ("claude-opus-4-5-20251101", False, 496, 588),
        ("claude-opus-4-6", False, 497, 589),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", False, 313, 315),
        ("claude-3-5-haiku-20241022", False, 264, 355),
        ("claude-haiku-4-5", False, 496, 588),
        ("claude-opus-4-7", True, 675, 804),
        ("claude-opus-5", True, 286, 406),
        ("claude-opus-5-5", True, 290, 410),
        ("claude-sonnet-5", True, 354, 474),
        ("claude-haiku-5-5", True, 290, 410),
        ("claude-fable-5-2", True, 290, 410),
        ("something-else", True, 290, 410),
    ],
)
def test_each_model_has_its_tables(model: str, is_new: bool, free: int, forced: int) -> None:
    """Tokenizer and tool prompt by the longest name that fits; an unknown model is taken for the newest."""
    assert (is_new, free, forced) == (
        generation(model).scale > 1,
        tool_prompt(model).free,
        tool_prompt(model).forced,
    )


def test_tools_bring_their_prompt_once() -> None:
    """The first tool carries the prompt that the API adds; an Anthropic-defined tool is its published size."""
    tool = {"name": "a", "description": "b", "input_schema": {"type": "object"}}
    typed = {"type": "bash_20250124", "name": "bash"}
    body = {"model": OLD, "messages": [{"role": "user", "content": "hi"}], "tools": [typed, tool]}
    request = parse(encoded(body))
    bare = [block_tokens(block, OLD) for block in request.blocks]
    assert 244 == bare[0]
    for forced in (False, True):
        added = TOOL_PROMPTS[OLD].forced if forced else TOOL_PROMPTS[OLD].free
        assert (bare[0] + added, *bare[1:]) == count_blocks(OLD, request.blocks, forced_tool=forced)
    assert bare[2:] == list(count_blocks(OLD, request.blocks[2:]))


# --- learning ----------------------------------------------------------------------------------------------------

FACTOR = st.floats(RATIO_MIN * 1.01, RATIO_MAX * 0.99)


def learnt(factor: float, rounds: int, calibration: Calibration = UNCALIBRATED) -> Calibration:
    """Observe prompts that are `factor` times what is estimated without calibration."""
    for _ in range(rounds):
        plain = 100_000
        calibration = observe(calibration, OLD, round(plain * calibration.ratio(OLD)), round(plain * factor))
    return calibration


@given(FACTOR)
def test_a_steady_error_is_learnt_at_once(factor: float) -> None:
    """One observation corrects a steady error, and more of them leave it corrected."""
    for rounds in (1, 2, 40):
        assert factor == pytest.approx(learnt(factor, rounds).ratio(OLD), rel=1e-3)


@given(before=FACTOR, after=FACTOR)
def test_a_change_is_followed(before: float, after: float) -> None:
    """A tokenizer that changes under the same name is learnt anew within a few hundred requests."""
    assert after == pytest.approx(learnt(after, 400, learnt(before, 50)).ratio(OLD), rel=0.01)


@given(factor=FACTOR, wild=st.integers(1, 10**9))
def test_an_outlier_is_one_vote(factor: float, wild: int) -> None:
    """However wild, one observation moves a settled ratio by no more than a mild one."""
    settled = learnt(factor, 9)
    moved = observe(settled, OLD, 100_000, wild).ratio(OLD) / settled.ratio(OLD)
    assert abs(moved - 1) <= STEP_LOG_MAX / 9


@given(st.lists(st.tuples(st.integers(-10, 10**7), st.integers(-10, 10**7))))
def test_a_ratio_is_bounded(seen: list[tuple[int, int]]) -> None:
    """No series of observations takes a ratio out of its bounds, or touches another model's."""
    calibration = UNCALIBRATED
    for estimated, observed in seen:
        calibration = observe(calibration, OLD, estimated, observed)
    assert RATIO_MIN <= calibration.ratio(OLD) <= RATIO_MAX
    assert 1.0 == calibration.ratio(NEW)


def test_little_prompts_teach_nothing() -> None:
    """A prompt that is mostly overhead, or was never counted, leaves the calibration as it is."""
    assert UNCALIBRATED is observe(UNCALIBRATED, OLD, 199, 500)
    assert UNCALIBRATED is observe(UNCALIBRATED, OLD, 1_000, 0)


def test_only_so_many_models_are_remembered() -> None:
    """The model observed longest ago is forgotten first."""
    calibration = UNCALIBRATED
    for number in range(MODELS_MAX + 1):
        calibration = observe(calibration, f"m{number}", 1_000, 1_500)
    assert MODELS_MAX == len(calibration.fits)
    assert 1.0 == calibration.ratio("m0")
    assert calibration.ratio("m1") == pytest.approx(1.5)


def test_estimates_use_what_was_learnt() -> None:
    """Every estimate is multiplied by its model's ratio, and by no other's."""
    text = blocks("words and words " * 50)
    calibration = observe(UNCALIBRATED, OLD, 1_000, 2_000)
    for model, factor in ((OLD, 2.0), ("claude-opus-4-5", 1.0)):
        (plain,), (learned,) = count_blocks(model, text), count_blocks(model, text, calibration)
        assert learned == pytest.approx(factor * plain, abs=1)
        assert estimate(b"x" * 9_000, model, calibration) == pytest.approx(factor * 1_926, abs=1)


# --- recorded requests: how far off, with what was measured when the bound was set --------------------------------


def billed(usage: dict[str, Any]) -> int:
    """Return the whole prompt that was billed."""
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(usage.get(name) or 0 for name in names)


#: What a recorded request may hold for its prompt to be all there: no server tool, file, picture or hidden state.
PLAIN_KINDS = {"text", "tool_use", "tool_result", "thinking"}
OPAQUE = {"mcp_servers", "container", "context_management", "thinking", "output_config", "output_format"}


def _is_plain(request: dict[str, Any]) -> bool:
    parts = [part for each in request["messages"] if isinstance(each["content"], list) for part in each["content"]]
    parts += [part for each in parts if isinstance(each.get("content"), list) for part in each["content"]]
    tools = request.get("tools") or []
    return (
        not OPAQUE & request.keys()
        and {part["type"] for part in parts} <= PLAIN_KINDS
        and not any(tool.get("type") not in {None, "custom"} or tool.get("defer_loading") for tool in tools)
    )


@pytest.mark.data
def test_recorded_requests(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On raw API requests of 100 tokens or more, the median estimate of the whole prompt is off by under a tenth."""
    errors = []
    with gzip.open(data / "anthropic_cassettes" / "interactions.jsonl.gz", "rt") as lines:
        for line in lines:
            pair = json.loads(line)
            request, usage = pair["request"], pair["usage"]
            if not isinstance(request, dict) or "messages" not in request or not usage or not _is_plain(request):
                continue
            choice = (request.get("tool_choice") or {}).get("type")
            model = pair["model"] or request["model"]
            counts = count_blocks(model, parse(encoded(request)).blocks, forced_tool=choice in {"any", "tool"})
            if (counted := billed(usage)) >= 100:
                errors.append(abs(sum(counts) - counted) / counted)
    median = statistics.median(errors)
    with capsys.disabled():
        print(f"\n  requests: n={len(errors)} median absolute error {median:.3f}, worst {max(errors):.2f}")
    assert len(errors) >= 50
    assert median < 0.10


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (kind, message) of each row of a session's main thread; torn rows are left out."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if not row.get("isSidechain"):
                yield row.get("type"), row.get("message") or {}


def _answers(path: Path) -> list[dict[str, Any]]:
    """Return a session's answers, each with all its blocks, what was heard next, and whether that was all."""
    answers: list[dict[str, Any]] = []
    for kind, message in _rows(path):
        if kind == "assistant" and (not answers or message["id"] != answers[-1]["id"]):
            answers.append(message | {"said": list(message["content"]), "heard": [], "whole": True})
        elif kind == "assistant":
            answers[-1]["said"] += message["content"]
        elif answers and kind == "user" and isinstance(message["content"], list):
            answers[-1]["heard"] += message["content"]
        elif answers and kind in {"user", "attachment", "system"}:
            answers[-1]["whole"] = False
    return answers


def _turns(path: Path) -> Iterator[tuple[str, int, list[Any]]]:
    """Yield (model, growth of the prompt in tokens, new blocks) of each turn that did nothing but call tools."""
    for before, after in pairwise(_answers(path)):
        called = [part["type"] for part in before["said"]].count("tool_use")
        heard = [part["type"] for part in before["heard"]]
        if before["whole"] and before["model"] == after["model"] and called and heard == ["tool_result"] * called:
            yield before["model"], billed(after["usage"]) - billed(before["usage"]), before["said"] + before["heard"]


@pytest.mark.data
@pytest.mark.slow
def test_recorded_sessions(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On tool turns of Claude Code, what a turn adds to the prompt is estimated within 7% at the median."""
    errors, estimated, counted = [], 0, 0
    for path in sorted((data / "claude_code_sessions").glob("*/*.jsonl.gz")):
        for model, growth, content in _turns(path):
            if growth <= 0 or not {part["type"] for part in content} <= {"text", "tool_use", "tool_result"}:
                continue
            guess = sum(count_blocks(model, blocks(content)))
            estimated, counted = estimated + guess, counted + growth
            errors.append(abs(guess - growth) / growth)
    median = statistics.median(errors)
    with capsys.disabled():
        print(f"\n  tool turns: n={len(errors)} median absolute error {median:.3f}, sum {estimated / counted:.3f}")
    assert len(errors) >= 1_000
    assert median < 0.07
    assert 0.9 < estimated / counted < 1.05


@pytest.mark.data
def test_learning_from_a_recorded_session(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where only sizes are known and the density is taken too high, a few answers bring the error under 5%."""
    errors: dict[str, list[float]] = {"fixed": [], "learnt": []}
    calibration = UNCALIBRATED
    with (data / "claude_trace_numeric" / "lemmy_requests.csv").open() as file:
        for row in csv.DictReader(file):
            counted = sum(int(row[name]) for name in ("input_tokens", "cache_creation", "cache_read"))
            size, model = int(row["body_json_chars"]) * 0.34, row["model"]
            guess = round(size * calibration.ratio(model))
            if counted >= 1_000:
                errors["fixed"].append(abs(size - counted) / counted)
                errors["learnt"].append(abs(guess - counted) / counted)
            calibration = observe(calibration, model, guess, counted)
    fixed, learned = (statistics.median(each) for each in errors.values())
    with capsys.disabled():
        print(f"\n  sizes: n={len(errors['fixed'])} median absolute error {fixed:.3f} fixed, {learned:.3f} learnt")
    assert len(errors["fixed"]) >= 15
    assert fixed > 0.2
    assert learned < 0.05
