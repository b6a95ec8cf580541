"""Loops of gateways: a request that comes back to a gateway which it has already passed is refused.

Gateways may stand behind each other, as `scrimp run` does behind `scrimp up`, and settings may lead them round in a
circle. A gateway whose next one is ours, too, therefore names itself in a header that no other upstream ever gets:
the API hears what the client said and no more. `scrimp run` knows what it stands before. `scrimp up` asks, once it has
so much under way that it may be going round in a circle; until then a loop costs some requests, and nothing else does.

The answer is 508 (Loop Detected, RFC 5842 section 7.2). It is none of the statuses by which Claude Code sheds features
(400), and says by `x-should-retry` that another try would be the same: only whoever set the addresses can end it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

import msgspec

from scrimp.errors import ScrimpError
from scrimp.gateway.asgi import Scope, Send

VIA = b"scrimp-via"
#: Gateways of ours that a request may pass; nobody needs more, and with several workers a loop may miss its own name.
HOPS_MAX = 8
#: So many requests under way are reason to ask whether the upstream is one of ours, and how long the answer holds.
CROWD_COUNT = 32
ANSWER_HOLDS_SECONDS = 300

_log = logging.getLogger("scrimp.gateway")
_WHAT = (
    "This request came back to a gateway that it had already passed: the upstream of one of them leads back here. "
    "Name the API itself with --upstream on the last one."
)
_BODY = msgspec.json.encode({"type": "error", "error": {"type": "api_error", "message": f"scrimp: {_WHAT}"}})

Ask = Callable[[], Awaitable[bool]]


class Hops:
    """What one gateway knows of its neighbours. `ask` says whether the upstream is one of ours, where it may be one."""

    def __init__(self, ask: Ask | None = None, *, next_is_ours: bool = False) -> None:
        self.next_is_ours = next_is_ours
        self._name = secrets.token_hex(6).encode()
        self._ask = None if next_is_ours else ask
        self._asking: asyncio.Task[None] | None = None
        self._ask_again_at = 0.0
        self._under_way = 0
        self._has_told = False

    def came_back(self, scope: Scope) -> bool:
        """Whether the request has passed here before, or too many gateways for anything but a loop."""
        passed = _passed(scope)
        return bool(passed) and (self._name in passed or len(passed) >= HOPS_MAX)

    def via(self, scope: Scope) -> bytes | None:
        """Return the header for the next gateway of ours, None where the next is none."""
        return b" ".join([*_passed(scope), self._name]) if self.next_is_ours else None

    def begins(self) -> None:
        """Count a request that is served now; it `ends`, too."""
        self._under_way += 1
        if self._under_way >= CROWD_COUNT and self._ask is not None and self._asking is None:
            self._wonder(self._ask)

    def ends(self) -> None:
        """Count one less."""
        self._under_way -= 1

    def _wonder(self, ask: Ask) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._ask_again_at:
            self._ask_again_at = now + ANSWER_HOLDS_SECONDS
            self._asking = asyncio.create_task(self._learn(ask))

    async def _learn(self, ask: Ask) -> None:
        try:
            self.next_is_ours = await ask()
        except (ScrimpError, OSError, TimeoutError):
            self._ask_again_at = 0
        finally:
            self._asking = None

    async def refuse(self, send: Send) -> None:
        """Answer a request that came back, and tell the operator once."""
        if not self._has_told:
            self._has_told = True
            _log.error("%s", _WHAT)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(_BODY)).encode()),
            (b"x-should-retry", b"false"),
        ]
        await send({"type": "http.response.start", "status": 508, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY})

    async def aclose(self) -> None:
        """Ask nothing any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


def _passed(scope: Scope) -> list[bytes]:
    """Return the names of the gateways that the request has passed, in their order."""
    return [name for header, value in scope["headers"] if header == VIA for name in value.split()]
