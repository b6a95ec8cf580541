"""One answer as the iterations that the API runs for it: a server tool's result starts the next one.

Each iteration reads the whole prompt anew, the answer so far included. Where the request is marked, the API marks each
server-tool result itself, for five minutes, whatever the request's own marks say, so that the next iteration reads it
(API docs, tool use with prompt caching). Without a mark every iteration is billed in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from scrimp.sim import tokens
from scrimp.sim.agents import Reply
from scrimp.sim.billing import Classes
from scrimp.sim.blocks import JsonObject
from scrimp.sim.cache import Cache, CacheUse
from scrimp.sim.marks import Mark
from scrimp.sim.models import Model
from scrimp.sim.render import Prompt, render
from scrimp.sim.rules import Rules


class Setting(msgspec.Struct, frozen=True):
    """A request that is ready to be answered."""

    request: JsonObject
    model: Model
    workspace: str
    betas: frozenset[str]
    prompt: Prompt
    marks: tuple[Mark, ...]


class Iteration(msgspec.Struct, frozen=True):
    """One pass of the model: its prompt and what it reads and writes of the cache."""

    prompt: Prompt
    use: CacheUse


def _is_result(block: JsonObject) -> bool:
    return str(block["type"]).endswith("_tool_result")


def _passes(content: Sequence[JsonObject]) -> list[list[JsonObject]]:
    """Split an answer after each server-tool result."""
    passes: list[list[JsonObject]] = [[]]
    for block in content:
        passes[-1].append(block)
        if _is_result(block):
            passes.append([])
    return passes if passes[-1] or len(passes) == 1 else passes[:-1]


def _later(setting: Setting, content: Sequence[JsonObject], rules: Rules) -> Iterator[tuple[Prompt, tuple[Mark, ...]]]:
    """Yield the prompt and the marks of every iteration after the first."""
    said: list[JsonObject] = []
    marks = setting.marks
    for spoken in _passes(content)[:-1]:
        said = [*said, *spoken]
        messages = [*setting.request["messages"], {"role": "assistant", "content": said}]
        prompt = render({**setting.request, "messages": messages}, setting.model, rules, setting.betas)
        if setting.marks and rules.server_tool_breakpoints:
            marks = (*marks, Mark(len(prompt.positions) - 1, "5m"))
        yield prompt, marks


def iterations(
    setting: Setting, first: CacheUse, content: Sequence[JsonObject], cache: Cache, rules: Rules, at_ms: int
) -> list[Iteration]:
    """Return every iteration. The first was committed already; the others are, at the first token's time `at_ms`."""
    found = [Iteration(setting.prompt, first)]
    for prompt, marks in _later(setting, content, rules):
        use = cache.look_up(setting.workspace, prompt, marks, setting.model, at_ms)
        cache.commit(setting.workspace, prompt, use, at_ms, at_ms)
        found.append(Iteration(prompt, use))
    return found


def parts_of(found: Sequence[Iteration], spoken: Reply, model: Model) -> tuple[Classes, ...]:
    """Return what each iteration used: its input, and the output that it said."""
    said = [_output(blocks, model) for blocks in _passes(spoken.content)]
    said[-1] = spoken.output_tokens - sum(said[:-1])
    parts = [
        Classes(each.use.uncached, each.use.cache_read, each.use.write_5m, each.use.write_1h, output)
        for each, output in zip(found, said, strict=True)
    ]
    parts[0] = msgspec.structs.replace(parts[0], web_search_requests=spoken.web_search_requests)
    return tuple(parts)


def _output(blocks: Sequence[JsonObject], model: Model) -> int:
    return sum(tokens.block_tokens(block, model) for block in blocks if not _is_result(block))
