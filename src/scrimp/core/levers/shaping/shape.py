"""Shape a tool result, and get it back: the table of shapers, each proved on the text it was given."""

from __future__ import annotations

from scrimp.core.levers.shaping import jsons, listings, numbered, terminal
from scrimp.core.levers.shaping.contract import Hint, Shaped, Shaper

__all__ = ["LONGEST_CHARS", "SHAPERS", "Hint", "Shaped", "Shaper", "is_shaped", "proved", "restore", "shape"]

LONGEST_CHARS = 10_000_000
"""What is longer goes as it came: shaping holds a few copies of its text in memory."""

SHAPERS: tuple[Shaper, ...] = (jsons.SHAPER, numbered.SHAPER, listings.SHAPER, terminal.SHAPER)


def shape(text: str, hint: Hint | None = None) -> Shaped:
    """Return the text as short as the shapers write it with nothing lost; what no shaper helps is as it came."""
    shaped = Shaped(text)
    if len(text) > LONGEST_CHARS:
        return shaped
    for shaper in SHAPERS:
        shorter = proved(shaper, shaped.text, hint or Hint())
        if shorter is not None:
            shaped = Shaped(shorter, (*shaped.steps, f"{shaper.name}/{shaper.version}"))
    return Shaped(text) if shaped.steps and is_shaped(text) else shaped


def restore(shaped: Shaped) -> str:
    """Return the text that was shaped; ValueError where a step is unknown or the text is not what it wrote."""
    text = shaped.text
    known = {f"{shaper.name}/{shaper.version}": shaper for shaper in SHAPERS}
    for step in reversed(shaped.steps):
        if step not in known:
            raise ValueError(f"no shaper here is {step!r}; restore with the version of Scrimp that shaped it")
        text = known[step].restore(text)
    return text


def is_shaped(text: str) -> bool:
    """Tell whether a text bears the mark of some shaper: it was shaped before, or looks so, and is left alone."""
    return any(_restored(shaper, text) is not None for shaper in SHAPERS)


def proved(shaper: Shaper, text: str, hint: Hint) -> str | None:
    """Return what a shaper makes of a text, where that is shorter and gives the text back; else None."""
    try:
        shorter = shaper.shape(text, hint)
    except Exception:  # noqa: BLE001 - whatever goes wrong in a shaper, the text goes as it came (design rule 3)
        return None
    if shorter is None or len(shorter) >= len(text) or _restored(shaper, shorter) != text:
        return None
    return shorter


def _restored(shaper: Shaper, text: str) -> str | None:
    try:
        return shaper.restore(text)
    except Exception:  # noqa: BLE001 - as above; ValueError is what a text without its mark gives
        return None
