"""Items of a request's bytes: each holds for ours, and each is failed by what it is there to find."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from scrimp.gateway.conformance.bodies import ITEMS, LARGEST_BYTES
from tests.gateway.conformance.faults import bodies, refusing, sound
from tests.gateway.conformance.shape import proofs

if TYPE_CHECKING:
    from tests.gateway.conformance.conftest import Examine
    from tests.gateway.conformance.faults import Fault


def _dumped(**options: object) -> Callable[[bytes], bytes]:
    return lambda body: json.dumps(json.loads(body), **options).encode()  # type: ignore[arg-type]


def _helpful(body: bytes) -> bytes:
    """Add a breakpoint, as gateways do that mean well."""
    return body.replace(b'{"', b'{"cache_control":{"type":"ephemeral"},"', 1)


BYTES = {"body-claude-code", "body-sdk", "body-32-mb"}
FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "none": (sound, set()),
    "written anew by Python": (
        bodies(_dumped()),
        {*BYTES, "body-whitespace", "body-numbers", "body-escapes"},
    ),
    "written anew without spaces": (
        bodies(_dumped(separators=(",", ":"), ensure_ascii=False)),
        {"body-whitespace", "body-numbers", "body-escapes"},
    ),
    "keys sorted": (
        bodies(_dumped(separators=(",", ":"), ensure_ascii=False, sort_keys=True)),
        {*BYTES, "body-whitespace", "body-key-order", "body-numbers", "body-escapes"},
    ),
    "a breakpoint added": (bodies(_helpful), {*BYTES, "body-key-order", "body-nothing-added"}),
    "large bodies refused": (
        refusing(lambda scope: int(dict(scope["headers"]).get(b"content-length", 0)) > 10**6),
        {"body-32-mb"},
    ),
}


test_each_fault_fails_just_its_items, test_each_item_can_fail = proofs(ITEMS, FAULTS)


def test_the_largest_body_is_what_the_api_takes() -> None:
    """32 MB, as its errors page has it."""
    assert 32 * 1024 * 1024 == LARGEST_BYTES


def test_what_differs_is_shown(examine: Examine) -> None:
    """The finding names the first byte and what became of it."""
    found = examine(bodies(_dumped(sort_keys=True)), [item for item in ITEMS if item.name == "body-key-order"])
    assert found.rows[0].got.startswith("differs from byte 2: ")
