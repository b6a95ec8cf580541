"""Properties of the order lever: what it moves is what the edited body says, and where it stands down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import NOTHING_HEARD, Fragile, Prompt, find_marks, read_prompt
from scrimp.core.belief.templates import Look, look
from scrimp.core.levers.order import Moved, fragile, moved, pitfall, priced_in_words, refusal, with_marks
from scrimp.core.plan.edits import mark_edits
from scrimp.core.wire.blocks import Block, block_text
from scrimp.core.wire.prices import RateCard
from scrimp.core.wire.request import Request, parse
from scrimp.core.wire.splice import splice

CARD = RateCard(4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000)
MARK = {"cache_control": {"type": "ephemeral"}}
RULES = "\n".join(f"Rule {number}: be brief and say what was done." for number in range(30))
CLOCK = "Current time: 12:01:33"


def body_of(**changes: Any) -> bytes:
    """Return a body with a clock at its head."""
    body = {"model": "claude-opus-4-8", "max_tokens": 9, "system": f"{CLOCK}\n{RULES}"}
    return json.dumps({**body, "messages": [{"role": "user", "content": "hi"}], **MARK, **changes}).encode()


def count(blocks: Sequence[Block]) -> list[int]:
    """Count a thousand tokens a block."""
    return [1_000] * len(blocks)


def read(body: bytes, seen: Look | None = None) -> tuple[Request, Prompt, Look]:
    """Return a request, its prompt, and what is known of it."""
    request = parse(body)
    own = read_prompt(request, count(request.blocks))
    seen = seen or look({}, own)
    return request, msgspec.structs.replace(own, fragile=fragile(seen)), seen


def put_in_order(body: bytes, seen: Look | None = None) -> tuple[Moved | None, Request | None]:
    """Return what the lever offers for a body, and the edited body as it is read again."""
    request, own, seen = read(body, seen)
    found = moved(request, own, seen, NOTHING_HEARD, count)
    if found is None:
        return None, None
    bare = msgspec.structs.replace(found.request, automatic_ttl=None)
    standing = msgspec.structs.replace(found.prompt, marks=found.standing)
    edits = with_marks(found, found.prompt.marks, mark_edits(bare, standing, found.prompt.marks))
    return found, parse(splice(body, edits))


def is_what_is_sent(found: Moved, sent: Request) -> bool:
    """Whether the moved prompt begins the edited body, with the same marks and the tail's length."""
    blocks = len(found.prompt.blocks)
    whole = read_prompt(sent, count(sent.blocks))
    is_prefix = whole.digests[:blocks] == found.prompt.digests and whole.marks == found.prompt.marks
    return is_prefix and whole.total_tokens == found.prompt.total_tokens


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw requests with a clock somewhere in the system prompt, marked in any way, on any kind of model."""
    marks = st.sampled_from([{}, {}, MARK])
    texts = draw(st.permutations([f"{CLOCK}\n{RULES}", RULES, CLOCK])) if draw(st.booleans()) else [f"{RULES}\n{CLOCK}"]
    system: Any = [{"type": "text", "text": text, **draw(marks)} for text in texts]
    if len(system) == 1 and draw(st.booleans()):
        system = system[0]["text"]
    content: Any = [{"type": "text", "text": "hi", **draw(marks)}]
    used = [{"type": "tool_use", "id": "t", "name": "b", "input": {}}]
    result = [{"type": "tool_result", "tool_use_id": "t", "content": "done", **draw(marks)}]
    messages = [{"role": "user", "content": content}]
    if draw(st.booleans()):
        messages += [{"role": "assistant", "content": used}, {"role": "user", "content": result}]
    if draw(st.booleans()):
        messages += [{"role": "assistant", "content": "well"}, {"role": "user", "content": "and?"}]
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in draw(st.permutations("abc"))]
    tools[-1] |= draw(marks)
    body = {"model": draw(st.sampled_from(["claude-opus-4-8", "claude-sonnet-4-6"])), "max_tokens": 9, "tools": tools}
    return json.dumps({**body, "system": system, "messages": messages, **draw(marks)}).encode()


@given(bodies(), st.booleans(), st.booleans())
def test_the_prompt_that_is_priced_is_the_one_that_is_sent(body: bytes, drifts: bool, rekeyed: bool) -> None:
    """Digests, marks and length of the moved prompt are those of the edited body, read anew; no mark is on the tail."""
    _, own, seen = read(body)
    toolbox = seen.family.toolbox
    assert toolbox is not None
    if drifts:
        seen = msgspec.structs.replace(seen, toolbox=msgspec.structs.replace(toolbox, drifts=2, is_rekeyed=rekeyed))
    found, sent = put_in_order(body, seen)
    if not own.marks and parse(body).is_marked:
        assert found is None
        return
    assert found is not None
    assert sent is not None
    assert is_what_is_sent(found, sent)
    assert sent.blocks[-1].ttl is None
    assert {CLOCK} == set(block_text(sent.blocks[-1]).split("\n"))
    assert len(find_marks(sent, sent.blocks)) <= len(own.marks)


THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
THOUGHT = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": [THINKING, {"type": "text", "text": "yes"}]},
    {"role": "user", "content": "go on"},
]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well,"}]}, "user's words"),
        ({"fallbacks": [{"model": "claude-opus-4-6"}]}, "another model"),
        ({"messages": THOUGHT}, None),
        ({"model": "claude-opus-5-5"}, "bound"),
        ({"model": "claude-opus-5-5", "thinking": {"type": "disabled"}}, None),
        ({"model": "claude-opus-5-5", "thinking": {"type": "disabled"}, "messages": THOUGHT}, "bound"),
        ({"model": "claude-new-7"}, "bound"),
        ({"model": "claude-sonnet-4-5", "messages": THOUGHT}, "end the turn"),
        ({"model": "claude-sonnet-4-6", "messages": [*THOUGHT, {"role": "system", "content": "x"}]}, "user's words"),
        ({"messages": [*THOUGHT, {"role": "system", "content": "x"}]}, None),
    ],
)
def test_it_stands_down_where_it_is_not_safe(changes: dict[str, Any], why: str | None) -> None:
    """Each refusal says why, and then nothing is moved; the price is told in any case."""
    request, own, seen = read(body_of(**changes))
    said = refusal(request, seen)
    assert (said is None) if why is None else (said is not None and why in said)
    assert (moved(request, own, seen, NOTHING_HEARD, count) is None) is (why is not None)
    assert pitfall(own, seen, CARD) is not None


def test_what_is_in_order_stays_as_it_is() -> None:
    """No volatile piece: nothing to move, nothing to report."""
    request, own, seen = read(body_of(system=RULES))
    assert (None, None, None) == (
        refusal(request, seen),
        moved(request, own, seen, NOTHING_HEARD, count),
        pitfall(own, seen, CARD),
    )


def test_a_system_prompt_that_is_nothing_but_volatile_is_left_alone() -> None:
    """Nothing stable would be left of it."""
    assert (None, None) == put_in_order(body_of(system=CLOCK))


def test_the_price_and_the_fix_of_a_piece() -> None:
    """Two blocks that would be read are written instead, but for the chance that the piece comes back."""
    system = [{"type": "text", "text": f"Überall.\n{CLOCK}\n{RULES}"}, {"type": "text", "text": "More."}]
    _, own, seen = read(body_of(system=system))
    found = pitfall(own, seen, CARD)
    assert found is not None
    lost = round((1 - seen.survival) * 2_000 * (CARD.cache_write_5m - CARD.cache_read) / 1_000)
    assert ("date", "system.0", len("Überall.\n".encode()), lost) == (
        found.cause,
        found.path,
        found.byte,
        found.cost_nano_usd,
    )
    assert Fragile(0, seen.survival) == own.fragile
    assert found.fix in priced_in_words(found)
    unpriced = pitfall(own, seen, None)
    assert unpriced is not None
    assert unpriced.cost_nano_usd is None
    assert "an unknown sum" in priced_in_words(unpriced)
    unmarked = msgspec.structs.replace(own, marks=())
    assert pitfall(unmarked, seen, CARD) is None
