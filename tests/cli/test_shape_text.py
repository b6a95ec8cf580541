"""What `scrimp shape` tells a person: the table, the beginning of both texts, and notes where there is need."""

from __future__ import annotations

from scrimp.cli.shape import Rates
from scrimp.cli.shape_text import LINE_WIDTH, LINES_SHOWN, TOOLS_SHOWN, sessions_text, text_text
from scrimp.core.levers.shaping.shape import Hint, Shaped
from scrimp.core.wire.prices import RateCard
from scrimp.replay.shaping import Measured, Shaping, Sizes, ToolSum, add, measure
from scrimp.replay.traces.results import Result
from scrimp.replay.traces.trace import Problem

PRICED = Rates("claude-opus-5-5", RateCard(4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000))
SHAPED = Measured(Shaped("short", ("json/1",)), Sizes(2_000, 1_500, 800, 600), is_restored=True)


def test_sizes_and_money_stand_in_a_table() -> None:
    """Before, after and what is saved, with writing at $5 and reading at $0.20 per million tokens."""
    rows = {line.split("  ")[0]: line.split()[-4:] for line in text_text("x", SHAPED, PRICED).splitlines()[2:5]}
    assert {
        "before": ["2,000", "800", "$0.004000", "$0.000160"],
        "after": ["1,500", "600", "$0.003000", "$0.000120"],
        "saved (25.0%)": ["500", "200", "$0.001000", "$0.000040"],
    } == rows


def test_only_the_beginning_of_a_text_is_shown() -> None:
    """Its first lines, cut to a width, and nothing that a terminal would obey."""
    text = "\n".join(["\x1b[31mred", "w" * (LINE_WIDTH + 1), *(f"line {n}" for n in range(3, 10))])
    shown = text_text(text, SHAPED, PRICED).split("Before:\n")[1].split("\n\n")[0].splitlines()
    assert ["  \\x1b[31mred", f"  {'w' * LINE_WIDTH}...", "  line 3"] == shown
    assert LINES_SHOWN == len(shown)


def test_the_shapers_are_named_or_said_to_be_none() -> None:
    """And whether it comes back."""
    assert "Shaped by json/1." in text_text("x", SHAPED, PRICED)
    assert "character for character" in text_text("x", SHAPED, PRICED)
    plain = text_text("x", measure("x", Hint(), "claude-opus-5-5"), PRICED)
    assert ("No shaper has anything to say" in plain, "After:" in plain) == (True, False)
    lost = Measured(SHAPED.shaped, SHAPED.sizes, is_restored=False)
    assert "could NOT be restored" in text_text("x", lost, PRICED)


def test_what_is_not_known_is_said() -> None:
    """A model without a price costs an unknown amount, and that has a note."""
    text = text_text("x", SHAPED, Rates("gpt-9", None))
    assert (6, True) == (text.count("unknown"), "Note: no price is known for gpt-9." in text)


def test_the_largest_tools_have_rows_and_the_rest_has_one() -> None:
    """With the sum of all at the end."""
    shaping = Shaping(files=2)
    add(shaping, [Result(str(n), f"tool{n:02}", b"", ("x" * (100 - n),)) for n in range(TOOLS_SHOWN + 2)], "claude-x")
    rows = sessions_text(shaping, PRICED).split("\n\n")[1].splitlines()[2:]
    assert [*(f"tool{n:02}" for n in range(TOOLS_SHOWN)), "2", "all"] == [row.split()[0] for row in rows]
    assert f"{sum(100 - n for n in range(TOOLS_SHOWN + 2)):,}" == rows[-1].split()[2]


def test_sessions_end_with_what_to_mind() -> None:
    """Which shapers worked how often, what was lost, and what could not be read."""
    shaping = Shaping(tools={"\x1b": ToolSum(2, SHAPED.sizes)}, unrestored=1, files=1)
    shaping.shapers.update({"json/1": 1_200})
    shaping.problems = [Problem("s.jsonl", "this line is not JSON", "it was skipped", 3)]
    text = sessions_text(shaping, PRICED)
    assert text.startswith("2 tool results in 1 file, priced as claude-opus-5-5.")
    for said in ("\\x1b", "json/1 on 1,200", "1 text could NOT be restored", "Note: s.jsonl line 3"):
        assert said in text
