"""Every path that is not planned: forwarded byte for byte, the body streamed in both directions."""

from __future__ import annotations

import contextlib

from scrimp.gateway.asgi import ClientGone, Inbound, Receive, Scope, Send
from scrimp.gateway.relay import relay, send_upstream, unless_gone, upstream_request
from scrimp.gateway.services import Services
from scrimp.upstream.client import UpstreamRequest


async def pass_through(scope: Scope, receive: Receive, send: Send, services: Services) -> None:
    """Forward one request and its answer untouched, for as long as the client stays."""
    inbound = Inbound(receive)
    has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])
    if not has_body:
        inbound.skip_body()
    body = inbound.chunks() if has_body else b""
    request = upstream_request(scope, body, chained=services.chained, via=services.hops.via(scope))
    with contextlib.suppress(ClientGone):
        await unless_gone(inbound, _forward(request, send, services))


async def _forward(request: UpstreamRequest, send: Send, services: Services) -> None:
    response = await send_upstream(services.upstream, request, send)
    if response is not None:
        try:
            await relay(response, send)
        finally:
            await response.aclose()
