"""The table of attribute spellings: complete, unambiguous, and written for what readers ask for."""

from __future__ import annotations

from collections import Counter

from scrimp.telemetry import ATTRIBUTES, MODEL_OPERATIONS, RESOURCE_ATTRIBUTES


def test_no_spelling_means_two_things() -> None:
    """A reader could not tell them apart."""
    spelled = Counter(name for names in (*ATTRIBUTES.values(), *RESOURCE_ATTRIBUTES.values()) for name in names)
    assert [] == [name for name, count in spelled.items() if count > 1]


def test_both_generations_of_cache_writes_are_known() -> None:
    """The newer schema says cache_write, the older cache_creation; the newer is written."""
    names = ATTRIBUTES["cache_write_input_tokens"]
    assert "gen_ai.usage.cache_write.input_tokens" == names[0]
    assert "gen_ai.usage.cache_creation.input_tokens" in names


def test_agents_and_tools_are_no_model_operations() -> None:
    """Their spans surround spans of requests and would count twice."""
    assert not MODEL_OPERATIONS & {"invoke_agent", "create_agent", "execute_tool", "invoke_workflow"}
