"""Sockets at both ends of a gateway, as the gateway's own tests have them."""

from __future__ import annotations

from tests.gateway.conftest import gateway_to, running, starting_up, up_to, upstream_of

__all__ = ["gateway_to", "running", "starting_up", "up_to", "upstream_of"]
