"""Owning up to faults of our own in the log, without quoting the request."""

from __future__ import annotations

import logging
import traceback

_log = logging.getLogger("scrimp.engine")


def own_up(what: str, error: Exception) -> None:
    """Log a fault of ours by its kind and place alone: its message may quote the request."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("%s (%s in %s, line %s)", what, type(error).__name__, place.name, place.lineno)
