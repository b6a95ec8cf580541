"""The routes: a table from method and path to who serves it; what is not in it is passed through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from scrimp.engine.faults import own_up
from scrimp.engine.recorder import Recorder
from scrimp.gateway.asgi import App, Receive, Scope, Send, reply
from scrimp.gateway.books import Books
from scrimp.gateway.keeper import Keeper
from scrimp.gateway.messages import MessagesEndpoint
from scrimp.gateway.metrics import CONTENT_TYPE, Metrics
from scrimp.gateway.passthrough import pass_through
from scrimp.gateway.probe import DEGRADED, HEALTH_PATH, HEALTHY
from scrimp.gateway.relay import UpstreamCut
from scrimp.gateway.services import Services

#: A request that was cut off lets go of its upstream and is recorded within a few turns of the event loop.
CUT_TURNS_MAX = 1_000

#: The API's error envelope for a Host that is none of ours.
_REFUSED = msgspec.json.encode(
    {
        "type": "error",
        "error": {
            "type": "permission_error",
            "message": "scrimp: this gateway does not answer to that Host; allow it with the setting `hosts`.",
        },
    }
)


def _host_of(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


async def _nothing() -> None:
    """Have nothing to close."""


def create_app(
    services: Services, on_stop: Callable[[], Awaitable[None]] = _nothing, metrics: Metrics | None = None
) -> App:
    """Return the gateway as an ASGI app; `on_stop` is awaited when the server stops, after the last request.

    `metrics` counts what passes through, from zero and for this process alone unless given.
    """
    metrics = metrics or Metrics()
    recorder, books = Recorder(services), Books(services, metrics)
    keeper = Keeper(services, recorder, books)

    async def show_health(_scope: Scope, _receive: Receive, send: Send) -> None:
        await reply(send, 200, "application/json", HEALTHY if services.ledger.trouble is None else DEGRADED)

    async def show_metrics(_scope: Scope, _receive: Receive, send: Send) -> None:
        page = metrics.page(ledger_trouble=services.ledger.trouble is not None)
        await reply(send, 200, CONTENT_TYPE, page)

    routes: dict[tuple[str, str], App] = {
        ("POST", "/v1/messages"): MessagesEndpoint(services, recorder, books, keeper),
        ("GET", "/metrics"): show_metrics,
        ("GET", HEALTH_PATH): show_health,
        ("HEAD", HEALTH_PATH): show_health,
    }

    async def passed_through(scope: Scope, receive: Receive, send: Send) -> None:
        await pass_through(scope, receive, send, services)

    async def stop() -> None:
        await keeper.aclose()
        await _closed(metrics)
        await on_stop()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send, stop)
        elif scope["type"] == "http" and not services.host_check(_host_of(scope)):
            await reply(send, 403, "application/json", _REFUSED)
        elif scope["type"] == "http" and services.hops.came_back(scope):
            await services.hops.refuse(send)
        elif scope["type"] == "http":
            services.hops.begins()
            try:
                await _answered(routes.get((scope["method"], scope["path"]), passed_through), scope, receive, send)
            finally:
                services.hops.ends()

    return app


async def _closed(metrics: Metrics) -> None:
    """Return once the requests that the server has just cut off are recorded."""
    for _ in range(CUT_TURNS_MAX):
        if not metrics.in_flight:
            return
        await asyncio.sleep(0)


async def _answered(route: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request. What breaks off goes on to the server, which cuts the client's connection."""
    try:
        await route(scope, receive, send)
    except UpstreamCut:
        raise
    except Exception as error:
        own_up("a request failed because of us", error)
        raise


async def _lifespan(receive: Receive, send: Send, on_stop: Callable[[], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        stopping = message["type"] == "lifespan.shutdown"
        if stopping:
            await on_stop()
        await send({"type": f"{message['type']}.complete"})
        if stopping:
            return
