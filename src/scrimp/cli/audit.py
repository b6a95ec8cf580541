"""`scrimp audit`: breaks of the cache and other pitfalls, each with its place, its cause, its cost and its fix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from scrimp.cli.bars import watched
from scrimp.money import NANO_PER_USD, in_usd

if TYPE_CHECKING:
    from scrimp.replay.audit import Audit, Finding, Group
    from scrimp.replay.gather import Material

#: Groups shown when --top is not given.
GROUPS = 20
#: Fewer accounts than this show no progress bar.
ACCOUNTS_WORTH_A_BAR = 20


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("--db", help="Read this ledger instead: a file, or sqlite:///PATH.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--top", type=click.IntRange(min=1), help=f"Only the dearest (groups shown: {GROUPS} unless given).")
@click.option(
    "--fail-over", type=click.FloatRange(min=0), metavar="USD", help="Exit with 1 if all cost more than this."
)
def command(paths: tuple[str, ...], db: str | None, *, as_json: bool, top: int | None, fail_over: float | None) -> None:
    """Show cache breaks and pitfalls, the dearest first, each with its fix.

    PATH is a file or folder of Claude Code sessions (.jsonl, .jsonl.gz), an export of scrimp, or OpenTelemetry GenAI
    spans. Without PATH and --db, your own ~/.claude/projects is read. Costs are list prices.
    """
    from scrimp.cli.report import to_replay

    material = to_replay(paths, db)

    from scrimp.replay.audit import audit
    from scrimp.replay.rates import Rates
    from scrimp.upstream.pricefeed import describe_book, load_current_book

    found = audit(material.accounts, material.exchanges, Rates(load_current_book()), _accounts_bar)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(as_object(found, material, top)))
    else:
        from scrimp.cli.audit_text import as_text

        click.echo(as_text(found, material.problems, top or GROUPS, describe_book()))
    if fail_over is not None and found.cost_nano_usd > fail_over * NANO_PER_USD:
        raise click.exceptions.Exit(1)


def _accounts_bar(names: list[str]) -> Iterator[str]:
    return watched(names, len(names), "Auditing", ACCOUNTS_WORTH_A_BAR)


# --- one JSON object ---


def as_object(found: Audit, material: Material, top: int | None = None) -> dict[str, Any]:
    """Return what `--json` prints; the first two keys and the findings' first eight are a promise (docs/reference)."""
    from scrimp.upstream.pricefeed import describe_book

    return {
        "findings": [_finding(each) for each in found.findings[:top]],
        "cost_usd": in_usd(found.cost_nano_usd),
        "groups": [_group(each) for each in found.groups[:top]],
        "exchanges": found.exchanges,
        "sessions": found.sessions,
        "input_cost_usd": in_usd(found.input_nano_usd),
        "cost_nano_usd": found.cost_nano_usd,
        "cost_basis": describe_book(),
        "files": material.files,
        "problems": [str(problem) for problem in material.problems],
    }


def _finding(each: Finding) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "cause": each.cause,
        "session": each.session_id,
        "exchange": each.exchange_id,
        "block": each.block,
        "byte": each.byte,
        "cost_usd": in_usd(each.cost_nano_usd),
        "fix": each.fix,
        "reason": each.reason,
        "tokens": each.tokens,
        "at_ms": each.at_ms,
        "gap_ms": each.gap_ms,
        "hold_cost_usd": in_usd(each.hold_nano_usd),
    }


def _group(each: Group) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "cause": each.cause,
        "count": each.count,
        "sessions": each.sessions,
        "tokens": each.tokens,
        "cost_usd": in_usd(each.cost_nano_usd),
        "hold_cost_usd": in_usd(each.hold_nano_usd) if each.hold_nano_usd else None,
        "dearest": each.dearest.exchange_id,
        "fix": each.dearest.fix,
    }
