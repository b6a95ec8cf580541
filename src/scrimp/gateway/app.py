"""The routes: a table from method and path to who serves it; what is not in it is passed through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from scrimp.gateway.asgi import App, Receive, Scope, Send, reply
from scrimp.gateway.messages import MessagesEndpoint
from scrimp.gateway.passthrough import pass_through
from scrimp.gateway.recorder import Recorder
from scrimp.gateway.services import Services


async def _health(_scope: Scope, _receive: Receive, send: Send) -> None:
    await reply(send, 200, "application/json", b'{"status":"ok"}')


async def _nothing() -> None:
    """Have nothing to close."""


def create_app(services: Services, on_stop: Callable[[], Awaitable[None]] = _nothing) -> App:
    """Return the gateway as an ASGI app; `on_stop` is awaited when the server stops, after the last request."""
    routes: dict[tuple[str, str], App] = {
        ("POST", "/v1/messages"): MessagesEndpoint(services, Recorder(services)),
        ("GET", "/healthz"): _health,
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send, on_stop)
        elif scope["type"] == "http":
            route = routes.get((scope["method"], scope["path"]))
            if route is None:
                await pass_through(scope, receive, send, services)
            else:
                await route(scope, receive, send)

    return app


async def _lifespan(receive: Receive, send: Send, on_stop: Callable[[], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        stopping = message["type"] == "lifespan.shutdown"
        if stopping:
            await on_stop()
        await send({"type": f"{message['type']}.complete"})
        if stopping:
            return
