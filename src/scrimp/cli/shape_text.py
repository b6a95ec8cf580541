"""What `scrimp shape` found, as a person reads it: sizes and money in a table, then which shapers worked, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scrimp.cli.report_text import PROBLEMS_SHOWN, count
from scrimp.money import dollars
from scrimp.replay.shaping import total_of
from scrimp.replay.traces.trace import printable

if TYPE_CHECKING:
    from scrimp.cli.shape import Rates
    from scrimp.replay.shaping import Measured, Shaping, Sizes

#: How much of a text is shown.
LINES_SHOWN, LINE_WIDTH = 3, 100
#: Rows of the table of tools; the others are summed up, and `--json` has them all.
TOOLS_SHOWN = 12


def text_text(text: str, measured: Measured, rates: Rates) -> str:
    """Return the whole text for one tool output."""
    parts = [_sizes(measured.sizes, rates), _beginning("Before:", text)]
    if measured.shaped.steps:
        parts += [_beginning("After:", measured.shaped.text), f"Shaped by {', '.join(measured.shaped.steps)}."]
    else:
        parts.append("No shaper has anything to say: it goes as it is.")
    parts.append(
        "Restored, it is what it was, character for character."
        if measured.is_restored
        else "It could NOT be restored. Please report that with the text, if you may."
    )
    return "\n\n".join([*parts, *_notes(rates)])


def _sizes(sizes: Sizes, rates: Rates) -> str:
    from tabulate import tabulate

    rows = [
        [
            name,
            f"{characters:,}",
            f"{tokens:,}",
            dollars(rates.write_nano_usd(tokens)),
            dollars(rates.read_nano_usd(tokens)),
        ]
        for name, characters, tokens in (
            ("before", sizes.characters_before, sizes.tokens_before),
            ("after", sizes.characters_after, sizes.tokens_after),
            (
                f"saved ({sizes.share_saved:.1%})",
                sizes.characters_before - sizes.characters_after,
                sizes.tokens_saved,
            ),
        )
    ]
    headers = ("", "characters", "tokens (estimated)", "to write", "each read")
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 4))


def _beginning(heading: str, text: str) -> str:
    """Return the first lines of a text, cut to a width, with what a terminal would obey spelled out."""
    head = text[: (LINE_WIDTH + 1) * (LINES_SHOWN + 1) * 4]
    lines = head.split("\n")[:LINES_SHOWN]
    return "\n".join(
        [heading, *(f"  {printable(line[:LINE_WIDTH])}{'...' * (len(line) > LINE_WIDTH)}" for line in lines)]
    )


def sessions_text(shaping: Shaping, rates: Rates) -> str:
    """Return the whole text for sessions."""
    total = shaping.total
    where = f"{count(total.results, 'tool result')} in {count(shaping.files, 'file')}, priced as {rates.model}."
    worked = ", ".join(f"{name} on {number:,}" for name, number in shaping.shapers.most_common()) or "none"
    whole = (
        "Restored, each is what it was, character for character."
        if not shaping.unrestored
        else f"{count(shaping.unrestored, 'text')} could NOT be restored."
    )
    problems = [f"Note: {problem}" for problem in shaping.problems[:PROBLEMS_SHOWN]]
    return "\n\n".join([where, _tools(shaping, rates), f"Shapers: {worked}. {whole}", *_notes(rates), *problems])


def _tools(shaping: Shaping, rates: Rates) -> str:
    from tabulate import tabulate

    ordered = shaping.largest_first()
    named = [(printable(tool or "(unknown)"), each) for tool, each in ordered[:TOOLS_SHOWN]]
    if rest := [each for _, each in ordered[TOOLS_SHOWN:]]:
        named.append((count(len(rest), "other"), total_of(rest)))
    rows = [
        [
            name,
            f"{each.results:,}",
            f"{each.sizes.characters_before:,}",
            f"{each.sizes.characters_after:,}",
            f"{each.sizes.share_saved:.1%}",
            f"{each.sizes.tokens_saved:,}",
            dollars(rates.write_nano_usd(each.sizes.tokens_saved)),
            dollars(rates.read_nano_usd(each.sizes.tokens_saved)),
        ]
        for name, each in [*named, ("all", shaping.total)]
    ]
    headers = ("tool", "results", "characters", "shaped", "saved", "tokens saved", "writing saves", "a read saves")
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * 7))


def _notes(rates: Rates) -> Iterator[str]:
    yield "Note: tokens are estimated; a result is written to the cache once and read by each later request."
    if rates.card is None:
        yield f"Note: no price is known for {printable(rates.model)}. See `scrimp prices list` for what is."
