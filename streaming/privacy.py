"""
Privacy masks: parts of a picture that nobody may see, painted over as soon as it is decoded.

What is painted is gone for everyone behind: gate, encoder, memory, previews and evidence. Rather a pixel too much is
hidden than one too little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .types import Image, Polygon

GREY = 128


class Privacy:
    """
    Paints over the parts of one camera's pictures that its masks touch.

    The picture's size decides which pixels those are; they are worked out once a size and kept as rectangles, so that a
    picture costs some slices. One thread at a time.
    """

    def __init__(self, masks: Sequence[Polygon]) -> None:
        self._masks = tuple(masks)
        self._size: tuple[int, int] | None = None
        self._rectangles: list[tuple[slice, slice]] = []

    def paint(self, image: Image) -> Image:
        """The picture with a flat grey in place of what is masked: the same array, or a copy where it is read-only."""
        if not self._masks:
            return image
        size = image.shape[0], image.shape[1]
        if size != self._size:
            self._rectangles = rectangles(covered(self._masks, size))
            self._size = size
        painted = image if image.flags.writeable else image.copy()
        for rows, columns in self._rectangles:
            painted[rows, columns] = GREY
        return painted


def covered(polygons: Sequence[Polygon], size: tuple[int, int]) -> NDArray[np.bool_]:
    """
    The pixels [height, width] that a polygon touches, with at most one more around its edge.

    Whatever its edges wind around is inside, also where they cross: a star has no hole.
    """
    height, width = size
    found = np.zeros(size, np.bool_)
    for polygon in polygons:
        x, y = np.array(polygon, np.float64).T * np.array([[width], [height]])
        edges = list(zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True))
        found |= _wound(edges, size)
        for edge in edges:
            _trace(found, edge)
    return found


def rectangles(mask: NDArray[np.bool_]) -> list[tuple[slice, slice]]:
    """The True pixels of a mask [height, width] as slices of rows and columns that do not overlap."""
    if not mask.any():
        return []
    height = mask.shape[0]
    starts = [0, *(np.flatnonzero((mask[1:] != mask[:-1]).any(axis=1)) + 1)]  # rows that differ from the one above
    found = []
    for top, bottom in zip(starts, [*starts[1:], height], strict=True):
        steps = np.diff(mask[top].astype(np.int8), prepend=0, append=0)
        for left, right in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
            found.append((slice(int(top), int(bottom)), slice(int(left), int(right))))
    return found


Edge = tuple[float, float, float, float]  # from (x, y) to (x, y), in pixels


def _wound(edges: Sequence[Edge], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels around whose centre the edges wind: along each row, their crossings added up from the left."""
    height, width = size
    turns = np.zeros((height, width + 1), np.int32)
    for x0, y0, x1, y1 in edges:
        top, bottom = sorted((y0, y1))
        rows = np.arange(max(0, int(np.ceil(top - 0.5))), min(height, int(np.ceil(bottom - 0.5))))
        if not len(rows):
            continue
        crossing = x0 + (rows + 0.5 - y0) / (y1 - y0) * (x1 - x0)
        columns = np.ceil(crossing - 0.5).clip(0, width).astype(np.int64)
        turns[rows, columns] += 1 if y1 > y0 else -1  # a row once an edge: nothing is added twice to one place
    winding = np.cumsum(turns, axis=1)[:, :width]
    return winding.astype(np.bool_)


def _trace(found: NDArray[np.bool_], edge: Edge) -> None:
    """Mark the pixels that an edge passes, and their neighbours: points on it at most half a pixel apart."""
    height, width = found.shape
    x0, y0, x1, y1 = edge
    along = np.linspace(0.0, 1.0, 2 + int(2 * np.hypot(x1 - x0, y1 - y0)))
    rows, columns = (y0 + along * (y1 - y0)).astype(np.int64), (x0 + along * (x1 - x0)).astype(np.int64)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            found[(rows + down).clip(0, height - 1), (columns + right).clip(0, width - 1)] = True
