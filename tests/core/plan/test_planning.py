"""Observe: nothing is changed, the prediction is stated, and settling prices what was used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from scrimp.core.belief.session import Belief
from scrimp.core.plan.planning import Policy, Settlement, plan, settle
from scrimp.core.wire.blocks import Block
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.tokens import Calibration
from scrimp.core.wire.usage import Metered, Usage, UsageLine


class PennyBook:
    """A price book where every input token costs one nano-dollar and models named "unknown" have no price."""

    def cost_nano_usd(self, lines: Iterable[UsageLine], at_ms: int) -> int | None:
        """Return the tokens of the lines."""
        assert at_ms > 0
        lines = list(lines)
        if any(line.model == "unknown" for line in lines):
            return None
        return sum(line.usage.total_input_tokens + line.usage.output_tokens for line in lines)

    def line_card(self, line: UsageLine, at_ms: int, length: int) -> RateCard | None:
        """Return a card of the same prices."""
        assert at_ms > 0
        assert length >= 0
        return None if line.model == "unknown" else RateCard(1_000, 1_000, 1_000, 1_000, 1_000)


def count(_model: str, blocks: Sequence[Block], _calibration: Calibration) -> Sequence[int]:
    """Count a thousand tokens a block."""
    return [1000] * len(blocks)


def request(model: str) -> Request:
    """Return a request of one marked block."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "cache_control": {"type": "ephemeral"}}
    return parse(json.dumps(body).encode())


def test_observing_predicts_and_changes_nothing() -> None:
    """The baseline of an untouched request is its own predicted cost."""
    planned = plan(request("claude-opus-5-5"), Belief(), Policy(), PennyBook(), 1, count)

    assert ("observe", 1000, 1000) == (
        planned.mode,
        planned.predicted_input_cost_nano_usd,
        planned.baseline_input_cost_nano_usd,
    )
    assert Usage(cache_write_5m_input_tokens=1000) == planned.split.usage


def test_an_unknown_model_has_no_predicted_cost() -> None:
    """None, never zero."""
    assert plan(request("unknown"), Belief(), Policy(), PennyBook(), 1, count).predicted_input_cost_nano_usd is None


def test_settling_prices_the_lines() -> None:
    """Cost and baseline agree where nothing was changed."""
    usage = Usage(5, 6, 7, 8, 9)

    assert Settlement(usage, 35, 35) == settle(Metered(usage, (UsageLine(usage, "m"),)), PennyBook(), 1)
    assert Settlement(usage, None, None) == settle(Metered(usage, (UsageLine(usage, "unknown"),)), PennyBook(), 1)
