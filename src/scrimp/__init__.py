"""Scrimp: what your Claude agents cost, and how to make them cheaper without making them worse.

Theory of operation: one pure engine (`core`) reads requests and answers, believes things about sessions and caches,
and plans. Around it stand the shells that do the I/O: the gateway that clients are pointed at, the middleware of the
`anthropic` SDK, replay over recorded sessions, the ledger that everything is written to, and the command line. A
simulator of the API (`sim`), which shares no code with the engine, makes the whole of it run with no key and no
network, and bills independently.

The public names are `Middleware` (see `scrimp.sdk`) and `__version__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrimp.sdk import Middleware

__all__ = ["Middleware", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Return `Middleware`, imported when it is first named: the SDK that it stands on takes a second to import."""
    if name != "Middleware":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only who needs it pays

    return import_module("scrimp.sdk").Middleware
