"""The most that an exchange can cost whose final usage never arrived: the other end of the ledger's interval.

Before an answer begins only the request is known, so each part of the bill is taken at its worst:

* input: a token is at least one byte of text, so the body's length bounds it, plus what the API adds and what a picture
  weighs at most; what the body only names (documents) is bounded by the longest context of any model. All of it is
  priced at the dearest class that the request's marks can cause;
* output: `max_tokens`, of which thinking is a part;
* the card: the dearest of the bands, speeds and geographies that the request leaves open (a workspace has a default
  geography that no request shows).

Once `message_start` has come the input side is exact and only the output is open. Where the API may do more than one
pass of the model that no field of the request bounds, there is no bound: None.

Sources: API docs, pricing, vision, PDF support, web search, server tools, message threads, compaction and streaming.
"""

from __future__ import annotations

import re
from itertools import takewhile

import msgspec

from scrimp.core.wire.blocks import Block, Ttl
from scrimp.core.wire.prices import PICO_USD_PER_NANO_USD, PriceBook, RateCard
from scrimp.core.wire.request import Request
from scrimp.core.wire.response import Answer
from scrimp.core.wire.usage import Metered, Usage, UsageLine

#: The longest context of any model: no prompt is longer, nor is an answer, which is a part of it.
CONTEXT_TOKENS_MAX = 1_000_000
#: A picture after it was scaled down, on the models that see the most of it.
IMAGE_TOKENS_MAX = 4_784
#: What the API adds: around each block, once (the longest prompt for tools is 804), and for a tool of its own.
FRAME_TOKENS_MAX = 32
ADDED_TOKENS_MAX = 2_000
OWN_TOOL_TOKENS_MAX = 7_000
#: More uses of the API's own tools than this are no limit that anybody meant.
USES_MAX = 1_000
#: How often the API samples anew by itself before it pauses the turn; and at least once more than its tools are used.
SERVER_PASSES = 10

#: Kinds of tools that the client runs, by prefix; then those that the API runs and that say how often they may be used.
_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "browser_", "memory_")
_PLAIN_TOOLS = frozenset({"tool", "custom"})
_SEARCH = "web_search_"
_COUNTED_TOOLS = (_SEARCH, "web_fetch_")

#: Kinds of blocks that hold no other blocks and are no attachments, so that their length bounds them.
_WORDS = frozenset({"text", "thinking", "redacted_thinking", "tool_use", *_PLAIN_TOOLS})

#: A tool's output as a string, which holds no blocks either; it stands near the beginning.
_TEXT_CONTENT = re.compile(rb'[^\[]*?"content"\s*:\s*"')
_HEAD_BYTES = 200

#: The cards of a model for prompts longer than so many tokens, each at least as dear as the one before.
Bands = tuple[tuple[int, RateCard], ...]


class Reach(msgspec.Struct, frozen=True):
    """What a request can make the API do at most, in tokens, passes of the model and web searches."""

    model: str
    total_input_tokens: int
    output_tokens: int
    passes: int
    searches: int
    ttl: Ttl | None
    is_fast: bool
    inference_geo: str | None


class _CountedTool(msgspec.Struct, frozen=True):
    max_uses: int | None = None


_read_tool = msgspec.json.Decoder(_CountedTool).decode


def reach_of(request: Request) -> Reach | None:
    """Return what a request can cause; None where nothing that it says bounds it."""
    if request.max_tokens is None or request.max_tokens < 0 or request.is_thread or request.may_sample_more:
        return None
    tools = takewhile(lambda block: block.path.startswith("tools."), request.blocks)
    own = [block for block in tools if block.kind not in _PLAIN_TOOLS]
    uses = [(block.kind, _max_uses(block)) for block in own if not block.kind.startswith(_CLIENT_TOOLS)]
    counts = [count for _, count in uses if count is not None]
    if len(counts) < len(uses) or sum(counts) > USES_MAX:
        return None
    return Reach(
        model=request.model,
        total_input_tokens=_input_tokens(request, len(own)),
        output_tokens=min(request.max_tokens, CONTEXT_TOKENS_MAX),
        passes=max(SERVER_PASSES, sum(counts) + 1) if uses else 1,
        searches=sum(count or 0 for kind, count in uses if kind.startswith(_SEARCH)),
        ttl=_longest_ttl(request),
        is_fast=request.speed == "fast",
        inference_geo=request.inference_geo,
    )


def _max_uses(tool: Block) -> int | None:
    """Return how often the API may use one of its own tools; None where the request does not say."""
    if not tool.kind.startswith(_COUNTED_TOOLS):
        return None
    try:
        uses = _read_tool(tool.raw).max_uses
    except (msgspec.DecodeError, RecursionError):
        return None
    return uses if uses is not None and uses >= 0 else None


def _input_tokens(request: Request, own_tools: int) -> int:
    images = references = 0
    for block in request.blocks:
        if block.kind in _WORDS:
            continue
        raw = bytes(block.raw)
        if block.kind == "tool_result" and _TEXT_CONTENT.match(raw, 0, _HEAD_BYTES):
            continue
        if b'"document"' in raw:
            return CONTEXT_TOKENS_MAX
        images += raw.count(b'"image"')
        references += raw.count(b'"tool_reference"')
    # A deferred tool stands in the body once, and in the prompt wherever it is referred to.
    text = request.body_bytes * max(1, references) + FRAME_TOKENS_MAX * len(request.blocks)
    added = ADDED_TOKENS_MAX + OWN_TOOL_TOKENS_MAX * own_tools + IMAGE_TOKENS_MAX * images
    return min(CONTEXT_TOKENS_MAX, text + added)


def _longest_ttl(request: Request) -> Ttl | None:
    ttls = {request.automatic_ttl, *[block.ttl for block in request.blocks]}
    return "1h" if "1h" in ttls else "5m" if "5m" in ttls else None


def dearest_bands(book: PriceBook, reach: Reach, at_ms: int) -> Bands:
    """Return the dearest cards that a request opened at `at_ms` can be billed at; none where its model has no price."""
    prices = book.find(reach.model)
    if prices is None:
        return ()
    entry = prices.entry(at_ms)
    speeds = (None, "fast") if reach.is_fast else (None,)
    places = (reach.inference_geo,) if reach.inference_geo else (None, *entry.geography)
    lines = [UsageLine(Usage(), reach.model, speed=speed, inference_geo=place) for speed in speeds for place in places]
    bands: list[tuple[int, RateCard]] = []
    for above in sorted({row.above_tokens for row in entry.rows}):
        cards = [book.line_card(line, at_ms, above + 1) for line in lines]
        known = [card for card in (*cards, *(card for _, card in bands[-1:])) if card is not None]
        if known:
            bands.append((above, _dearest(known)))
    return tuple(bands)


def _dearest(cards: list[RateCard]) -> RateCard:
    return RateCard(*map(max, zip(*map(msgspec.structs.astuple, cards), strict=True)))


def sent_upper_nano_usd(reach: Reach, bands: Bands, web_search_pico_usd: int) -> int | None:
    """Return the most that a request can cost of which nothing but the sending is known; None without a price."""
    total_input_tokens = reach.total_input_tokens + (reach.passes - 1) * CONTEXT_TOKENS_MAX
    cards = [card for above, card in bands if not above or total_input_tokens > above]
    if not cards:
        return None
    card = cards[-1]
    classes = [card.uncached_input, card.cache_read]
    classes += [card.cache_write_5m] if reach.ttl else []
    classes += [card.cache_write_1h] if reach.ttl == "1h" else []
    tokens = total_input_tokens * max(classes) + reach.output_tokens * reach.passes * card.output
    return -(-(tokens + reach.searches * web_search_pico_usd) // PICO_USD_PER_NANO_USD)


def upper_nano_usd(
    sent_upper: int | None,
    reach: Reach | None,
    answer: Answer,
    metered: Metered | None,
    status: int | None,
    book: PriceBook,
    at_ms: int,
) -> int | None:
    """Return the most that an answered request can have cost; `sent_upper` is what was known before, None for nothing.

    With the final usage it is the cost itself. What the API refused costs nothing (API docs, errors); an error of 500
    and above that does not speak the API's language may stand before an API that went on working.
    """
    cost = None if metered is None else book.cost_nano_usd(metered.lines, at_ms)
    if answer.usage_complete:
        return cost
    if status is not None and _is_refusal(status, answer):
        return 0
    if metered is not None and answer.usage is not None and reach is not None and _input_is_exact(answer, reach):
        first = metered.lines[0]
        output_tokens = max(first.usage.output_tokens, reach.output_tokens)
        most = msgspec.structs.replace(first.usage, output_tokens=output_tokens)
        return book.cost_nano_usd([msgspec.structs.replace(first, usage=most), *metered.lines[1:]], at_ms)
    return None if sent_upper is None else max(sent_upper, cost or 0)


#: HTTP statuses from these on are errors, and errors of the server (RFC 9110 section 15).
_ERRORS, _SERVER_ERRORS = 400, 500


def _is_refusal(status: int, answer: Answer) -> bool:
    if status >= _SERVER_ERRORS:
        return answer.error_type is not None
    return status >= _ERRORS


def _input_is_exact(answer: Answer, reach: Reach) -> bool:
    """Say whether the usage so far states all input there will be, with the lifetime of what was written."""
    usage = answer.usage
    if usage is None or not usage.is_complete or reach.passes > 1:
        return False
    return usage.cache_creation is not None or reach.ttl != "1h" or not usage.cache_creation_input_tokens
