"""Reads Mooncake's public traces of chat traffic (FAST'25): sizes, times and prefix-block hashes, no text.

Each line is one request: `timestamp` in milliseconds, `input_length`, `output_length`, and `hash_ids`, one for each
block of 512 tokens; an id stands for the block and everything in front of it. So two prompts share as many blocks as
ids. Nothing says that tools were offered, and a request that goes on from the end of another one is taken to be its
session's next turn.
"""

from __future__ import annotations

import msgspec

from scrimp.core.wire.models import traits
from scrimp.replay.steps import ROOT, Step
from scrimp.replay.traces.trace import Problem

BLOCK_TOKENS = 512
#: The traces do not name a model; replay may price them as any other.
MODEL = "claude-opus-5-5"
_HEAD = b'{"timestamp"'
_IDS = b'"hash_ids"'


class _Line(msgspec.Struct, gc=False):
    timestamp: int
    input_length: int
    output_length: int
    hash_ids: list[int]


_decoder = msgspec.json.Decoder(_Line)


def sniff(head: bytes) -> bool:
    """Whether a file that begins like this is a Mooncake trace."""
    first = head.lstrip().partition(b"\n")[0]
    return first.startswith(_HEAD) and _IDS in first


def read_steps(path: str, data: bytes) -> tuple[list[Step], list[Problem]]:
    """Return the steps of a trace, in order of time; lines that cannot be read are left out."""
    lines, bad = [], []
    for number, raw in enumerate(data.splitlines(), start=1):
        try:
            if raw.strip():
                lines.append(_decoder.decode(raw))
        except msgspec.DecodeError:
            bad.append(number)
    problems = [Problem(path, "this line is no request", "it is left out", bad[0], len(bad))] if bad else []
    lines.sort(key=lambda line: line.timestamp)
    return _steps(lines), problems


def _steps(lines: list[_Line]) -> list[Step]:
    steps: list[Step] = []
    holders: dict[int, int] = {}
    for index, line in enumerate(lines):
        blocks = line.hash_ids[: line.input_length // BLOCK_TOKENS]
        common = next((at for at in range(len(blocks), 0, -1) if blocks[at - 1] in holders), 0)
        parent = holders[blocks[common - 1]] if common else ROOT
        steps.append(_step(index, line, common * BLOCK_TOKENS, parent, steps))
        for block in blocks:
            holders[block] = index
    return steps


def _step(index: int, line: _Line, shared: int, parent: int, steps: list[Step]) -> Step:
    """Return a step; where it parts from its parent in the middle, the shared part is its base from then on."""
    name, base = f"request-{index}", 0
    session = name
    if parent != ROOT:
        before = steps[parent]
        goes_on = shared >= before.end_tokens
        session, base = (before.session_id, before.base_tokens) if goes_on else (name, shared)
    return Step(
        exchange_id=name,
        session_id=session,
        at_ms=line.timestamp,
        model=MODEL,
        cache=f"{MODEL}|",
        parent=parent,
        shared_tokens=shared,
        total_tokens=line.input_length,
        marked_tokens=line.input_length // BLOCK_TOKENS * BLOCK_TOKENS,
        base_tokens=base if base >= traits(MODEL).min_cacheable_tokens else 0,
        output_tokens=line.output_length,
        has_tools=False,
    )
