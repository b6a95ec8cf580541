"""From recorded exchanges and the links between their rows to steps: which prompt each one extends, and how far.

How a prompt was split into reads and writes is not looked at. Known are times, models, the class of the marks, where
the last mark lies (what follows it is billed as uncached whatever the cache holds), the prompt's length, and the
messages; and of each thread's first request what it read, since others had warmed it (`bases`).

What makes a prompt share less than all of its parent's, each with its reason:

* `compaction`: a summary stands for the conversation; the base stays.
* `microcompact`: the client cleared old tool results. It says so, or the prompt is shorter than its parent's, although
  the conversation only grew.
* `resumed`: older builds render the first message anew when a conversation is taken up (`client_builds`).
* `cleared`: a new conversation in the same session; the base stays.
* `thinking_dropped`: the model drops the thinking of finished turns (API docs, extended thinking), from the first
  answer that held any.
* `thinking`: another thinking mode or budget loses the messages (API docs, what invalidates the cache); models that
  think as they see fit lose tools and system, too.
* `model`: another model has another cache.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from scrimp.core.belief.exchange import CLIENT, PING, Exchange
from scrimp.core.plan.threads import waiting_for
from scrimp.core.wire.blocks import Ttl
from scrimp.core.wire.models import traits
from scrimp.core.wire.usage import ZERO
from scrimp.replay.bases import Bases, Thread, model_of, thread_of
from scrimp.replay.client_builds import build_of
from scrimp.replay.steps import ROOT, SentPing, SideRequest, Step
from scrimp.replay.thinking import Thinking, Turns, is_budgeted
from scrimp.replay.traces.claude_history import Link

#: Tokens of a character of a prompt (facts on data; a little less than newer models count).
_TOKENS_PER_CHARACTER = 0.34

#: How long a cold prompt takes to its first token: for any, and for every 1,000 tokens (facts on levers, latency).
_FIRST_TOKEN_MS, _FIRST_TOKEN_MS_PER_1000 = 2_000, 28

#: Causes that leave nothing of a conversation but the base.
_TO_THE_BASE = frozenset({"compaction", "microcompact", "resumed", "cleared"})


class _Draft(msgspec.Struct, gc=False):
    """A step in the making. `content` is the step whose messages it goes on from, `kept` how much of that stands."""

    exchange: Exchange
    link: Link | None
    cache: str
    thinking: Thinking
    total_tokens: int
    marked_tokens: int
    ttl: Ttl | None
    base_tokens: int = 0
    content: int = ROOT
    kept: int = 0
    cause: str | None = None


class _Way(msgspec.Struct, gc=False):
    """Where a draft hangs in the tree."""

    parent: int
    shared_tokens: int
    cause: str | None
    positions: int
    given_tokens: int = 0


def account_of(exchange: Exchange) -> str:
    """Return whose caches an exchange meets: the credential's, else the project folder's, else its session's."""
    return exchange.principal or exchange.project or exchange.session_id or ""


def steps_of(exchanges: Sequence[Exchange], links: Mapping[str, Link]) -> dict[str, list[Step]]:
    """Return the steps of each account; exchanges come in the order of opening.

    Those without usage are left out. Pings that we sent ourselves are no steps: they stand with the step whose prompt
    they repeat.

    `links` is by message id; what has none follows the exchange before it in its thread.
    """
    accounts: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        if exchange.usage is not None and exchange.usage.total_input_tokens and exchange.origin in {CLIENT, PING}:
            accounts[account_of(exchange)].append(exchange)
    turns = Turns(links)
    steps = {account: _Branching(found, links, turns).steps() for account, found in accounts.items()}
    return {account: found for account, found in steps.items() if found}


def _cache_of(exchange: Exchange) -> str:
    speed = exchange.usage_lines[0].speed if exchange.usage_lines else None
    return f"{model_of(exchange)}|{speed or 'standard'}"


def _name_of(exchange: Exchange) -> str:
    return exchange.message_id or exchange.exchange_id


def _ttl_of(exchange: Exchange) -> Ttl | None:
    usage = exchange.usage or ZERO
    if usage.cache_write_1h_input_tokens:
        return "1h"
    return "5m" if usage.cache_write_5m_input_tokens else None


def _first_token_ms(cold_tokens: int) -> int:
    return _FIRST_TOKEN_MS + _FIRST_TOKEN_MS_PER_1000 * cold_tokens // 1000


class _Branching:
    """Makes the steps of one account."""

    def __init__(self, exchanges: Sequence[Exchange], links: Mapping[str, Link], turns: Turns) -> None:
        self._exchanges = exchanges
        self._links = links
        self._turns = turns
        self._drafts: list[_Draft] = []
        self._at: dict[str, int] = {}
        self._last: dict[Thread, int] = {}
        self._repeatable: dict[tuple[Thread, str, int], int] = {}
        self._pings: dict[int, list[SentPing]] = defaultdict(list)
        self._bases = Bases(exchange for exchange in exchanges if exchange.origin == CLIENT)
        self._roots: dict[tuple[str, str | None, str, int], int] = {}

    def steps(self) -> list[Step]:
        """Return the steps, in time order."""
        for exchange in self._exchanges:
            if exchange.origin == PING:
                self._note_ping(exchange)
            else:
                self._note(exchange)
        return [self._step(index, draft) for index, draft in enumerate(self._drafts)]

    def _note(self, exchange: Exchange) -> None:
        index, thread = len(self._drafts), thread_of(exchange)
        draft = self._draft(exchange)
        self._drafts.append(draft)
        self._at[_name_of(exchange)] = self._last[thread] = index
        self._repeatable[thread, draft.cache, draft.total_tokens] = index

    def _note_ping(self, ping: Exchange) -> None:
        """Put a ping to the latest request of its thread that is as long as it, since it repeats one; else the latest.

        One that nothing stands before is left out: a recording may begin in the middle of a pause.
        """
        usage, thread = ping.usage or ZERO, thread_of(ping)
        index = self._repeatable.get((thread, _cache_of(ping), usage.total_input_tokens), self._last.get(thread, ROOT))
        if index != ROOT:
            self._pings[index].append(SentPing(ping.opened_at_ms, usage))

    # --- content: whose messages does it go on from, and how much of them stands ---

    def _draft(self, exchange: Exchange) -> _Draft:
        usage = exchange.usage or ZERO
        draft = _Draft(
            exchange=exchange,
            link=self._links.get(_name_of(exchange)),
            cache=_cache_of(exchange),
            thinking=self._turns.thinking(exchange),
            total_tokens=usage.total_input_tokens,
            marked_tokens=usage.total_input_tokens - usage.uncached_input_tokens,
            ttl=_ttl_of(exchange),
        )
        self._join(draft)
        draft.base_tokens = self._base(draft)
        if draft.content != ROOT:
            self._shorten(draft)
        if draft.ttl is None and usage.cache_read_input_tokens:
            draft.ttl = "5m"  # nothing is read without a mark; of which class it was, no write says
        return draft

    def _join(self, draft: _Draft) -> None:
        """Find the step that the draft goes on from, and say if that is a new beginning."""
        before = self._last.get(thread_of(draft.exchange), ROOT)
        link = draft.link
        draft.content = before if link is None else self._at.get(link.parent_id or "", before)
        if draft.content == ROOT:
            return
        content = self._drafts[draft.content]
        draft.kept = content.total_tokens
        draft.ttl = draft.ttl or content.ttl
        if link is not None and link.parent_id is None:
            draft.cause = "cleared"

    def _base(self, draft: _Draft) -> int:
        if draft.content != ROOT and self._drafts[draft.content].cache == draft.cache:
            return self._drafts[draft.content].base_tokens
        return min(self._bases.of(draft.exchange), draft.marked_tokens)

    def _shorten(self, draft: _Draft) -> None:
        """Say how much of the content stands."""
        draft.cause = draft.cause or self._change(draft)
        if draft.cause in _TO_THE_BASE:
            draft.kept = draft.base_tokens
        elif draft.link is not None and draft.link.prompter is not None:
            self._drop_thinking(draft)
        draft.kept = min(draft.kept, draft.total_tokens)

    def _change(self, draft: _Draft) -> str | None:
        """Say what the client did to the conversation."""
        link, content = draft.link, self._drafts[draft.content]
        if link is not None and link.compacted:
            return "compaction"
        if link is not None and link.resumed and build_of(draft.exchange.client).resumes_anew:
            return "resumed"
        forgets = not traits(model_of(draft.exchange)).keeps_thinking and link is not None and link.prompter is not None
        is_shorter = draft.total_tokens < content.marked_tokens and content.cache == draft.cache and not forgets
        return "microcompact" if (link is not None and link.microcompacted) or is_shorter else None

    def _drop_thinking(self, draft: _Draft) -> None:
        """Cut where the finished turn first thought, if the model forgets that."""
        if traits(model_of(draft.exchange)).keeps_thinking:
            return
        at, first = draft.content, ROOT
        while at != ROOT:
            link = self._drafts[at].link
            if link is None:
                break
            first = at if link.thinks else first
            if link.prompter is not None or self._drafts[at].cause is not None:
                break
            at = self._drafts[at].content
        if first not in {ROOT, draft.content}:
            draft.content, draft.cause = first, "thinking_dropped"
            draft.kept = self._drafts[first].total_tokens

    # --- the tree: which of the prompts of the same messages can the cache know ---

    def _step(self, index: int, draft: _Draft) -> Step:
        exchange, link = draft.exchange, draft.link
        way = self._begin(index, draft) if draft.content == ROOT else self._follow(draft)
        return Step(
            exchange_id=exchange.exchange_id,
            session_id=exchange.session_id or "",
            thread=exchange.agent_id or "",
            at_ms=exchange.opened_at_ms,
            first_token_at_ms=exchange.first_token_at_ms,
            ended_at_ms=exchange.closed_at_ms,
            model=model_of(exchange),
            cache=draft.cache,
            parent=way.parent,
            shared_tokens=way.shared_tokens,
            total_tokens=draft.total_tokens,
            marked_tokens=draft.marked_tokens,
            base_tokens=draft.base_tokens,
            given_tokens=way.given_tokens,
            side=self._side(draft),
            output_tokens=(exchange.usage or ZERO).output_tokens,
            ttl=draft.ttl,
            waiting=link.waiting if link else waiting_for(exchange.stop_reason, frozenset()),
            signs=link.signs if link else None,
            cause=way.cause,
            blocks=way.positions,
            pings=tuple(self._pings.get(index, ())),
        )

    def _begin(self, index: int, draft: _Draft) -> _Way:
        """Hang a thread's first request on the first one with the same base; what it read is taken as given."""
        read = min((draft.exchange.usage or ZERO).cache_read_input_tokens, draft.marked_tokens)
        root = self._roots.setdefault(self._root_key(draft), index) if self._bases.is_own(draft.exchange) else index
        parent, shared = (root, draft.base_tokens) if root != index else (ROOT, 0)
        return _Way(parent, shared, None, 1, read)

    def _root_key(self, draft: _Draft) -> tuple[str, str | None, str, int]:
        return draft.cache, draft.exchange.client, draft.thinking, draft.base_tokens

    def _follow(self, draft: _Draft) -> _Way:
        """Hang a step on the nearest one of the same messages, model and thinking."""
        at, kept = draft.content, draft.kept
        positions = draft.link.positions if draft.link else 1
        while at != ROOT:
            other = self._drafts[at]
            if other.cache == draft.cache and other.thinking == draft.thinking:
                cause = draft.cause or (None if at == draft.content else self._switch(draft))
                return _Way(at, min(kept, other.total_tokens), cause, positions)
            positions += other.link.positions if other.link else 1
            kept = min(kept, other.kept)
            at = other.content
        return self._turn_away(draft, positions)

    def _switch(self, draft: _Draft) -> str:
        """Say in what a draft differs from the request whose messages it goes on from."""
        return "thinking" if self._drafts[draft.content].cache == draft.cache else "model"

    def _turn_away(self, draft: _Draft, positions: int) -> _Way:
        """Hang a step whose messages the cache has not seen with this model and thinking."""
        content = self._drafts[draft.content]
        cause = draft.cause or self._switch(draft)
        if content.cache == draft.cache and is_budgeted(model_of(draft.exchange)):
            return _Way(draft.content, min(draft.kept, draft.base_tokens), cause, positions)
        # A session that starts without thinking carries out a plan that was made with it, so that base is warm.
        given = draft.base_tokens if cause == "thinking" and draft.thinking == "on" else 0
        root = self._roots.get(self._root_key(draft), ROOT)
        if root == ROOT or root >= self._at[_name_of(draft.exchange)]:
            return _Way(ROOT, 0, cause, positions, given)
        return _Way(root, draft.base_tokens, cause, positions, given)

    def _side(self, draft: _Draft) -> SideRequest | None:
        """Return the client's own request in front of a step: one that the user stopped, or one for a suggestion."""
        link = draft.link
        if draft.content == ROOT or link is None or (draft.cause in _TO_THE_BASE and draft.cause != "microcompact"):
            return None
        before = self._drafts[self._at.get(link.parent_id or "", draft.content)]
        if before.thinking != draft.thinking or before.cache != draft.cache:
            return None
        stopped = link.stopped
        if stopped is not None and stopped.ran_ms >= _first_token_ms(draft.marked_tokens):
            return self._side_upto(draft, stopped.at_ms, stopped.later_characters)
        ended_at_ms = before.exchange.closed_at_ms
        is_end = before.link is not None and before.link.waiting == "turn_ended" and link.prompter is not None
        if not is_end or draft.exchange.agent_id or not build_of(draft.exchange.client).suggests:
            return None
        return None if ended_at_ms is None else self._side_upto(draft, ended_at_ms, link.prompt_characters)

    def _side_upto(self, draft: _Draft, at_ms: int, later_characters: int) -> SideRequest:
        """Return a side request whose prompt is the draft's but for the last characters."""
        tokens = draft.marked_tokens - round(later_characters * _TOKENS_PER_CHARACTER)
        at_least = min(self._drafts[draft.content].marked_tokens, draft.kept)
        return SideRequest(at_ms, max(tokens, at_least))
