"""`scrimp shape`: what shaping at the door makes of one tool output, or of those of recorded sessions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from scrimp.cli.bars import watched
from scrimp.money import in_usd

if TYPE_CHECKING:
    from scrimp.core.wire.prices import RateCard
    from scrimp.replay.shaping import Measured, Shaping, Sizes

STDIO = "-"
#: What sizes are estimated and priced for where nobody says.
MODEL = "claude-opus-5-5"
#: Reading fewer files than this shows no progress bar.
FILES_WORTH_A_BAR = 20


class Rates(NamedTuple):
    """A model and its rates; None where it has no known price."""

    model: str
    card: RateCard | None

    def write_nano_usd(self, tokens: int) -> int | None:
        """Return what it costs to write so many tokens into the cache, for five minutes."""
        return None if self.card is None else _nano_usd(tokens * self.card.cache_write_5m)

    def read_nano_usd(self, tokens: int) -> int | None:
        """Return what it costs to read so many tokens from the cache, as each later request does."""
        return None if self.card is None else _nano_usd(tokens * self.card.cache_read)


@click.command()
@click.argument("file", type=click.Path())
@click.option("--tool", help="The tool that wrote it, such as Read or Bash; a session is then a text like any other.")
@click.option("--model", default=MODEL, show_default=True, help="Estimate tokens and price them for this model.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--out", type=click.Path(), help="Write the shaped text to this new file; -: print it and nothing else.")
@click.pass_context
def command(ctx: click.Context, file: str, tool: str | None, model: str, *, as_json: bool, out: str | None) -> None:
    """Show what shaping makes of a tool output: its size, its cost, and that nothing of it is lost.

    FILE is a text, - for standard input; or a Claude Code session (.jsonl, .jsonl.gz) or a folder of them, whose tool
    results are then shaped one by one and summed up by tool. Exits with 1 if anything could not be restored.
    """
    from scrimp.errors import UsageError

    if as_json and out == STDIO:
        raise UsageError("--json and --out - both want standard output.", "Name a file to write the text to.")
    data = sys.stdin.buffer.read() if file == STDIO else _read(file)
    if data is None or (file != STDIO and tool is None and _is_session(data)):
        _refuse_with_sessions(tool, out)
        is_whole = _show_sessions(file, _rates(model), as_json=as_json)
    else:
        is_whole = _show_text(_text(file, data), tool, _rates(model), out, as_json=as_json)
    ctx.exit(0 if is_whole else 1)


def _read(file: str) -> bytes | None:
    """Return a file's bytes, unpacked, None for a folder; what cannot be had is an error."""
    from scrimp.errors import UsageError
    from scrimp.replay.traces.files import load

    if not Path(file).exists():
        raise UsageError(f"{file}: there is no such file or folder.", "Check the path.")
    if Path(file).is_dir():
        return None
    data, problems = load(file)
    for problem in problems:
        raise UsageError(f"{problem.headline}.", f"{problem.then[0].upper()}{problem.then[1:]}.")
    return data


def _text(file: str, data: bytes) -> str:
    from scrimp.errors import UsageError

    try:
        return data.decode()
    except UnicodeDecodeError as error:
        name = "Standard input" if file == STDIO else file
        raise UsageError(
            f"{name} is no UTF-8 text (byte {error.start:,}).", "Give what a tool wrote as text."
        ) from error


def _is_session(data: bytes) -> bool:
    from scrimp.replay.shaping import is_session

    return is_session(data)


def _refuse_with_sessions(tool: str | None, out: str | None) -> None:
    from scrimp.errors import UsageError

    if tool is not None:
        raise UsageError("--tool is for one text; sessions name the tools themselves.", "Leave it out.")
    if out is not None:
        raise UsageError("--out is for one text; a session holds many.", "Leave it out, or give one tool output.")


def _rates(model: str) -> Rates:
    """Return the rates of a model as they are now, for a prompt of the shortest band."""
    from scrimp.clock import SystemClock
    from scrimp.core.wire.usage import ZERO, UsageLine
    from scrimp.upstream.pricefeed import load_current_book

    return Rates(model, load_current_book().line_card(UsageLine(ZERO, model), SystemClock().now_ms(), 0))


def _nano_usd(pico_usd: int) -> int:
    from scrimp.core.wire.prices import nano_usd

    return nano_usd(pico_usd)


# --- one text ---


def _show_text(text: str, tool: str | None, rates: Rates, out: str | None, *, as_json: bool) -> bool:
    """Shape a text and say what became of it; return whether it came back as it was."""
    from scrimp.core.levers.shaping.shape import Hint
    from scrimp.replay.shaping import measure

    measured = measure(text, Hint(tool), rates.model)
    if out is not None:
        _write(out, measured.shaped.text)
    if as_json:
        _print(text_object(measured, tool, rates))
    elif out != STDIO:
        from scrimp.cli.shape_text import text_text

        click.echo(text_text(text, measured, rates))
    return measured.is_restored


def _write(out: str, text: str) -> None:
    """Write the shaped text as it is; never over a file."""
    from scrimp.errors import UsageError

    if out == STDIO:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    try:
        with Path(out).open("xb") as file:
            file.write(text.encode())
    except FileExistsError as error:
        raise UsageError(f"{out} is already there.", "Name another file.") from error
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.", "Name a file that can be written.") from error


# --- sessions ---


def _show_sessions(path: str, rates: Rates, *, as_json: bool) -> bool:
    """Shape the results of sessions and sum them up; return whether all came back as they were."""
    from scrimp.replay.shaping import of_sessions

    shaping = of_sessions(path, rates.model, _progress)
    if as_json:
        _print(sessions_object(shaping, rates))
    else:
        from scrimp.cli.shape_text import sessions_text

        click.echo(sessions_text(shaping, rates))
    return not shaping.unrestored


def _progress(files: list[str]) -> Iterator[str]:
    return watched(files, len(files), "Shaping", FILES_WORTH_A_BAR)


# --- one JSON object ---


def _print(answer: dict[str, Any]) -> None:
    import msgspec

    click.echo(msgspec.json.encode(answer))


def _sizes_object(sizes: Sizes, rates: Rates) -> dict[str, Any]:
    return {
        "characters_before": sizes.characters_before,
        "characters_after": sizes.characters_after,
        "share_saved": sizes.share_saved,
        "tokens_before": sizes.tokens_before,
        "tokens_after": sizes.tokens_after,
        "write_usd_before": in_usd(rates.write_nano_usd(sizes.tokens_before)),
        "write_usd_after": in_usd(rates.write_nano_usd(sizes.tokens_after)),
        "read_usd_before": in_usd(rates.read_nano_usd(sizes.tokens_before)),
        "read_usd_after": in_usd(rates.read_nano_usd(sizes.tokens_after)),
    }


def text_object(measured: Measured, tool: str | None, rates: Rates) -> dict[str, Any]:
    """Return what `--json` prints of one text."""
    from scrimp.upstream.pricefeed import describe_book

    return {
        **_sizes_object(measured.sizes, rates),
        "shapers": measured.shaped.steps,
        "restored": measured.is_restored,
        "tool": tool,
        "model": rates.model,
        "cost_basis": describe_book(),
    }


def sessions_object(shaping: Shaping, rates: Rates) -> dict[str, Any]:
    """Return what `--json` prints of sessions: the sum, then each tool."""
    from scrimp.upstream.pricefeed import describe_book

    total = shaping.total
    return {
        "results": total.results,
        **_sizes_object(total.sizes, rates),
        "tools": [
            {"tool": tool, "results": each.results, **_sizes_object(each.sizes, rates)}
            for tool, each in shaping.largest_first()
        ],
        "shapers": shaping.shapers,
        "unrestored": shaping.unrestored,
        "model": rates.model,
        "cost_basis": describe_book(),
        "files": shaping.files,
        "problems": [str(problem) for problem in shaping.problems],
    }
