"""
The trade-off as a picture: accuracy against tokens kept, one panel a group of scenes, as SVG.

Written by hand, so that no plotting library is needed: a logarithmic x of shares, a linear y, lines through the points
of one family of settings in the order of their tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

COLUMNS: Final = 3
PANEL: Final = (250, 170)  # the plot inside its axes, px
MARGIN: Final = (56, 34, 18, 46)  # left, top, right, bottom of a panel
HEAD: Final = 66  # title and legend
PALETTE: Final = ("#2563a8", "#c4571b", "#3d7f4b", "#7b4ea3", "#8a6d1f", "#a83254", "#4d6670")
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.small{font-size:11px;fill:#57606a}"
    ".title{font-size:15px;font-weight:600}.panel{font-weight:600}.grid{stroke:#d8dee4}.axis{stroke:#8c959f}"
)


@dataclass(frozen=True, slots=True)
class Point:
    """One setting. family: whose line it is on. kept: above 0. accuracy: with its 95 % interval, all shares."""

    name: str
    family: str
    kept: float
    accuracy: float
    low: float
    high: float


def draw(panels: Mapping[str, Sequence[Point]], *, title: str) -> str:
    """The picture as SVG text. Raises: ValueError: there is no point at all."""
    points = [point for of_panel in panels.values() for point in of_panel]
    if not points:
        raise ValueError("there is nothing to draw")
    families = list(dict.fromkeys(point.family for point in points))
    colours = {family: PALETTE[i % len(PALETTE)] for i, family in enumerate(families)}
    x = _Axis(math.log10(_floor_decade(min(point.kept for point in points))), 0.0, PANEL[0])
    y = _Axis(math.floor(10 * min(point.low for point in points)) / 10, 1.0, PANEL[1])
    cell = (PANEL[0] + MARGIN[0] + MARGIN[2], PANEL[1] + MARGIN[1] + MARGIN[3])
    columns = min(COLUMNS, len(panels))
    width, height = columns * cell[0], HEAD + -(-len(panels) // COLUMNS) * cell[1]
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
        f'<text class="title" x="{MARGIN[0]}" y="26">{escape(title)}</text>',
        *_legend(colours),
    ]
    for number, (name, of_panel) in enumerate(panels.items()):
        left, top = (number % COLUMNS) * cell[0] + MARGIN[0], HEAD + (number // COLUMNS) * cell[1] + MARGIN[1]
        body += [f'<g transform="translate({left} {top})">', *_panel(name, of_panel, x, y, colours), "</g>"]
    return "\n".join([*body, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Axis:
    """From value to px."""

    low: float
    high: float
    length: int

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.length * min(1.0, max(0.0, share)), 1)


def _panel(name: str, points: Sequence[Point], x: _Axis, y: _Axis, colours: Mapping[str, str]) -> list[str]:
    out = [f'<text class="panel" x="0" y="-10">{escape(name)}</text>', *_axes(x, y)]
    for family, colour in colours.items():
        line = sorted((point for point in points if point.family == family), key=lambda point: point.kept)
        places = [(x.at(math.log10(point.kept)), PANEL[1] - y.at(point.accuracy)) for point in line]
        if len(places) > 1:
            path = " ".join(f"{px:g},{py:g}" for px, py in places)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        for point, (px, py) in zip(line, places, strict=True):
            low, high = PANEL[1] - y.at(point.low), PANEL[1] - y.at(point.high)
            told = f"{escape(point.name)}: {point.accuracy:.1%} at {point.kept:.1%} of the tokens"
            out += [
                f'<line x1="{px:g}" y1="{low:g}" x2="{px:g}" y2="{high:g}" stroke="{colour}" opacity="0.45"/>',
                f'<circle cx="{px:g}" cy="{py:g}" r="3.6" fill="{colour}"><title>{told}</title></circle>',
            ]
    return out


def _axes(x: _Axis, y: _Axis) -> list[str]:
    out = []
    for share in _decades(x.low):
        at = x.at(math.log10(share))
        out += [
            f'<line class="grid" x1="{at:g}" y1="0" x2="{at:g}" y2="{PANEL[1]}"/>',
            f'<text class="small" x="{at:g}" y="{PANEL[1] + 16}" text-anchor="middle">{100 * share:g} %</text>',
        ]
    steps = round((y.high - y.low) * 10)
    for i in range(0, steps + 1, 1 if steps <= 5 else 2):
        value = y.high - i / 10
        at = PANEL[1] - y.at(value)
        out += [
            f'<line class="grid" x1="0" y1="{at:g}" x2="{PANEL[0]}" y2="{at:g}"/>',
            f'<text class="small" x="-8" y="{at + 4:g}" text-anchor="end">{value:.0%}</text>',
        ]
    beside = f"translate(-42 {PANEL[1] / 2:g}) rotate(-90)"
    return [
        *out,
        f'<path class="axis" d="M0 0V{PANEL[1]}H{PANEL[0]}" fill="none"/>',
        f'<text class="small" x="{PANEL[0] / 2:g}" y="{PANEL[1] + 34}" text-anchor="middle">video tokens kept</text>',
        f'<text class="small" transform="{beside}" text-anchor="middle">accuracy</text>',
    ]


def _legend(colours: Mapping[str, str]) -> list[str]:
    out, at = [], MARGIN[0]
    for family, colour in colours.items():
        out += [
            f'<circle cx="{at + 5}" cy="46" r="4.5" fill="{colour}"/>',
            f'<text x="{at + 15}" y="50">{escape(family)}</text>',
        ]
        at += 34 + 7 * len(family)
    return out


def _floor_decade(share: float) -> float:
    """The next of 1, 2, 5 times a power of ten at or below, at most a half: a panel needs some width."""
    for step in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002):
        if share >= step:
            return step
    return 0.001


def _decades(low: float) -> list[float]:
    every = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    return [share for share in every if math.log10(share) >= low - 1e-9]
