"""A usage value into billing lines and a bill: classes add up, and what is unknown never becomes zero."""

from __future__ import annotations

from typing import Any

import msgspec

from scrimp.core.wire.prices import nano_usd
from scrimp.core.wire.usage import BILLED_ON_TOP, TOKENS_MAX, ApiUsage, Metered, meter, read_usage, total
from tests.fuzz.inputs import Input
from tests.fuzz.request_target import NOW_MS, prices

_MODELS = ("claude-opus-5", "claude-sonnet-4-5-20250929", "us.anthropic.claude-haiku-4-5-v1:0", "no-such-model", None)
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def check_usage(given: Input) -> None:
    """Read, meter and price one usage value; a second one in the same text is laid over it."""
    first, _, second = given.text.partition(b"\n")
    api, later = _read(first), _read(second)
    for each in filter(None, (api, later, api and later and api.merge(later))):
        metered = meter(each, _MODELS[given.ways[0] % len(_MODELS)])
        _check_metered(each, metered)
        _check_cost(metered, NOW_MS + given.ways[1] * 86_400_000 * 30 - 128 * 86_400_000 * 30)
        assert each == read_usage(msgspec.to_builtins(each)), "reading what was read gives something else"
    if api and later:
        merged = api.merge(later)
        for name in ApiUsage.__struct_fields__:
            known = getattr(later, name)
            assert getattr(merged, name) == (getattr(api, name) if known is None else known)


def _read(text: bytes) -> ApiUsage | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        prices().find(text.decode("utf-8", "replace"))
        return None
    usage = read_usage(value)
    assert usage is None or isinstance(value, dict)
    if isinstance(value, dict):
        _check_known(value, usage)
    return usage


def _check_known(value: dict[str, Any], usage: ApiUsage | None) -> None:
    """A count that is one is read as it stands; one that cannot be one is unknown, not zero."""
    for name in _COUNTS:
        count = value.get(name)
        is_count = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= TOKENS_MAX
        if isinstance(count, float):
            continue
        assert (count if is_count else None) == (getattr(usage, name) if usage else None) or (
            usage is None and not is_count
        ), name


def _check_metered(api: ApiUsage, metered: Metered) -> None:
    assert metered.lines
    assert metered.usage == total(line.usage for line in metered.lines)
    assert all(min(msgspec.structs.astuple(line.usage)) >= 0 for line in metered.lines)
    executor = total(line.usage for line in metered.lines if line.kind not in BILLED_ON_TOP)
    assert executor.uncached_input_tokens >= (api.input_tokens or 0) - executor.cache_write_input_tokens
    assert executor.output_tokens >= (api.output_tokens or 0)
    assert executor.cache_read_input_tokens >= 0
    if not api.iterations:
        assert executor.uncached_input_tokens == (api.input_tokens or 0)
        assert executor.cache_read_input_tokens == (api.cache_read_input_tokens or 0)


def _check_cost(metered: Metered, at_ms: int) -> None:
    """The bill is known exactly where each of its lines is, and no more than rounding differs from their sum."""
    cost = prices().cost_nano_usd(metered.lines, at_ms)
    assert (cost is None) == bool(prices().unpriced(metered.lines, at_ms))
    if cost is None:
        return
    each = [prices().cost_nano_usd([line], at_ms) or 0 for line in metered.lines]
    assert prices().long_prompt_scope != "line" or abs(sum(each) - cost) <= len(each)
    assert nano_usd(0) <= cost
