"""Which Host a request may name: a web page must not reach a gateway of this machine by a name of its own.

A gateway on loopback can be reached by any page in a browser whose domain is made to resolve to 127.0.0.1 (DNS
rebinding). Such a page names its domain as Host, so only addresses, "localhost" and the names that the owner allows
are answered. A gateway on other addresses is behind the owner's own network and names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache

HostCheck = Callable[[str], bool]

#: Hosts whose check is remembered: clients say one and the same.
REMEMBERED_COUNT = 64


def any_host(_host: str) -> bool:
    """Allow every Host."""
    return True


def _name_of(host: str) -> str:
    """Return a Host header without its port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() and ":" in name else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(listening: str) -> bool:
    name = _name_of(listening) if not _is_address(listening) else listening
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def host_check(listening: str, allowed: str) -> HostCheck:
    """Return the check for a gateway that listens on this address; `allowed` are more names, separated by commas."""
    if not _is_loopback(listening):
        return any_host
    names = {"localhost", "", *(name.strip().lower() for name in allowed.split(","))}

    @lru_cache(REMEMBERED_COUNT)
    def check(host: str) -> bool:
        name = _name_of(host)
        return name in names or name.endswith(".localhost") or _is_address(name)

    return check
