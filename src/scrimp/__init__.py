"""Scrimp: what your Claude agents cost, and how to make them cheaper without making them worse.

Theory of operation: one pure engine (`core`) reads requests and answers, believes things about sessions and caches,
and plans. Around it stand the shells that do the I/O: the gateway that clients are pointed at, the middleware of the
`anthropic` SDK, replay over recorded sessions, the ledger that everything is written to, and the command line. A
simulator of the API (`sim`), which shares no code with the engine, makes the whole of it run with no key and no
network, and bills independently.

The public names are `Middleware` (see `scrimp.sdk`), `shape` and `restore` (see `scrimp.core.levers.shaping`), and
`__version__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrimp.core.levers.shaping.contract import Shaped
    from scrimp.core.levers.shaping.shape import restore
    from scrimp.sdk import Middleware

__all__ = ["Middleware", "__version__", "restore", "shape"]

__version__ = "0.1.0"

_ROOMS = {"Middleware": "scrimp.sdk", "restore": "scrimp.core.levers.shaping.shape"}
"""Where a name is that is imported when it is first asked for: the SDK alone takes a second to import."""


def shape(text: str, tool: str | None = None) -> Shaped:
    """Return a tool result written shorter with nothing lost; `tool` is the name of the tool that gave it.

    `.text` is what to send to the model, in place of the result, from the first request that carries it on. `.steps`
    says how it was shaped, empty where the text is as it came; `scrimp.restore` gives the original back.
    """
    from scrimp.core.levers.shaping.contract import Hint  # noqa: PLC0415 - only who shapes pays
    from scrimp.core.levers.shaping.shape import shape as shaped  # noqa: PLC0415 - as above

    return shaped(text, Hint(tool=tool))


def __getattr__(name: str) -> Any:
    """Return a public name, imported from its room when it is first asked for."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only who needs it pays

    return getattr(import_module(_ROOMS[name]), name)
