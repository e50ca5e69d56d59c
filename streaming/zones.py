"""Polygons on a picture as cells of its grid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .types import Polygon

SAMPLES = 4  # points across a cell that are looked at


@lru_cache(maxsize=4096)  # a rule may have one of its own
def cells_in(zones: tuple[Polygon, ...], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The cells [h * w] of a grid that a zone touches, row-major; not to be written to. A zone always has some."""
    h, w = hw
    y, x = np.meshgrid(_points(h), _points(w), indexing="ij")
    inside = np.zeros(x.shape, np.bool_)
    touched = np.zeros((h, w), np.bool_)
    for zone in zones:
        inside |= _contains(zone, x, y)
        for corner_x, corner_y in zone:  # a zone smaller than the distance of two points lies around its corners
            touched[min(h - 1, int(corner_y * h)), min(w - 1, int(corner_x * w))] = True
    touched |= inside.reshape(h, SAMPLES, w, SAMPLES).any(axis=(1, 3))
    cells = touched.reshape(-1)
    cells.flags.writeable = False
    return cells


def _points(cells: int) -> NDArray[np.float64]:
    return (np.arange(cells * SAMPLES) + 0.5) / (cells * SAMPLES)


def _contains(zone: Polygon, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie in the polygon: those from which a ray to the right crosses its edges an odd number of times."""
    inside = np.zeros(x.shape, np.bool_)
    for (x0, y0), (x1, y1) in zip(zone, [*zone[1:], zone[0]], strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside
