"""Asking an address one question, as the gateway would send it: does anything answer, and is it one of us."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from scrimp.errors import ScrimpError, UpstreamUnavailable
from scrimp.upstream.client import UpstreamRequest

#: How long an upstream or a gateway may take to answer, in seconds.
ANSWER_SECONDS = 5
#: What a gateway of ours says at HEALTH_PATH.
HEALTH_PATH = "/healthz"
HEALTHY = b'{"status":"ok"}'


def ask(base_url: str, method: str, target: str, *, trust_env: bool) -> tuple[int, bytes]:
    """Send one request and return the status and the first bytes of the answer.

    Raises `ScrimpError` for an address that cannot be used and where nothing answers in time.
    """
    from scrimp.upstream.network import AiohttpUpstream  # noqa: PLC0415 - slow to import, and not every start asks

    async def asked() -> tuple[int, bytes]:
        upstream = AiohttpUpstream(base_url, trust_env=trust_env)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await upstream.send(UpstreamRequest(method, target, []))
                async with aclosing(response):
                    return response.status, await anext(aiter(response.chunks()), b"")
        except (TimeoutError, ConnectionError) as error:
            raise UpstreamUnavailable(f"{base_url} takes too long to answer, or breaks off.") from error
        finally:
            await upstream.aclose()

    return asyncio.run(asked())


def is_scrimp(base_url: str, *, trust_env: bool) -> bool:
    """Whether a gateway of ours answers at an address; nothing there is not one."""
    try:
        return ask(base_url, "GET", HEALTH_PATH, trust_env=trust_env) == (200, HEALTHY)
    except ScrimpError:
        return False
