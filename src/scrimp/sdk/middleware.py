"""The two handles that the SDK enters, once for each attempt.

The SDK's retries come round here each time, so each attempt is an exchange, as it is for a gateway: an attempt that
the API refused costs nothing, and one that was cut off may have cost something.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, get_args

import anthropic
import httpx2
from anthropic import APIRequest

from scrimp.clock import Clock, SystemClock
from scrimp.config import load_settings
from scrimp.core.plan.planning import Policy
from scrimp.engine.faults import own_up
from scrimp.engine.outside import EXCHANGE_HEADER, Outside
from scrimp.errors import ConfigError
from scrimp.sdk.answers import Attempt
from scrimp.sdk.asked import Client, client_of, has_credential, headers_of, is_exchange, sent, wire
from scrimp.sdk.desk import Desk
from scrimp.sdk.shelf import LedgerOpener
from scrimp.store.ledger import Ledger, open_ledger
from scrimp.upstream.address import is_the_api
from scrimp.upstream.pricefeed import load_current_book

Mode = Literal["observe", "safe"]
_MODES: tuple[Mode, ...] = get_args(Mode)


class Middleware(anthropic.Middleware):
    """Plans and records each exchange of the clients that it is given to, synchronous and asynchronous alike.

    * `mode` is "observe", which changes nothing, or "safe", which changes only what cannot change an answer. None is
      "safe" where the client has an API key, and "observe" where it cannot be seen who pays. A subscription is only
      ever observed. A request may lower it by `extra_headers={"scrimp-mode": "observe"}`.
    * `order` lets "safe" move text that changes in every request from the head of the system prompt to the end of the
      request, and sort tools whose order drifts.
    * `task` is what this work is called in reports; `scrimp-task` and `scrimp-session` in `extra_headers` say it for
      one request.
    * `ledger` is a path or a URL, or a ledger of your own; None is the one that `scrimp up` writes.

    Put it last where there is other middleware, so that it sees what is sent. One of them may serve many clients and
    threads. Raises `ConfigError` where the options, the user's settings or the user's prices cannot be used.
    """

    def __init__(
        self,
        *,
        mode: Mode | None = None,
        order: bool = False,
        task: str | None = None,
        ledger: str | os.PathLike[str] | Ledger | None = None,
        clock: Clock | None = None,
    ) -> None:
        if mode is not None and mode not in _MODES:
            raise ConfigError(f"The mode cannot be {mode!r}.", f"It may be: {', '.join(_MODES)}.")
        settings = load_settings({}, os.environ)
        self._mode = mode
        self._task = task
        self._body_limit_bytes = settings.body_limit_bytes
        #: base URL -> whether a gateway of ours answers there; what is not known yet is absent.
        self._gateways: dict[str, bool] = {}
        place = settings.db if ledger is None else ledger
        outside = Outside(
            prices=load_current_book(),
            clock=clock or SystemClock(),
            policy=Policy(mode=mode or "safe", order=order),
            source="sdk",
        )
        self._desk = Desk(outside, _ledger_of(place, settings.retention_days))

    def handle(self, request: APIRequest, call_next: anthropic.CallNext) -> anthropic.APIResponse[Any]:
        """Pass one attempt of the synchronous client on."""
        attempt, planned, base = self._asked(request, call_next)
        with _noting_failure(attempt):
            response = call_next(planned)
        self._answered(attempt, response, base)
        return response

    async def handle_async(
        self, request: APIRequest, call_next: anthropic.AsyncCallNext
    ) -> anthropic.AsyncAPIResponse[Any]:
        """Pass one attempt of the asynchronous client on."""
        attempt, planned, base = self._asked(request, call_next)
        with _noting_failure(attempt):
            response = await call_next(planned)
        self._answered(attempt, response, base)
        return response

    def close(self) -> None:
        """Write what is queued and let go of the ledger, which the end of the process does by itself.

        Raises `ScrimpError` if the ledger cannot be opened or written.
        """
        self._desk.close_ledger()

    def _asked(self, request: APIRequest, call_next: Any) -> tuple[Attempt | None, APIRequest, str]:
        """Plan a request; return no attempt where it is none of our business or a fault of ours kept us from it."""
        try:
            client = client_of(call_next)
            if not isinstance(client, anthropic.Anthropic | anthropic.AsyncAnthropic | None):
                return None, request, ""
            base = str(client.base_url) if client is not None else ""
            if not is_exchange(request) or self._gateways.get(base):
                return None, request, base
            return *self._planned(request, client, base), base
        except Exception as error:  # noqa: BLE001 - a fault of ours must never become the caller's
            own_up("a request is sent as it came and is not recorded", error)
            return None, request, ""

    def _planned(self, request: APIRequest, client: Client | None, base: str) -> tuple[Attempt, APIRequest]:
        headers = headers_of(request, client)
        asked = headers if self._task is None else {"scrimp-task": self._task, **headers}
        if self._mode is None and not has_credential(headers):
            asked = {**asked, "scrimp-mode": "observe"}
        body = wire(request.json)
        opened = self._desk.arrive(asked, body if len(body) <= self._body_limit_bytes else None)
        attempt = Attempt(self._desk, opened)
        if not self._is_direct(base):
            return attempt, sent(request, {}, opened.body)  # a gateway of ours would want what is for us
        planned = sent(request, headers, opened.body)
        attempt.begin()
        return attempt, planned

    def _is_direct(self, base: str) -> bool:
        """Whether no gateway of ours is at an address; of a strange one that is only known after its first answer."""
        with suppress(ConfigError):
            return base in self._gateways or is_the_api(base)
        return False

    def _answered(self, attempt: Attempt | None, response: object, base: str) -> None:
        """Look at an answer."""
        if attempt is None:
            return
        try:
            self._looked_at(attempt, getattr(response, "http_response", None), base)
        except Exception as error:  # noqa: BLE001 - a fault of ours must never become the caller's
            own_up("an answer could not be read", error)
            attempt.left()

    def _looked_at(self, attempt: Attempt, raw: httpx2.Response | None, base: str) -> None:
        if raw is None:  # other middleware answered, and sent nothing
            attempt.unsent()
            return
        self._gateways[base] = EXCHANGE_HEADER in raw.headers
        if self._gateways[base] and not attempt.is_begun:
            attempt.recorded_elsewhere()
            return
        attempt.begin()
        attempt.answered(raw)


def _ledger_of(place: str | os.PathLike[str] | Ledger, retention_days: int | None) -> Ledger | LedgerOpener:
    """Return what opens the ledger that a name means, to be closed with the stack; one that was handed in is itself."""
    if not isinstance(place, str | os.PathLike):
        return place
    return lambda stack: stack.enter_context(open_ledger(place, retention_days=retention_days))


@contextmanager
def _noting_failure(attempt: Attempt | None) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if attempt is not None:
            attempt.failed(error)
        raise
