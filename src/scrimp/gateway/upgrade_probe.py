"""Asking the API the one question that its documentation leaves open about lifetimes.

A prefix is cached for five minutes. A minute later a request reads it and marks a place a little behind it for an hour.
Ten minutes on, is the whole still there? If so, an entry lives as a whole, and one "upgrade ping" turns five minutes
into an hour for the price of a read. If not, each token keeps the lifetime that it was written with (hold study,
section 8). A small prefix that was marked for an hour from the start is asked for, too: where that is gone as well, the
API let go early, and nothing is shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

import msgspec

from scrimp.core.wire.models import traits
from scrimp.core.wire.prices import PriceBook
from scrimp.core.wire.response import ResponseMeter
from scrimp.core.wire.tokens import estimate
from scrimp.core.wire.usage import Metered, Usage, UsageLine
from scrimp.errors import UpstreamError
from scrimp.upstream.client import Upstream, UpstreamRequest

Verdict = Literal["yes", "no", "inconclusive"]

#: The prefix in question, in tokens, about: long enough that nothing else can be mistaken for it.
FRONT_TOKENS = 20_000
#: The control, in shortest prefixes that the model caches.
_CONTROL_MINIMA = 2
_SECOND_MS = 1_000
#: When the ping comes, and when the question is asked, after what was sent before.
PING_AFTER_MS, ASK_AFTER_MS = 60 * _SECOND_MS, 600 * _SECOND_MS
#: Texts may be longer than they are estimated to be, by so many percent at most.
_MARGIN_PERCENT = 150
#: Of what was written so much has to be read, in percent, for it to be called found.
_FOUND_PERCENT = 95
#: An answer of the probe is longer than this only by a fault.
_ANSWER_BYTES_MAX = 1_000_000
_LINE = "{nonce} {number:05}: the agent reads the file, mends what is broken in it and runs the tests again.\n"


class Step(NamedTuple):
    """One request: how long after the one before, what it is there for, its body, the most that it is billed for."""

    name: str
    after_ms: int
    purpose: str
    body: dict[str, Any]
    at_most: Usage


class Answered(NamedTuple):
    """What one step was billed."""

    step: Step
    metered: Metered

    @property
    def usage(self) -> Usage:
        """The tokens by class."""
        return self.metered.usage


def steps(model: str, nonce: str) -> tuple[Step, ...]:
    """Return the requests in order; `nonce` keeps them apart from every earlier probe's."""
    minimum = traits(model).min_cacheable_tokens * _CONTROL_MINIMA
    front, behind = _text(f"front {nonce}", FRONT_TOKENS, model), _text(f"behind {nonce}", 100, model)
    control = _text(f"control {nonce}", minimum, model)
    long, short = FRONT_TOKENS * _MARGIN_PERCENT // 100, minimum * _MARGIN_PERCENT // 100
    five, hour = [_part(front, "5m")], [_part(front), _part(behind, "1h")]
    alone = [_part(control, "1h")]
    by_5m = Usage(cache_write_5m_input_tokens=long, output_tokens=1)
    by_1h = Usage(cache_write_1h_input_tokens=long, output_tokens=1)
    small = Usage(cache_write_1h_input_tokens=short, output_tokens=1)
    return (
        Step("write", 0, "caches a prefix for five minutes", _body(model, five), by_5m),
        Step("control", 0, "caches a small one for an hour", _body(model, alone), small),
        Step("ping", PING_AFTER_MS, "reads the first, with a mark of an hour behind it", _body(model, hour), by_1h),
        Step("control again", ASK_AFTER_MS, "asks for the small one", _body(model, alone), small),
        Step("question", 0, "asks for the first", _body(model, hour), by_1h),
    )


def _text(name: str, tokens: int, model: str) -> str:
    line = _LINE.format(nonce=name, number=0)
    count = -(-tokens // estimate(msgspec.json.encode(line), model))
    return "".join(_LINE.format(nonce=name, number=number) for number in range(count))


def _part(text: str, ttl: str | None = None) -> dict[str, Any]:
    mark = {} if ttl is None else {"cache_control": {"type": "ephemeral", "ttl": ttl}}
    return {"type": "text", "text": text, **mark}


def _body(model: str, system: list[dict[str, Any]]) -> dict[str, Any]:
    return {"model": model, "max_tokens": 1, "system": system, "messages": [{"role": "user", "content": "Say ok."}]}


def costs_at_most(asked: tuple[Step, ...], model: str, prices: PriceBook, now_ms: int) -> int | None:
    """Return the most that a probe may cost in nano-USD, None where the model has no price."""
    return prices.cost_nano_usd([UsageLine(step.at_most, model) for step in asked], now_ms)


def costs(answers: list[Answered], prices: PriceBook, now_ms: int) -> int | None:
    """Return what a probe cost in nano-USD, None where the model has no price."""
    return prices.cost_nano_usd([line for each in answers for line in each.metered.lines], now_ms)


async def asking(
    asked: tuple[Step, ...],
    upstream: Upstream,
    headers: Mapping[str, str],
    wait: Callable[[int], Awaitable[None]],
) -> AsyncIterator[Answered]:
    """Send the steps in order and yield what each was billed; `wait` lets so many milliseconds pass.

    Raises `UpstreamError` where one is refused, or says nothing of its usage.
    """
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    for step in asked:
        if step.after_ms:
            await wait(step.after_ms)
        raw = msgspec.json.encode(step.body)
        yield Answered(step, await _billed(upstream, UpstreamRequest("POST", "/v1/messages", pairs, raw), step))


async def _billed(upstream: Upstream, request: UpstreamRequest, step: Step) -> Metered:
    response = await upstream.send(request)
    meter, size = ResponseMeter("application/json", None), 0
    async with aclosing(response):
        async for chunk in response.chunks():
            size += len(chunk)
            if size <= _ANSWER_BYTES_MAX:
                meter.feed(chunk)
    answer = meter.answer()
    metered = answer.metered(step.body["model"])
    if response.status != HTTPStatus.OK or metered is None:
        why = f"{response.status} {answer.error_type or 'without a usage'}"
        raise UpstreamError(f"The request that {step.purpose} was not served ({why}).", "Mend that and probe again.")
    return metered


def verdict(answers: list[Answered]) -> tuple[Verdict, str]:
    """Say whether a ping makes an hour of five minutes, and what shows it."""
    usages = [each.usage for each in answers]
    write, control, ping, control_again, question = usages
    front, small = (each.cache_read_input_tokens + each.cache_write_input_tokens for each in (write, control))
    if not (front and small):
        return "inconclusive", "the API cached nothing, so there was nothing to keep"
    if not _is_found(front, ping):
        return "inconclusive", "the prefix was gone after a minute"
    if _is_found(front, question):
        return "yes", "what was written for five minutes was still there ten minutes after the ping"
    if not _is_found(small, control_again):
        return "inconclusive", "what was written for an hour was gone after ten minutes, too"
    return "no", "what was written for five minutes was gone ten minutes after the ping"


def _is_found(tokens: int, usage: Usage) -> bool:
    return usage.cache_read_input_tokens * 100 >= tokens * _FOUND_PERCENT
