"""Properties of templates: volatile lines are found, stable ones never named, and two agents stay two."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.prefix import Prompt, read_prompt
from scrimp.core.belief.templates import (
    LINES_MAX,
    TEMPLATES_MAX,
    VARIANTS_MAX,
    Family,
    Look,
    canonical,
    lines_of,
    look,
    says_the_time,
    text_without,
)
from scrimp.core.wire.request import parse

STABLE = [f"Rule {number}: read the file, mend it, run the tests and say so." for number in range(40)]
TOOL = {"name": "read", "input_schema": {"type": "object", "properties": {"a": {}, "b": {}}}}


def prompt(system: Any, tools: Iterable[Any] = ()) -> Prompt:
    """Return a prompt with this system prompt and these tools."""
    body = {"model": "claude-opus-4-8", "system": system, "tools": list(tools)}
    request = parse(json.dumps({**body, "messages": [{"role": "user", "content": "hi"}]}).encode())
    return read_prompt(request, [100] * len(request.blocks))


def looks(prompts: Iterable[Prompt]) -> list[Look]:
    """Show prompts one after the other."""
    families: dict[bytes, Family] = {}
    found = []
    for each in prompts:
        found.append(look(families, each))
        families[found[-1].key] = found[-1].family
    return found


def places(seen: Look) -> list[tuple[int, tuple[int, ...]]]:
    """Return where the volatile lines are: blocks, and lines of each."""
    return [(spot.index, spot.lines) for spot in seen.spots]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Current time: 12:01:33", True),
        ("Now: 2026-11-25T12:01:33Z", True),
        ("time=1790000000", True),
        ("Today's date is 2026-11-25", False),
        ("The shop opens at 09:00", False),
        ("You know the current branch", False),
    ],
)
def test_a_line_says_the_time_or_not(line: str, says: bool) -> None:
    """A time of day with the word for its being now; a date alone stays for a day."""
    assert says is says_the_time(line)


def test_the_time_is_volatile_at_first_sight() -> None:
    """One sighting is enough, and it stays so while it changes."""
    seen = looks(prompt("\n".join([f"Current time: 12:01:{n:02d}", *STABLE])) for n in range(4))
    assert [[(0, (0,))]] * 4 == [places(each) for each in seen]
    assert all(each.survival < 0.1 for each in seen)


def test_the_time_that_never_changes_is_stable_after_all() -> None:
    """A line of an example is given back once it was seen to stay."""
    seen = looks([prompt("\n".join(["The current time may read 12:01", *STABLE]))] * 4)
    assert ((), ()) == (seen[2].spots, seen[3].spots)


@pytest.mark.parametrize(("line", "first"), [("Request {} of many", 1), ("You serve {}", 2)])
def test_other_lines_are_volatile_once_they_changed(line: str, first: int) -> None:
    """One change is enough for a line with a number, words alone have to change twice."""
    names = ["Ann", "Bob", "Cleo", "Dan"]
    words = [str(n * 13 + 1) if "Request" in line else names[n] for n in range(4)]
    seen = looks(prompt("\n".join([*STABLE[:9], line.format(word), *STABLE[9:]])) for word in words)
    assert [()] * first == [each.spots for each in seen[:first]]
    assert all([(0, (9,))] == places(each) for each in seen[first:])


def test_two_sessions_that_each_stay_the_same_are_no_change() -> None:
    """What alternates comes back: its survival rises, and nothing is volatile."""
    prompts = [prompt("\n".join([f"Folder: /srv/{'ab'[n % 2]}1", *STABLE])) for n in range(12)]
    seen = looks(prompts)
    assert () == seen[-1].spots
    assert seen[-1].survival > 0.8


def test_two_agents_with_a_common_preamble_stay_two() -> None:
    """A quarter in common is no template; a family remembers no more than it may."""
    other = [f"Law {number}: never touch that." for number in range(60)]
    seen = looks(prompt("\n".join([*STABLE[:8], *(STABLE[8:] if n % 2 else other)])) for n in range(6))
    assert {()} == {each.spots for each in seen}
    assert [1, 2, 2, 2, 2, 2] == [len(each.family.templates) for each in seen]
    many = looks(prompt("\n".join(f"{word} {n}" for word in STABLE)) for n in range(40))
    assert TEMPLATES_MAX >= len(many[-1].family.templates)


def test_a_billing_line_and_what_is_no_text_have_no_lines() -> None:
    """Claude Code's billing line is never cut, and a prompt that is too long is not compared."""
    billing = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.abc; now 12:01;"}
    cited = {"type": "text", "text": "now 12:01", "citations": [{"type": "char_location"}]}
    blocks = prompt([billing, cited]).blocks
    assert ([], []) == (lines_of(blocks[0]), lines_of(blocks[1]))
    assert () == looks([prompt([billing, cited])])[0].spots
    assert () == looks([prompt("now 12:01\n" * (LINES_MAX + 1))])[0].family.templates


@given(st.lists(st.permutations(["a", "b", "c", "d"]), min_size=1, max_size=40), st.booleans())
def test_tools_drift_or_do_not(orders: list[list[str]], rekeyed: bool) -> None:
    """Drifts are counted exactly while an order is remembered, and a stable one is never called drifting."""
    first: dict[str, Any] = {"type": "object", "properties": {"a": {}, "b": {}}}
    swapped = {"properties": {"b": {}, "a": {}}, "type": "object"}

    def tools(n: int, order: list[str]) -> list[Any]:
        return [{"name": name, "input_schema": swapped if rekeyed and n % 2 else first} for name in order]

    seen = looks(prompt("s", tools(n, order)) for n, order in enumerate(orders))
    toolbox = seen[-1].family.toolbox
    assert toolbox is not None
    assert len(orders) == toolbox.requests
    different = len({(n % 2 if rekeyed else 0, *order) for n, order in enumerate(orders)})
    assert toolbox.drifts == different - 1 or different > VARIANTS_MAX
    assert toolbox.is_rekeyed is (rekeyed and len(orders) > 1)
    if different == 1:
        assert seen[-1].toolbox is None


def test_tools_that_mean_something_else_start_anew() -> None:
    """An edit of a definition is no drift."""
    seen = looks(prompt("s", [{**TOOL, "description": str(n)}]) for n in range(5))
    assert [0] * 5 == [each.family.toolbox.drifts for each in seen if each.family.toolbox]
    assert canonical(prompt("s", [TOOL]).blocks[0]) == canonical(
        prompt("s", [dict(reversed(TOOL.items())) | {"cache_control": {"type": "ephemeral"}}]).blocks[0]
    )


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=9), min_size=1))
def test_no_word_is_lost_where_lines_are_cut(lines: list[str]) -> None:
    """What stays and what goes are the lines of the text, each once and in order."""
    block = prompt("\n".join(lines)).blocks[0]
    cut = tuple(range(0, len(lines), 2)) if block.tier == "system" else ()
    stays, goes = text_without(lines_of(block), cut)
    if cut and any(lines):
        assert (lines[1::2] or [""], lines[::2]) == (stays.split("\n"), goes.split("\n"))


@given(st.lists(st.lists(st.sampled_from(["a 1", "b 2", "now 12:01", "c", ""]), min_size=1, max_size=6), max_size=12))
def test_every_spot_is_a_line_of_its_block(heads: list[list[str]]) -> None:
    """Whatever changes, spots name lines that exist, and what is stable stays."""
    prompts = [prompt("\n".join([*head, *STABLE])) for head in heads]
    for each, seen in zip(prompts, looks(prompts), strict=True):
        for spot in seen.spots:
            assert lines_of(each.blocks[spot.index]) == [*spot.text]
            assert set(spot.lines) <= set(range(len(spot.text)))
            stays, _ = text_without(spot.text, spot.lines)
            assert stays.endswith(STABLE[-1])
