"""Asking an address one question, as the gateway would send it: does anything answer, and is it one of us."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from http import HTTPStatus

from scrimp.errors import ScrimpError, UpstreamUnavailable
from scrimp.upstream.client import Upstream, UpstreamRequest

#: How long an upstream or a gateway may take to answer, in seconds.
ANSWER_SECONDS = 5
#: What a gateway of ours says at HEALTH_PATH. One whose ledger is in trouble goes on serving, so that both are a 200.
HEALTH_PATH = "/healthz"
HEALTHY = b'{"status":"ok"}'
DEGRADED = b'{"status":"degraded","why":"the ledger cannot be written; the log says why"}'
_OURS = frozenset({(HTTPStatus.OK, HEALTHY), (HTTPStatus.OK, DEGRADED)})


async def asked(upstream: Upstream, method: str, target: str) -> tuple[int, bytes]:
    """Send one request and return the status and the first bytes of the answer.

    Raises `UpstreamUnavailable` where nothing answers in time.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await upstream.send(UpstreamRequest(method, target, []))
            async with aclosing(response):
                return response.status, await anext(aiter(response.chunks()), b"")
    except (TimeoutError, ConnectionError) as error:
        raise UpstreamUnavailable("The upstream takes too long to answer, or breaks off.") from error


async def speaks_scrimp(upstream: Upstream) -> bool:
    """Whether an upstream is a gateway of ours. Raises `UpstreamUnavailable` where nothing answers."""
    return await asked(upstream, "GET", HEALTH_PATH) in _OURS


def ask(base_url: str, method: str, target: str, *, trust_env: bool) -> tuple[int, bytes]:
    """Ask an address, as `asked` does, outside any event loop; an address that cannot be used is a `ConfigError`."""
    from scrimp.upstream.network import AiohttpUpstream  # noqa: PLC0415 - slow to import, and not every start asks

    async def once() -> tuple[int, bytes]:
        upstream = AiohttpUpstream(base_url, trust_env=trust_env)
        try:
            return await asked(upstream, method, target)
        finally:
            await upstream.aclose()

    return asyncio.run(once())


def is_scrimp(base_url: str, *, trust_env: bool) -> bool:
    """Whether a gateway of ours answers at an address; nothing there is not one."""
    try:
        return ask(base_url, "GET", HEALTH_PATH, trust_env=trust_env) in _OURS
    except ScrimpError:
        return False
