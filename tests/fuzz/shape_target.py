"""Shaping on any text: exact, never longer, once; whatever is restored, a text comes of it or the error for it."""

from __future__ import annotations

from contextlib import suppress

from scrimp.core.levers.shaping.contract import Hint
from scrimp.core.levers.shaping.shape import SHAPERS, restore, shape
from tests.fuzz.inputs import Input

_TOOLS = (None, "Read", "Grep", "Glob", "Bash", "get_order")


def check_shape(given: Input) -> None:
    """Shape one text as the result of a tool that the input chooses; then ask each shaper to restore the text."""
    text = given.text.decode(errors="replace")
    hint = Hint(tool=_TOOLS[given.ways[0] % len(_TOOLS)])
    shaped = shape(text, hint)
    assert text == restore(shaped)
    assert len(shaped.text) < len(text) if shaped.steps else text == shaped.text
    assert shaped.text == shape(shaped.text, hint).text
    assert shaped.text == shaped.text.encode().decode()
    for shaper in SHAPERS:
        shorter = shaper.shape(text, hint)
        assert shorter is None or text == shaper.restore(shorter), shaper.name
        with suppress(ValueError):
            shaper.restore(text)
