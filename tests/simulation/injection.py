"""Injects one break and holds what is said of it against what was done, and its price against two invoices."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import msgspec

from scrimp.core.belief.cache import predict
from scrimp.core.belief.events import FirstToken, RequestArrived
from scrimp.core.belief.prefix import Prompt, kept_blocks, read_prompt
from scrimp.core.belief.session import Belief, step
from scrimp.core.plan.explain import Break, explain, last_of
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.sim import billing
from scrimp.sim.machine import Simulator
from scrimp.sim.models import find
from scrimp.sim.render import render
from scrimp.sim.rules import Rules
from scrimp.upstream.pricefeed import load_current_book
from tests.simulation.breaks import Kind, text_of

START_MS = 1_790_000_000_000
MINUTE_MS = 60_000
HEADERS = {"x-api-key": "sk-fake", "anthropic-version": "2023-06-01", "anthropic-beta": "fast-mode-2026-02-01"}
BOOK = load_current_book()


def read(body: dict[str, Any]) -> tuple[Request, Prompt]:
    """Read a request as the gateway does, with the token counts that the API would state block by block."""
    request = parse(json.dumps(body).encode())
    model = find(request.model)
    assert model is not None
    tokens = [position.tokens for position in render(body, model, Rules()).positions]
    assert len(kept_blocks(request)) == len(tokens)
    return request, read_prompt(request, tokens)


def input_nano_usd(usage: Usage, request: Request, at_ms: int) -> int | None:
    """Price the input of a usage."""
    return BOOK.cost_nano_usd([UsageLine(usage, request.model, speed=request.speed)], at_ms)


def explained(before: dict[str, Any], after: dict[str, Any], pause_ms: int, landed_ms: int = 1) -> Break | None:
    """Ask why `after`, sent `pause_ms` after `before`, breaks the cache."""
    request, prompt = read(before)
    belief = Belief()
    split = predict({}, prompt, START_MS, belief.rules)
    belief = step(belief, RequestArrived("a", "s", prompt, split, START_MS))
    if landed_ms <= pause_ms:
        belief = step(belief, FirstToken("a", START_MS + landed_ms))
    last, now_ms = last_of(request, prompt, START_MS), START_MS + pause_ms
    request, prompt = read(after)
    entries = belief.caches.get(prompt.cache, {})
    split = predict(entries, prompt, now_ms, belief.rules)
    return explain(last, request, prompt, split, entries, now_ms, lambda usage: input_nano_usd(usage, request, now_ms))


def invoice(bodies: list[tuple[dict[str, Any], int]]) -> int:
    """Return what the simulator bills for the input of the last of these requests, in nano-dollars."""
    simulator = Simulator()
    for body, at_ms in bodies:
        answer = simulator.handle(body, HEADERS, START_MS + at_ms)
        assert answer.status == 200, answer.body
    line = simulator.invoice.lines[-1]
    return billing.cost_nano_usd(msgspec.structs.replace(line.classes, output_tokens=0), line.terms)


def injected(kind: Kind, seed: int, unbroken: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a copy of a request with one break in it, and the path of the block that was changed."""
    broken = copy.deepcopy(unbroken)
    return broken, kind.mutate(broken, random.Random(f"{kind.cause}{seed}"))


def check(kind: Kind, seed: int, before: dict[str, Any], unbroken: dict[str, Any]) -> None:
    """Inject one break, and hold what is said of it against what was done and what the simulator bills."""
    broken, path = injected(kind, seed, unbroken)
    found = explained(before, broken, MINUTE_MS)
    assert found is not None
    assert (kind.cause, path) == (found.cause, found.path)
    if found.byte is not None:
        old, new = text_of(before, path), text_of(broken, path)
        same = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
        assert len(new[:same].encode()) == found.byte
    if kind.cause != "images":
        assert more_than_unbroken(kind, before, broken, unbroken) == found.cost_nano_usd


def more_than_unbroken(kind: Kind, before: dict[str, Any], broken: dict[str, Any], unbroken: dict[str, Any]) -> int:
    """Return how much more the simulator bills for a broken request than had nothing stood in its way.

    Another model is compared with having been on it before, and a compacted history with itself, already cached.
    """
    first = before
    if kind.cause in {"model", "speed"}:
        unbroken, first = broken, {**before, **{name: broken[name] for name in ("model", "speed") if name in broken}}
    if kind.cause == "compaction":
        unbroken, first = broken, broken
    return invoice([(before, 0), (broken, MINUTE_MS)]) - invoice([(first, 0), (unbroken, MINUTE_MS)])
