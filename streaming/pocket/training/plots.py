"""What a training log says, as a picture: the loss, and the share of right answers by kind, over minutes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP = 560, 260, 48, 34
_COLOURS = (
    "#2563a8",
    "#c4571b",
    "#3d7f4b",
    "#7b4ea3",
    "#8a6d1f",
    "#a83254",
    "#4d6670",
    "#0f8b8d",
    "#b5651d",
    "#555555",
)
_STYLE = "text{font:11px system-ui,sans-serif;fill:#57606a}.title{font-size:14px;fill:#24292f}.grid{stroke:#d8dee4}"
_LOSSES = ("loss", "told")

Series = Mapping[str, Sequence[tuple[float, float]]]  # name to (minutes, value)


def plot(log: Path) -> Path:
    """
    Draw `log`, a stage's lines of JSON, beside it as SVG, and return that file.

    Raises: OSError. ValueError: the log is empty or no log.
    """
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    if not lines:
        raise ValueError(f"{log} holds no line yet")
    series: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("step", "minutes"):
                series.setdefault(name, []).append((line["minutes"], value))
    losses = {name: points for name, points in series.items() if name in _LOSSES}
    shares = {name: points for name, points in series.items() if name not in _LOSSES}
    height = 2 * (_HEIGHT + 2 * _TOP)
    legend = 16 * len(shares) + 2 * _TOP
    body = [
        _panel(f"{log.stem}: loss", losses, 0, top=max(value for one in losses.values() for _, value in one)),
        _panel(f"{log.stem}: share right, by kind", shares, _HEIGHT + 2 * _TOP, top=1.0),
    ]
    width = _WIDTH + 2 * _LEFT + 150
    drawn = log.with_suffix(".svg")
    drawn.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {max(height, legend)}" width="{width}">'
        f'<style>{_STYLE}</style><rect width="{width}" height="{max(height, legend)}" fill="#ffffff"/>'
        f"{''.join(body)}</svg>\n",
        encoding="utf-8",
    )
    return drawn


def _panel(title: str, series: Series, y0: float, *, top: float) -> str:
    last = max(minutes for points in series.values() for minutes, _ in points) or 1.0
    parts = [f'<g transform="translate({_LEFT} {y0 + _TOP})"><text class="title" x="0" y="-12">{escape(title)}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _HEIGHT * (1 - share)
        parts.append(f'<line class="grid" x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="-8" y="{y + 4}" text-anchor="end">{share * top:.2f}</text>')
        parts.append(
            f'<text x="{share * _WIDTH}" y="{_HEIGHT + 16}" text-anchor="middle">{share * last:.0f} min</text>'
        )
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        dash = f' stroke-dasharray="{3 + number // len(_COLOURS)} 2"' if number >= len(_COLOURS) else ""
        at = " ".join(f"{_WIDTH * x / last:.1f},{_HEIGHT * (1 - min(1.0, y / top)):.1f}" for x, y in points)
        parts.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.4"{dash}/>')
        y = 13.0 * number
        parts.append(f'<line x1="{_WIDTH + 14}" x2="{_WIDTH + 34}" y1="{y}" y2="{y}" stroke="{colour}"{dash}/>')
        parts.append(f'<text x="{_WIDTH + 40}" y="{y + 4}">{escape(name)}</text>')
    return "".join([*parts, "</g>"])
