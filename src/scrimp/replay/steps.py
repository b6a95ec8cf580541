"""A recorded request as the cache sees it: which earlier prompt it extends, and how many tokens of it are new.

Transcripts hold no system prompt and no token ids, only lengths; so a prompt is a path in a tree. A step shares its
first `shared_tokens` tokens with the prompt of its parent step and adds `total_tokens - shared_tokens` of its own.
Every policy of replay, and the clairvoyant optimum, is billed on such steps.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.usage import Usage

#: What stands open when an answer ends: a tool, an agent, a question to the user, the user's next prompt, nothing
#: (the recording stops, or the conversation goes on elsewhere).
Waiting = Literal["tool", "agent", "question", "turn_ended"]

#: The parent of a step that extends no earlier one.
ROOT = -1


class SideRequest(msgspec.Struct, frozen=True, gc=False):
    """A request of the client's own that transcripts leave out, sent between a step's parent and the step.

    It reads and writes the first `tokens` tokens of the step's prompt at `at_ms`.
    """

    at_ms: int
    tokens: int


class SentPing(msgspec.Struct, frozen=True, gc=False):
    """A ping that a gateway sent to keep the cache of a step's prompt, and what it was billed."""

    at_ms: int
    usage: Usage


class Step(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One request of an account, in time order. Tokens are counts of the whole prompt, times milliseconds.

    * `parent` is the index, in the account's list of steps, of the step whose prompt this one extends, or `ROOT`.
    * `shared_tokens` is how much of the parent's prompt still stands in front of this one; `cause` says why that is not
      all of it.
    * `cache` names the cache it meets (`Prompt.cache`): models and speeds share nothing.
    * `marked_tokens` is where its last mark lies, None for the end of the prompt. The API appends a few tokens after
      the last block, and puts parallel tool results into the order of their calls, so it may lie before the end.
    * `base_tokens` is where the mark behind tools and system lies, 0 if unknown.
    * `given_tokens` of a request that starts on what others warmed: it reads at least so much, whatever the policy.
    * `side` is the client's own request in front of this one, if there was one.
    * `ttl` is the class of its recorded marks, None where nothing was marked.
    * `ended_at_ms` is when its answer ended, None if unknown; `first_token_at_ms` likewise.
    * `thread` tells the agents of a session apart; `waiting` is what its answer left open.
    * `signs` says how many signs the answer bears of wanting a reply (`belief.signs`), None if its text is not known.
    * `blocks` is how many look-back positions lie between its parent's end and its own, None if unknown.
    * `has_tools`: whether the request offers tools; chats without tools are another kind of traffic.
    * `pings` are those that were sent of this very prompt, in order of time. They are of the recording, like `ttl`:
      every policy decides on its own.
    """

    exchange_id: str
    session_id: str
    thread: str = ""
    at_ms: int
    first_token_at_ms: int | None = None
    ended_at_ms: int | None = None
    model: str
    cache: str
    parent: int = ROOT
    shared_tokens: int = 0
    total_tokens: int
    marked_tokens: int | None = None
    base_tokens: int = 0
    given_tokens: int = 0
    side: SideRequest | None = None
    output_tokens: int = 0
    ttl: Ttl | None = "5m"
    waiting: Waiting = "turn_ended"
    signs: int | None = None
    cause: str | None = None
    blocks: int | None = None
    has_tools: bool = True
    pings: tuple[SentPing, ...] = ()

    @property
    def end_tokens(self) -> int:
        """Where the last mark lies."""
        return self.total_tokens if self.marked_tokens is None else self.marked_tokens
