"""One request that two instrumentations recorded: a framework's span around the client library's span.

Both are spans of a model operation, and neither need know the response's id, so nothing but their nesting tells that
they are one request. The inner spans are nearest to the wire and are kept; an outer one is left out where it says
nothing of its own, which is where its counts are those of the inner ones together, or it has none. What only the
outer one knows of whose work it was is handed down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from scrimp.core.belief.exchange import Exchange

#: A span of any kind: the trace's id and its own.
SpanKey = tuple[str, str]

_WHOSE = ("tenant", "project", "session_id", "agent_id", "agent_type", "task_tag")
_HANDED_DOWN = (*_WHOSE, "requested_model", "http_status")


class Recorded(msgspec.Struct, frozen=True):
    """An exchange and the span that it was read from; None where that has no id."""

    exchange: Exchange
    span: SpanKey | None


def without_wrappers(recorded: Sequence[Recorded], parents: Mapping[SpanKey, SpanKey]) -> list[Exchange]:
    """Return the exchanges in their order, each request once; `parents` maps every span to the one around it."""
    outer = {each.span: each.exchange for each in recorded if each.span is not None}
    inner: dict[SpanKey, list[Exchange]] = {}
    around: dict[int, SpanKey] = {}
    nearest = _nearest(outer.keys(), parents)
    for index, each in enumerate(recorded):
        above = nearest[each.span] if each.span is not None else None
        if above is not None:
            inner.setdefault(above, []).append(each.exchange)
            around[index] = above
    wrappers = {span for span, within in inner.items() if _says_nothing(outer[span], within)}
    return [
        _completed(each.exchange, outer[around[index]]) if around.get(index) in wrappers else each.exchange
        for index, each in enumerate(recorded)
        if each.span not in wrappers
    ]


def _nearest(exchanges: Collection[SpanKey], parents: Mapping[SpanKey, SpanKey]) -> dict[SpanKey, SpanKey | None]:
    """Map each exchange's span to the nearest one around it that is one, too; spans that go round have none.

    No span is gone through twice: a trace may be as deep as it is long.
    """
    found: dict[SpanKey, SpanKey | None] = {}
    for span in exchanges:
        way = dict[SpanKey, None]()
        above: SpanKey | None = span
        while above is not None and above not in found and above not in way:
            way[above] = None
            above = parents.get(above)
        goes_round = above in way or (above is not None and found[above] == above)
        for each in reversed(way):
            # A span that goes round is noted as around itself until all are known.
            found[each] = each if goes_round else above if above is None or above in exchanges else found.get(above)
            above = each
    return {span: None if found[span] == span else found[span] for span in exchanges}


def _counts(exchanges: Sequence[Exchange]) -> tuple[int, int]:
    """Return the tokens of prompts and answers: who wrote a span may not know how the prompt was billed."""
    usages = [each.usage for each in exchanges if each.usage is not None]
    return sum(usage.total_input_tokens for usage in usages), sum(usage.output_tokens for usage in usages)


def _says_nothing(exchange: Exchange, within: Sequence[Exchange]) -> bool:
    return exchange.usage is None or _counts([exchange]) == _counts(within)


def _completed(exchange: Exchange, outer: Exchange) -> Exchange:
    """Return an exchange with what only the span around it knows."""
    known = {name: getattr(outer, name) for name in _HANDED_DOWN if getattr(exchange, name) is None}
    if exchange.agent_type is None and outer.agent_type is not None:
        known["task_type"] = outer.task_type
    return replace(exchange, **known)
