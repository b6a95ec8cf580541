"""With which thinking each request was asked: another mode or budget meets another cache of the same messages.

Transcripts do not say it; the messages show it. A turn whose answers hold thinking was asked with it. A prompt of the
client's own is asked without, in builds that do so. An answer that came in one piece, not as a stream, is the client's
second try with a smaller limit of output, and so a smaller budget for models that have one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from scrimp.core.belief.exchange import Exchange
from scrimp.replay.bases import model_of
from scrimp.replay.client_builds import build_of
from scrimp.replay.traces.claude_history import Link

Thinking = Literal["on", "off", "less"]

#: Models that are asked to think within a budget; newer ones as much as they see fit (API docs, extended
#: thinking).
_BUDGETED = re.compile(r"claude-(3|(opus|sonnet|haiku)-4(-[015])?(-\d{8}|$))")


def is_budgeted(model: str) -> bool:
    """Whether a model is asked to think within a budget, rather than as it sees fit."""
    return _BUDGETED.match(model) is not None


class Turns:
    """The thinking of each turn: the request that a prompt opened, and all that go on from it."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        self._links = links
        self._openers: dict[str, str] = {}
        self._thought: set[str] = set()
        for name, link in links.items():
            if link.thinks:
                self._thought.add(self._opener(name))

    def _opener(self, name: str) -> str:
        """Return the answer that opened the turn of an answer."""
        way: list[str] = []
        seen: set[str] = set()
        while name not in self._openers:
            link = self._links.get(name)
            way.append(name)
            seen.add(name)
            if link is None or link.prompter is not None or link.parent_id is None or link.parent_id in seen:
                self._openers[name] = name
                break
            name = link.parent_id
        opener = self._openers[name]
        for each in way:
            self._openers[each] = opener
        return opener

    def thinking(self, exchange: Exchange) -> Thinking:
        """Return how an exchange was asked to think."""
        name = exchange.message_id or exchange.exchange_id
        link = self._links.get(name)
        build, budgeted = build_of(exchange.client), is_budgeted(model_of(exchange))
        if link is None:
            return "on"
        if link.in_one_piece and budgeted:
            return "less"
        opener = self._opener(name)
        if opener in self._thought:
            return "on"
        opened = self._links.get(opener)
        if build.client_prompts_unthinking and opened is not None and opened.prompter == "client":
            return "off"
        return "on" if build.thinks_by_default or not budgeted else "off"
