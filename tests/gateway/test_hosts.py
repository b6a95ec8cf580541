"""A gateway on loopback answers only to addresses and to names that belong to this machine."""

from __future__ import annotations

import pytest

from scrimp.gateway.hosts import host_check


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:4000", True),
        ("127.0.0.1", True),
        ("[::1]:4000", True),
        ("192.168.0.7:4000", True),
        ("localhost:4000", True),
        ("LocalHost", True),
        ("app.localhost:4000", True),
        ("scrimp.internal:4000", True),
        ("", True),
        ("evil.example:4000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:4000", False),
        ("127.0.0.1:4000:80", False),
    ],
)
@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1"])
def test_names_of_others_are_refused_on_loopback(listening: str, host: str, allowed: bool) -> None:
    """A page of another domain names that domain as Host, whatever it resolves to."""
    assert allowed == host_check(listening, "scrimp.internal, other")(host)


@pytest.mark.parametrize("listening", ["0.0.0.0", "::", "10.0.0.5", "gateway.example"])  # noqa: S104 - nothing is bound
def test_elsewhere_any_name_will_do(listening: str) -> None:
    """Behind a load balancer or in a container the names are the owner's."""
    assert host_check(listening, "")("gateway.example")
