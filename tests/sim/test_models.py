"""The table of models."""

from __future__ import annotations

import pytest

from scrimp.sim.models import MODELS, day_ms, find, is_retired


@pytest.mark.parametrize(
    ("names", "minimum"),
    [
        (("claude-opus-5-5", "claude-opus-5", "claude-fable-5-2", "claude-fable-5-1", "claude-fable-5"), 512),
        (("claude-mythos-5-2", "claude-mythos-5", "claude-sonnet-5-5", "claude-haiku-5-5"), 512),
        (("claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-opus-4-1"), 1_024),
        (("claude-opus-4-7",), 2_048),
        (("claude-opus-4-6", "claude-opus-4-5", "claude-haiku-4-5"), 4_096),
    ],
)
def test_minimum_cacheable_lengths(names: tuple[str, ...], minimum: int) -> None:
    """As published, by model."""
    found = [find(name) for name in names]
    assert [minimum] * len(names) == [model.minimum_cacheable_tokens for model in found if model is not None]


def test_an_alias_is_its_dated_model() -> None:
    """Both names share one cache and one price."""
    assert find("claude-haiku-4-5") is find("claude-haiku-4-5-20251001") is not None
    assert [None, None, None] == [find("claude-unknown"), find(None), find(["claude-opus-5-5"])]


def test_names_are_unique() -> None:
    """No name or alias stands for two models."""
    names = [name for model in MODELS for name in (model.name, *model.aliases)]
    assert len(names) == len(set(names))


def test_models_up_to_4_5_are_smaller() -> None:
    """Their window is 200,000 tokens; every newer model has a million."""
    small = {model.name for model in MODELS if model.context_tokens == 200_000}
    dated = {"claude-opus-4-5-20251101", "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929", "claude-opus-4-1"}
    assert dated == small
    assert {1_000_000} == {model.context_tokens for model in MODELS if model.name not in small}


def test_a_model_retires_on_its_day() -> None:
    """Sonnet 4.5 is served until the end of 2026-11-29."""
    model, day = find("claude-sonnet-4-5"), day_ms("2026-11-30")
    assert model is not None
    assert [False, True] == [is_retired(model, at_ms) for at_ms in (day - 1, day)]
    assert 1_796_000_000_000 < day_ms("2026-12-01") < 1_797_000_000_000
