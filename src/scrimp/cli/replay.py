"""`scrimp replay`: what recorded sessions would have cost under each policy, beside the clairvoyant optimum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scrimp.cli.bars import watched
from scrimp.money import NANO_PER_USD

if TYPE_CHECKING:
    from scrimp.core.wire.prices import PriceBook
    from scrimp.replay.compare import Comparison, Dearer, PolicySum
    from scrimp.replay.fidelity import Fidelity
    from scrimp.replay.gather import Material

#: Those of `scrimp.replay.policies`, which is slow to import here.
POLICIES = ("none", "automatic", "5m", "1h", "as-recorded", "scrimp-safe")
#: Fewer accounts than this show no progress bar.
ACCOUNTS_WORTH_A_BAR = 4
_PICO_PER_NANO = 1_000


class Names(click.ParamType[tuple[str, ...]]):
    """Names of policies with commas between."""

    name = "name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split and check the names."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        unknown = [name for name in names if name not in POLICIES]
        if unknown or not names:
            self.fail(f"{', '.join(unknown) or value!r} is no policy; there are {', '.join(POLICIES)}.", param, ctx)
        return names


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("--db", help="Read this ledger instead: a file, or sqlite:///PATH.")
@click.option("--policy", "policies", type=Names(), default=POLICIES, help="Only these policies, commas between.")
@click.option("--as-model", "model", help="Price everything as this model, at its latest prices.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Accounts replayed at once.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--html", "html", type=click.Path(dir_okay=False), help="Write a page with a chart; .svg: the chart alone."
)
def command(
    paths: tuple[str, ...],
    db: str | None,
    policies: tuple[str, ...],
    model: str | None,
    jobs: int,
    *,
    as_json: bool,
    html: str | None,
) -> None:
    """Replay recorded sessions under each caching policy.

    PATH is a file or folder of Claude Code sessions (.jsonl, .jsonl.gz), an export of scrimp, OpenTelemetry GenAI spans
    or a Mooncake trace. Without PATH and --db, your own ~/.claude/projects is read. Costs are list prices.
    """
    from scrimp.cli.report import to_replay
    from scrimp.upstream.pricefeed import describe_book, load_current_book

    book = load_current_book()
    _check_model(book, model)
    material = to_replay(paths, db)
    _check_any(material)
    comparison = _replay(material, policies, book, model, jobs)
    fidelity = _fidelity(material, book)
    if html is not None:
        _write_page(html, comparison, material, fidelity, describe_book())
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(as_object(comparison, material, fidelity, model)))
    else:
        from scrimp.cli.replay_text import as_text

        click.echo(as_text(comparison, material, fidelity, _basis(model, describe_book())))


def _basis(model: str | None, book: str) -> str:
    return book if model is None else f"{book} of {model}"


def _check_model(book: PriceBook, model: str | None) -> None:
    from scrimp.errors import UsageError

    if model is not None and book.find(model) is None:
        raise UsageError(f"There is no price for {model}.", "See `scrimp prices list` for the models that have one.")


def _check_any(material: Material) -> None:
    from scrimp.errors import TraceFormatError

    if not any(material.accounts.values()):
        raise TraceFormatError("Nothing in there says what a request used.", "Give recorded sessions.")


def _replay(material: Material, policies: Sequence[str], book: PriceBook, model: str | None, jobs: int) -> Comparison:
    from scrimp.replay.compare import Task, compared, replayed
    from scrimp.replay.spread import spread

    tasks = [Task(name, steps, tuple(policies), book, model) for name, steps in material.accounts.items() if steps]
    outcomes = watched(spread(replayed, tasks, jobs), len(tasks), "Replaying", ACCOUNTS_WORTH_A_BAR)
    return compared(list(outcomes), policies)


def _fidelity(material: Material, book: PriceBook) -> Fidelity | None:
    """Score the prediction of recorded bills, where there are any."""
    from scrimp.replay.fidelity import fidelity
    from scrimp.replay.rates import Rates

    recorded = {exchange.exchange_id for exchange in material.exchanges}
    accounts = {name: steps for name, steps in material.accounts.items() if steps[0].exchange_id in recorded}
    return fidelity(accounts, material.exchanges, material.links, Rates(book)) if accounts else None


def _write_page(path: str, comparison: Comparison, material: Material, fidelity: Fidelity | None, basis: str) -> None:
    from scrimp.cli.replay_text import as_text
    from scrimp.errors import UsageError
    from scrimp.replay.chart import page, svg

    is_chart = path.endswith(".svg")
    text = svg(comparison) + "\n" if is_chart else page(comparison, as_text(comparison, material, fidelity, basis))
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Give another file.") from error


# --- one JSON object ---


def _usd(pico_usd: int) -> float:
    return pico_usd / _PICO_PER_NANO / NANO_PER_USD


def as_object(
    comparison: Comparison, material: Material, fidelity: Fidelity | None, model: str | None
) -> dict[str, Any]:
    """Return what `--json` prints; the first five keys are a promise (docs/reference)."""
    from scrimp.upstream.pricefeed import describe_book

    return {
        "exchanges": comparison.exchanges,
        "sessions": comparison.sessions,
        "policies": {name: _policy(each, comparison) for name, each in comparison.policies.items()},
        "optimum": {"lossless_usd": _usd(comparison.optimum_pico_usd), "pruned_usd": None},
        "fidelity": fidelity,
        "accounts": len(material.accounts),
        "as_model": model,
        "cost_basis": describe_book(),
        "unpriced_exchanges": comparison.unpriced,
        "files": material.files,
        "problems": [str(problem) for problem in material.problems],
    }


def _policy(policy: PolicySum, comparison: Comparison) -> dict[str, Any]:
    return {
        "cost_usd": _usd(policy.input_pico_usd + comparison.output_pico_usd),
        "input_cost_usd": _usd(policy.input_pico_usd),
        "regret": policy.regret,
        "causes": {cause: _usd(amount) for cause, amount in policy.causes.items()},
        "sessions_beside_automatic": _sessions(policy.sessions),
    }


def _sessions(dearer: Dearer | None) -> dict[str, float] | None:
    if dearer is None:
        return None
    return {"dearer": dearer.dearer, "dearer_by_a_tenth": dearer.by_a_tenth, "worst": dearer.worst}
