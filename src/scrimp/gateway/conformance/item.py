"""An item of the contract, and what was found of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scrimp.gateway.conformance.trial import Trial

Verdict = Literal["pass", "fail", "not applicable"]

#: Where an item's rule comes from.
PROTOCOL = "Claude Code's gateway protocol (code.claude.com/docs/en/llm-gateway-protocol)"
CLIENTS = "what real clients were seen to do (Claude Code 2.1.330, anthropic 2.x)"
HTTP = "RFC 9110 and 9112"
API = "the API's reference (platform.claude.com/docs)"


@dataclass(frozen=True)
class Finding:
    """How an item came out, and what was seen in a few words; it quotes no credential."""

    verdict: Verdict
    got: str


@dataclass(frozen=True)
class Item:
    """One rule: what is sent, what is expected, where the rule comes from and why it matters."""

    name: str
    source: str
    sent: str
    expected: str
    why: str
    check: Callable[[Trial], Finding]


def passed(got: str = "as expected") -> Finding:
    """Return that the item holds."""
    return Finding("pass", got)


def failed(got: str) -> Finding:
    """Return that the item does not hold."""
    return Finding("fail", got)


def not_applicable(got: str) -> Finding:
    """Return that the contract lets this gateway be as it is."""
    return Finding("not applicable", got)


def judged(holds: bool, got: str, otherwise: str) -> Finding:
    """Return `got` where the item holds, `otherwise` where it does not."""
    return passed(got) if holds else failed(otherwise)


def difference(expected: bytes, got: bytes) -> str:
    """Say where two bodies part; they are our own samples, so a few bytes of each may be shown."""
    if expected == got:
        return f"identical, {len(got):,} bytes"
    length = min(len(expected), len(got))
    at = next((index for index in range(length) if expected[index] != got[index]), length)
    return f"differs from byte {at:,}: {_near(expected, at)} became {_near(got, at)}"


def _near(body: bytes, at: int) -> str:
    shown = body[max(0, at - 8) : at + 24].decode("utf-8", errors="replace")
    return repr(shown) if shown else "nothing"
