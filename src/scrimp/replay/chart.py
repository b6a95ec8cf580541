"""What replay found out, as a chart: cost by policy against the optimum, and regret by cause. Plain SVG, no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from scrimp.core.wire.prices import nano_usd
from scrimp.money import dollars
from scrimp.replay.compare import Comparison
from scrimp.replay.regret import CAUSES, Cause

#: Cause -> colour and words; colours after Okabe and Ito, which the colour-blind can tell apart.
LEGEND: dict[Cause, tuple[str, str]] = {
    "expired": ("#d55e00", "lifetime over, written again"),
    "in_flight": ("#882255", "writer had not begun to answer"),
    "look_back": ("#cc79a7", "beyond the look-back"),
    "no_mark": ("#999999", "no mark where it was needed"),
    "too_short": ("#bbbbbb", "too short to be cached"),
    "hour_used": ("#0072b2", "price of an hour, used"),
    "hour_unused": ("#56b4e9", "price of an hour, unused"),
    "never_read": ("#e69f00", "marked, never read"),
    "plain": ("#117733", "new and left plain"),
    "pings_kept": ("#009e73", "pings that kept the cache"),
    "pings_wasted": ("#f0e442", "pings for nothing"),
}

_WIDTH, _LEFT, _BAR, _GAP, _RIGHT = 840, 120, 22, 12, 150
_PLOT = _WIDTH - _LEFT - _RIGHT
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
_LEGEND_COLUMNS, _LEGEND_ROW = 3, 20
#: Bars longer than this many times the optimum are cut, so that the others can be told apart.
_CUT = 2.0


class _Piece(NamedTuple):
    """A part of a bar: where it starts and ends, as multiples of the optimum."""

    start: float
    end: float
    colour: str
    words: str


def svg(comparison: Comparison, title: str = "Input cost by policy, against the clairvoyant optimum") -> str:
    """Return the chart: one bar a policy, as a multiple of the optimum, and what it pays beyond that by cause."""
    names = list(comparison.policies)
    shown = [cause for cause in LEGEND if any(p.causes.get(cause, 0) > 0 for p in comparison.policies.values())]
    bars_top = 56
    legend_top = bars_top + len(names) * (_BAR + _GAP) + 34
    height = legend_top + -(-(len(shown) + 1) // _LEGEND_COLUMNS) * _LEGEND_ROW + 12
    top = min(_CUT, max((p.regret or 1.0 for p in comparison.policies.values()), default=1.0) * 1.02)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_FONT}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="26" font-size="16" font-weight="600">{escape(title)}</text>',
        *_axis(top, bars_top, legend_top - 26),
    ]
    for row, name in enumerate(names):
        parts += _bar(comparison, name, bars_top + row * (_BAR + _GAP), top)
    parts += _legend([("#444444", "what the optimum pays"), *(LEGEND[cause] for cause in shown)], legend_top)
    return "\n".join([*parts, "</svg>"])


def _x(multiple: float, top: float) -> float:
    return _LEFT + _PLOT * min(multiple, top) / top


def _axis(top: float, start: int, end: int) -> Iterator[str]:
    """Yield a line at every quarter of the optimum, a heavier one at the optimum itself."""
    for quarter in range(int(top * 4) + 1):
        x = _x(quarter / 4, top)
        colour, width = ("#444444", 1.5) if quarter == 4 else ("#dddddd", 1)  # noqa: PLR2004 - four quarters
        yield f'<line x1="{x:.1f}" y1="{start - 6}" x2="{x:.1f}" y2="{end}" stroke="{colour}" stroke-width="{width}"/>'
        if quarter % 2 == 0:
            yield f'<text x="{x:.1f}" y="{end + 14}" text-anchor="middle" fill="#555555">{quarter / 4:g}×</text>'


def _pieces(comparison: Comparison, name: str) -> Iterator[_Piece]:
    """Yield the parts of a bar: what the optimum pays too, then each cause; together they end at the policy's cost."""
    optimum, policy = comparison.optimum_pico_usd, comparison.policies[name]
    regret = max(0, policy.input_pico_usd - optimum)
    paid = {cause: amount for cause, amount in policy.causes.items() if amount > 0 and cause in LEGEND}
    whole = sum(paid.values())
    start = min(policy.input_pico_usd, optimum) / optimum
    yield _Piece(0.0, start, "#444444", "what the optimum pays")
    for cause in CAUSES:
        if cause in paid and whole:
            end = start + regret * paid[cause] / whole / optimum
            yield _Piece(start, end, *LEGEND[cause])
            start = end


def _bar(comparison: Comparison, name: str, y: int, top: float) -> Iterator[str]:
    policy = comparison.policies[name]
    yield f'<text x="{_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
    if not comparison.optimum_pico_usd:
        return
    for piece in _pieces(comparison, name):
        left, right = _x(piece.start, top), _x(piece.end, top)
        if right > left:
            words = f"{piece.words}: {piece.end - piece.start:.3f}×"
            yield (
                f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{_BAR}" fill="{piece.colour}">'
                f"<title>{escape(words)}</title></rect>"
            )
    cut = " »" if (policy.regret or 0) > top else ""
    label = f"{policy.regret:.3f}×{cut}  {dollars(nano_usd(policy.input_pico_usd))}"
    yield f'<text x="{_x(policy.regret or 0, top) + 6:.1f}" y="{y + 16}">{escape(label)}</text>'


def _legend(entries: Sequence[tuple[str, str]], top: int) -> Iterator[str]:
    for index, (colour, words) in enumerate(entries):
        column, row = index % _LEGEND_COLUMNS, index // _LEGEND_COLUMNS
        x, y = 12 + column * (_WIDTH // _LEGEND_COLUMNS), top + row * _LEGEND_ROW
        yield f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="{y + 11}" fill="#333333">{escape(words)}</text>'


def page(comparison: Comparison, text: str) -> str:
    """Return a page that stands alone: the chart, and below it what the terminal shows."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>scrimp replay</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font-family:system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
        "pre{overflow-x:auto}svg{max-width:100%;height:auto}</style></head><body>"
        f"<h1>scrimp replay</h1>{svg(comparison)}<pre>{escape(text)}</pre></body></html>\n"
    )
