"""Model traits: the longest name wins, dated ids share their family's row."""

from __future__ import annotations

import pytest

from scrimp.core.wire.models import traits


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
