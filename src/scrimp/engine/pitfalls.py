"""Telling the owner of what the planner may not mend: once for each place of each application, without its words.

A line that changes in every request, in front of what is cached, costs in every request. In the default mode, and where
`order` is off, the plan only prices it; the log is where its owner sees that.
"""

from __future__ import annotations

import logging

from scrimp.core.levers.order import priced_in_words
from scrimp.core.plan.planning import Plan, Policy

_log = logging.getLogger("scrimp.engine")

#: Places that are told of, each once; further ones are not, so that a client cannot fill the log.
TOLD_MAX = 100
_OFFER = " Or let Scrimp move it: order = true, in safe mode."

_Place = tuple[str, bytes, str, str]


class Pitfalls:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._told: set[_Place] = set()

    def tell(self, principal: str, planned: Plan, policy: Policy) -> None:
        """Log what a plan left where it is, with its price and its fix, if that was not logged before."""
        found, look = planned.pitfall, planned.look
        if found is None or look is None or len(self._told) >= TOLD_MAX:
            return
        place = (principal, look.key, found.cause, found.path)
        if place not in self._told:
            self._told.add(place)
            _log.warning("%s%s", priced_in_words(found), "" if policy.order else _OFFER)
