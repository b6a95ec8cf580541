"""What can happen to an exchange: state is a fold over these, in the gateway, in replay and in tests alike."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scrimp.core.belief.cache import Split
from scrimp.core.belief.prefix import Prompt
from scrimp.core.belief.templates import Look
from scrimp.core.wire.usage import Usage


class Shadow(msgspec.Struct, frozen=True):
    """A request as it could have been sent instead, under a policy of that name, and what it would have been billed.

    Caches of its own are kept for every policy, so that each is followed as if it had always been in force.
    """

    policy: str
    prompt: Prompt
    split: Split


class RequestArrived(msgspec.Struct, frozen=True):
    """A request of `session_id` was sent upstream at `at_ms`; `split` is what we expected it to read and write.

    By its `tails` (digests) a later request that extends it is recognised, as going on in its `thread`. `kinds` maps
    the depths that are worth remembering to their kinds (`sightings`); it is empty where nothing will be decided.
    `shadows` are what else could have been sent in its place, for the accounts of what that would have cost, and `look`
    is what it taught of its family (`templates`).
    """

    exchange_id: str
    session_id: str
    prompt: Prompt
    split: Split
    at_ms: int
    tails: tuple[bytes, ...] = ()
    kinds: Mapping[bytes, bytes] = {}
    shadows: tuple[Shadow, ...] = ()
    thread: str = ""
    look: Look | None = None


class FirstToken(msgspec.Struct, frozen=True):
    """The first token of the answer was seen: what the request wrote can be read from now on."""

    exchange_id: str
    at_ms: int


class UsageSeen(msgspec.Struct, frozen=True):
    """The answer ended and said what it used."""

    exchange_id: str
    usage: Usage
    at_ms: int


class RequestFailed(msgspec.Struct, frozen=True):
    """The request ended without an answer: an error status, a refused connection, a client that left."""

    exchange_id: str
    at_ms: int


Event = RequestArrived | FirstToken | UsageSeen | RequestFailed
