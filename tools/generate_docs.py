"""Write docs/reference from the code, and README's figures from bench/results; with --check, refuse what is stale.

make docs                                 write
python tools/generate_docs.py --check     exit 1 and name the stale pages
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from tabulate import tabulate

from scrimp import config, errors
from scrimp.cli.main import COMMANDS, cli
from scrimp.config import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results"
#: The part of README that is written from the figures of `make bench`.
MEASURED = re.compile(r"(?<=<!-- measured: bench/results -->\n).*?(?=<!-- /measured -->)", re.DOTALL)
WIDTH = 100
NOTICE = "<!-- Written by `make docs` from the code. Change the code, not this page. -->"


def _help(path: tuple[str, ...], command: click.Command, parent: click.Context) -> Iterator[str]:
    """Yield one section per command, groups before their members."""
    context = click.Context(command, info_name=path[-1], parent=parent, max_content_width=WIDTH, terminal_width=WIDTH)
    name = " ".join(("scrimp", *path))
    yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for member in command.list_commands(context):
            found = command.get_command(context, member)
            if found is not None:
                yield from _help((*path, member), found, context)


def command_page() -> str:
    """Return the page of every command's own help, and what the exit codes mean."""
    root = click.Context(cli, info_name="scrimp", max_content_width=WIDTH, terminal_width=WIDTH, **cli.context_settings)
    sections = [f"# Commands\n\n{NOTICE}\n\n```text\n{cli.get_help(root)}\n```\n"]
    sections.append(
        "Exit codes: 0 done; 1 it ran and the answer is no; 2 called wrongly. An error is one sentence that says what\n"
        "happened and one that says what to do next. `--json` prints one object to standard output and nothing else.\n"
    )
    for name in COMMANDS:
        command = cli.get_command(root, name)
        if command is not None:
            sections += _help((name,), command, root)
    return "\n".join(sections)


def _theory(path: Path) -> str:
    module = ".".join(path.relative_to(ROOT / "src").parent.parts)
    text = inspect.cleandoc(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    return f"## {module}\n\n```text\n{text}\n```\n"


def rooms_page() -> str:
    """Return the page of every package's theory of operation."""
    packages = sorted((ROOT / "src" / "scrimp").rglob("__init__.py"), key=lambda path: path.parent.parts)
    return "\n".join([f"# Rooms\n\n{NOTICE}\n", *map(_theory, packages)])


def errors_page() -> str:
    """Return the page of the error tree."""
    return f"# Errors\n\n{NOTICE}\n\n```text\n{inspect.cleandoc(errors.__doc__ or '')}\n```\n"


def settings_page() -> str:
    """Return the page of every setting: its environment variable, its default and what it means."""
    meanings = inspect.cleandoc(Settings.__doc__ or "")
    rows = [
        (f"`{field.name}`", f"`{PREFIX}{field.name.upper()}`", f"`{field.default!r}`")
        for field in msgspec.structs.fields(Settings)
    ]
    table = tabulate(rows, headers=("in the file", "in the environment", "default"), tablefmt="github")
    rules = inspect.cleandoc(config.__doc__ or "")
    return f"# Settings\n\n{NOTICE}\n\n```text\n{rules}\n```\n\n{table}\n\n{meanings}\n"


def _result(name: str) -> dict[str, Any] | None:
    """Return what a benchmark measured, None where it was not measured or does not hold: README claims nothing then."""
    file = RESULTS / f"{name}.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found if found.get("verdict") == "holds" else None


def _reading(figures: dict[str, Any]) -> Iterator[str]:
    read = f"{figures['exchanges']:,} requests of recorded Claude Code sessions ({figures['megabytes']} MB)"
    times = f"{figures['times_ccusage']} times what ccusage takes for the same files"
    yield f"* {read} are read, metered and priced in {figures['median_s']['scrimp']} s: {times}."
    if "table" in figures:
        rows = f"{figures['table']['exchanges']:,} rows"
        yield f"* Their number, and each of the five token classes, equal the {rows} of the recorded request table."


def _starting(figures: dict[str, Any]) -> Iterator[str]:
    seconds = figures["median_cpu_s"]
    help_s, up_s = seconds["scrimp report --help"], seconds["scrimp up, until /healthz answers"]
    yield f"* `scrimp report --help` takes {help_s} s of CPU, `scrimp up` {up_s} s until it serves."


def _gateway(figures: dict[str, Any]) -> Iterator[str]:
    at_once = figures["connections"][1]
    costs = []
    for name in ("Scrimp", "nginx", "LiteLLM"):
        cpu_ms = figures.get(name, {}).get("cpu_ms")
        if cpu_ms:
            mark = " (another run)" if any(key.startswith("from another run") for key in figures[name]) else ""
            costs.append(f"{name}{mark} {cpu_ms['2k'][1]} and {cpu_ms['200k_stream'][1]} ms")
    what = f"2 KB, and of 200 KB with a streamed answer, {at_once} at once"
    yield f"* CPU per request of {what}: {', '.join(costs)}; Scrimp with its ledger on."
    ours = figures["Scrimp"]
    added = ours["added_p50_ms"]
    yield f"* Added to the median answer, one at a time: {added['2k'][0]} ms and {added['200k_stream'][0]} ms."
    worst = max(turn["cpu_ms"] for turn in ours["loop_blocked_by_1_mb"].values())
    idle_mb = ours["rss_mb"]["idle"]
    yield f"* A body of 1 MB keeps others waiting for {worst} ms; an idle gateway takes {idle_mb:.0f} MB of memory."


def _policies(figures: dict[str, Any]) -> Iterator[str]:
    told, over = figures["fidelity"], figures["over_optimum"]
    off, median = f"{told['total_ratio'] - 1:+.1%}", f"{told['median_session_error']:.2%} in the median session"
    exact = f"{told['tool_turn_reads_exact']:.1%} of the cache reads of tool turns are exact"
    yield f"* `scrimp replay` predicts their recorded bills within {off} in all and {median}; {exact}."
    names = {"scrimp-safe": "safe mode", "automatic": "automatic caching", "5m": "5m marks", "1h": "1h marks"}
    costs = [f"{words} {' / '.join(f'{each[name]:.3f}' for each in over.values())}" for name, words in names.items()]
    yield f"* Input cost over the clairvoyant optimum, reads at {' / '.join(over)} of base price: {', '.join(costs)}."
    single = list(figures["single_sessions"].values())
    dearer = " / ".join(f"{each['dearer']:.0%}" for each in single)
    worst = f"the worst {max(each['worst'] for each in single):.2f} times"
    yield f"* Accounts are guarded, sessions are not: {dearer} of them are dearer than automatic caching, {worst}."


def measured() -> str:
    """Return README's figures with the machine that they were taken on; nothing of a benchmark that does not hold."""
    parts = {"read_sessions": _reading, "policies": _policies, "startup": _starting, "gateway": _gateway}
    results = {name: found for name in parts if (found := _result(name)) is not None}
    if not results:
        return ""
    machines = {"{cpu}, {cores} cores, Python {python}".format(**each["machine"]): None for each in results.values()}
    lines = [line for name, found in results.items() for line in parts[name](found["figures"])]
    return "\n".join([f"Measured by `make bench` on {' and '.join(machines)}:", "", *lines, ""])


def readme_page() -> str:
    """Return README with its figures as they were measured last."""
    return MEASURED.sub(lambda _: measured(), README.read_text(encoding="utf-8"))


PAGES = {
    REFERENCE / "cli.md": command_page,
    REFERENCE / "errors.md": errors_page,
    REFERENCE / "rooms.md": rooms_page,
    REFERENCE / "settings.md": settings_page,
    README: readme_page,
}


def stale_pages() -> list[str]:
    """Return the pages that differ from what the code and the results say now."""

    def differs(page: Path) -> bool:
        return not page.is_file() or page.read_text(encoding="utf-8") != PAGES[page]()

    return [page.relative_to(ROOT).as_posix() for page in PAGES if differs(page)]


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; return the exit code."""
    if arguments == ["--check"]:
        stale = stale_pages()
        if stale:
            print(f"These pages are stale: {', '.join(stale)}. Run make docs.", file=sys.stderr)
        return bool(stale)
    for page, text in PAGES.items():
        page.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
