"""What is known of each principal, as one value that events change: the least recently used are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from scrimp.core.belief.account import Account
from scrimp.core.belief.events import Event
from scrimp.core.belief.session import Belief, step
from scrimp.core.plan.threads import Command, State
from scrimp.engine.faults import own_up

#: Principals that are kept in memory; forgetting one costs predictions, and lets go of the caches held for it.
PRINCIPALS_MAX = 256


class States:
    """The state of each principal; who is new begins with `account`: what is known of people beforehand."""

    def __init__(self, account: Account) -> None:
        self._fresh = State(account=account)
        self._known: OrderedDict[str, State] = OrderedDict()

    def __contains__(self, principal: str) -> bool:
        return principal in self._known

    def __len__(self) -> int:
        return len(self._known)

    def of(self, principal: str) -> State:
        """Return the state of a principal, which makes it the latest one used."""
        state = self._known.setdefault(principal, self._fresh)
        self._known.move_to_end(principal)
        if len(self._known) > PRINCIPALS_MAX:
            self._known.popitem(last=False)
        return state

    def fold(self, principal: str, event: Event) -> None:
        """Fold an event into what is believed; a fault of ours loses the belief and no more."""
        state = self.of(principal)
        try:
            belief = step(state.belief, event)
        except Exception as error:  # noqa: BLE001 - losing a belief costs predictions, losing an answer costs the client
            belief = Belief()
            own_up("what was believed of a principal is lost", error)
        self._known[principal] = msgspec.structs.replace(state, belief=belief)

    def move(self, principal: str, change: Callable[[State], tuple[State, list[Command]]]) -> list[Command]:
        """Change a state and return what is to be done now; a fault of ours changes nothing."""
        try:
            self._known[principal], commands = change(self.of(principal))
        except Exception as error:  # noqa: BLE001 - holding is a saving, and no request may fail for one
            own_up("what happened to a pause is lost", error)
            return []
        return commands

    def change(self, principal: str, change: Callable[[State], State]) -> None:
        """Change a state; a fault of ours changes nothing."""
        self.move(principal, lambda state: (change(state), []))
