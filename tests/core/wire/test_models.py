"""Model traits: the longest name wins, dated ids share their family's row."""

from __future__ import annotations

import pytest

from scrimp.core.wire.models import binds_thinking, takes_system_messages, traits


@pytest.mark.parametrize(
    ("model", "shortest", "keeps"),
    [
        ("claude-opus-5-5", 512, True),
        ("claude-opus-5", 512, True),
        ("claude-sonnet-5-5", 512, True),
        ("claude-sonnet-5", 1024, True),
        ("claude-sonnet-5-20260601", 1024, True),
        ("claude-opus-4-5-20251101", 4096, True),
        ("claude-haiku-4-5-20251001", 4096, False),
        ("claude-haiku-5-5", 512, True),
        ("claude-opus-4-20250514", 1024, False),
        ("claude-3-5-haiku-20241022", 2048, False),
        ("claude-3-5-sonnet-20241022", 1024, False),
        ("my-own-model", 512, True),
    ],
)
def test_traits_by_name(model: str, shortest: int, keeps: bool) -> None:
    """Minimum prefix and thinking rule are those of the documentation."""
    assert (shortest, keeps) == (traits(model).min_cacheable_tokens, traits(model).keeps_thinking)


@pytest.mark.parametrize(
    ("model", "binds", "takes"),
    [
        ("claude-opus-5-5", True, True),
        ("claude-fable-5-2", True, True),
        ("claude-fable-5", False, True),
        ("claude-opus-4-8", False, True),
        ("claude-opus-5", False, True),
        ("claude-sonnet-5", False, False),
        ("claude-sonnet-4-5-20250929", False, False),
        ("claude-3-5-haiku-20241022", False, False),
        ("claude-opus-6", True, False),
        ("somebody-elses", True, False),
    ],
)
def test_thinking_and_system_messages_by_model(model: str, binds: bool, takes: bool) -> None:
    """Models that are not known bind thinking and take no system message: the safe guess."""
    assert (binds, takes) == (binds_thinking(model), takes_system_messages(model))
