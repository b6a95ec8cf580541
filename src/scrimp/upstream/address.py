"""Where the upstream is and how it is reached: its base URL, each target below it, a proxy, and whom TLS trusts."""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from yarl import URL

from scrimp.errors import ConfigError

#: The part of a target that every client of the API writes itself, so that no base may end with it.
_OF_EVERY_TARGET = ("/v1", "/v1/messages")

_ANTHROPIC = "anthropic.com"


def without_credentials(url: str) -> str:
    """Return a URL that may be shown: no user, password, query or fragment, however badly they were written.

    A password that was not percent-encoded may hold any character, so everything up to the last @ is left out, even
    the start of a path that holds one.
    """
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    return f"{scheme}{mark}{re.split(r'[?#]', rest.rpartition('@')[2], maxsplit=1)[0]}"


def _parsed(base_url: str) -> URL | None:
    """Return a URL of HTTP with a host and a port, else None."""
    with suppress(ValueError):
        base = URL(base_url, encoded=True)
        if base.scheme in {"http", "https"} and base.raw_host and base.port:
            return base
    return None


def base_of(base_url: str) -> URL:
    """Return a base URL that requests can be sent to; anything else raises `ConfigError`."""
    hint = "Give one like https://api.anthropic.com, with a path if the API stands under one."
    base = _parsed(base_url)
    shown = without_credentials(base_url)
    if base is None:
        raise ConfigError(f"{shown!r} is no address of an upstream.", hint)
    if base.raw_user or base.raw_password or base.raw_query_string or base.raw_fragment:
        raise ConfigError(
            "The upstream's address may hold no password, query or fragment.",
            f"Give {shown}; each client sends its own credential.",
        )
    _refuse_what_clients_write(shown)
    return base


def _refuse_what_clients_write(shown: str) -> None:
    """Raise `ConfigError` for a base that ends with what every target begins with, and name the right one."""
    bare = shown.rstrip("/")
    for end in _OF_EVERY_TARGET:
        if bare.endswith(end):
            raise ConfigError(
                f"The upstream's address {shown} ends with {end}, which every client adds itself.",
                f"Give {bare.removesuffix(end)} instead.",
            )


def is_the_api(base_url: str) -> bool:
    """Whether an upstream is Anthropic's own, so that no gateway of ours can be behind that name."""
    host = base_of(base_url).host or ""
    return host == _ANTHROPIC or host.endswith(f".{_ANTHROPIC}")


def url_below(base: URL, target: str) -> URL:
    """Return where a target is, byte for byte; what no request line can hold is percent-encoded."""
    raw = "".join(char if char.isascii() else f"%{ord(char):02X}" for char in target)
    path, _, query = raw.partition("?")
    path = base.raw_path.rstrip("/") + (path if path.startswith("/") else f"/{path}")
    return URL.build(scheme=base.scheme, authority=base.raw_authority, path=path, query_string=query, encoded=True)


def proxy_from_environment(base: URL) -> URL | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY choose for a base URL."""
    proxies = getproxies_environment()
    named = proxies.get(base.scheme) or proxies.get("all")
    if not named or proxy_bypass_environment(f"{base.host}:{base.port}", proxies):
        return None
    proxy = URL(named if "://" in named else f"http://{named}")
    if proxy.scheme not in {"http", "https"}:
        raise ConfigError(f"A {proxy.scheme} proxy cannot be used.", "Name an HTTP proxy, or set NO_PROXY.")
    return proxy


def verifying() -> ssl.SSLContext:
    """Return a context that verifies, by the system's authorities or those in $SSL_CERT_FILE and $SSL_CERT_DIR."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
