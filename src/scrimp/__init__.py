"""Scrimp: what your Claude agents cost, and how to make them cheaper without making them worse.

Theory of operation: one pure engine (`core`) reads requests and answers, believes things about sessions and caches,
and plans. Four shells around it do the I/O: the gateway that clients are pointed at, replay over recorded sessions,
the ledger that everything is written to, and the command line. A simulator of the API (`sim`), which shares no code
with the engine, makes the whole of it run with no key and no network, and bills independently.
"""

from __future__ import annotations

__version__ = "0.1.0"
