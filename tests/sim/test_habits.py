"""What stays the same through a conversation, and the pieces that requests are made of."""

from __future__ import annotations

import random
from typing import Any

from scrimp.sim import habits
from scrimp.sim.models import find
from scrimp.sim.tokens import block_tokens, image_tokens


def test_a_picture_has_its_size() -> None:
    """The API's rule reads width and height from the data."""
    model = find("claude-opus-5-5")
    assert model is not None
    assert image_tokens(300, 200, model) == block_tokens(habits.picture(300, 200), model)


def test_the_last_block_is_marked_wherever_it_is() -> None:
    """A message without content has nothing to mark, so the mark stands before it; nothing else changes."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "system", "content": []},
    ]
    marked = habits.with_last_marked(messages, "1h")
    control = {"type": "ephemeral", "ttl": "1h"}
    block = {"type": "text", "text": "b", "cache_control": control}
    assert [messages[0], {"role": "user", "content": [block]}, messages[2]] == marked
    assert messages == habits.with_last_marked(messages, None)


def test_the_default_lifetime_is_not_written() -> None:
    """Clients leave it out."""
    assert [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}] == [habits.control(ttl) for ttl in ("5m", "1h")]


def test_a_style_is_one_of_those_that_are_listed() -> None:
    """For any draw, and a deferred tool is a tool that says so."""
    for seed in range(50):
        style = habits.style_of(random.Random(seed))
        assert style.model in habits.MODELS
        assert style.caching in habits.CACHING
        assert 1 <= style.tool_count <= len(habits.TOOL_NAMES)
    plain, late = (make("Late", random.Random(1)) for make in (habits.tool, habits.deferred))
    assert {**plain, "defer_loading": True} == late


def test_system_messages_go_to_models_that_take_them() -> None:
    """As the models' table says; a name that is not known takes none."""
    assert [True, False, False] == [
        habits.takes_system_messages(name) for name in ("claude-opus-5-5", "claude-sonnet-4-6", "nope")
    ]
