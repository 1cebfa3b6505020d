"""Curves as inline SVG for a report: nothing is fetched, colours follow the page."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 34
COLOURS = ("var(--accent)", "var(--good)", "var(--bad)", "var(--soft)")
MOST_POINTS = 240
"""Points of a line; of more, means of neighbours are drawn."""

Line = Sequence[tuple[float, float]]


def chart(lines: Mapping[str, Line], *, across: str, up: str) -> str:
    """Return a chart of named lines of (x, y) points, x rising; `across` and `up` say what the axes are. Points that are not finite are left out."""
    kept = {name: _thinned([point for point in line if np.isfinite(point).all()]) for name, line in lines.items()}
    kept = {name: line for name, line in kept.items() if line}
    if not kept:
        return ""
    points = np.asarray([point for line in kept.values() for point in line])
    (left, low), (right, high) = points.min(axis=0), points.max(axis=0)
    spans = right - left or 1.0, high - low or 1.0

    def place(x: float, y: float) -> str:
        return f"{LEFT + (x - left) / spans[0] * (WIDTH - LEFT - RIGHT):.1f},{HEIGHT - BOTTOM - (y - low) / spans[1] * (HEIGHT - TOP - BOTTOM):.1f}"

    drawn = [_axes(left, right, low, high, across=across, up=up)]
    for (name, line), colour in zip(kept.items(), COLOURS * len(kept), strict=False):
        way = " ".join(place(x, y) for x, y in line)
        drawn.append(f'<polyline points="{way}" style="fill:none;stroke:{colour};stroke-width:1.6"><title>{escape(name)}</title></polyline>')
    legend = "".join(f'<span style="color:{colour}">■ {escape(name)}</span> ' for name, colour in zip(kept, COLOURS * len(kept), strict=False))
    return f'<figure class="chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(drawn)}</svg><figcaption>{legend}</figcaption></figure>'


def _axes(left: float, right: float, low: float, high: float, *, across: str, up: str) -> str:
    text = 'style="fill:var(--soft);font-size:11px"'
    foot = HEIGHT - BOTTOM
    return (
        f'<path d="M{LEFT},{TOP}V{foot}H{WIDTH - RIGHT}" style="fill:none;stroke:var(--line)"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 9}" text-anchor="end" {text}>{_short(high)}</text>'
        f'<text x="{LEFT - 6}" y="{foot}" text-anchor="end" {text}>{_short(low)}</text>'
        f'<text x="{LEFT}" y="{foot + 14}" {text}>{_short(left)}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{foot + 14}" text-anchor="end" {text}>{_short(right)}</text>'
        f'<text x="{(LEFT + WIDTH) / 2}" y="{foot + 28}" text-anchor="middle" {text}>{escape(across)}</text>'
        f'<text x="14" y="{(TOP + foot) / 2}" text-anchor="middle" transform="rotate(-90 14 {(TOP + foot) / 2})" {text}>{escape(up)}</text>'
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _thinned(line: Line) -> list[tuple[float, float]]:
    """Return a line of at most `MOST_POINTS`, each the mean of its neighbours."""
    if len(line) <= MOST_POINTS:
        return [(float(x), float(y)) for x, y in line]
    return [(float(part[:, 0].mean()), float(part[:, 1].mean())) for part in np.array_split(np.asarray(line), MOST_POINTS)]
