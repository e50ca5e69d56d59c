"""Which cells of a picture go through the vision encoder again: those that changed, and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reuse:
    """
    How much of a picture is taken from the last time.

    ring: cells around a changed one that are encoded with it; they see its edge.
    most: share of a picture from which it is encoded whole: little is left to save then.
    refresh: after so many pictures' worth of cells were encoded in portions, the next picture is encoded whole, so that
        what stands still learns of what has moved; 0 leaves that to key frames.
    """

    ring: int = 2
    most: float = 0.6
    refresh: float = 1.0

    def __post_init__(self) -> None:
        if self.ring < 0:
            raise ValueError(f"ring: {self.ring} is negative")
        if not 0.0 <= self.most <= 1.0:
            raise ValueError(f"most: {self.most} is outside 0..1")
        if self.refresh < 0:
            raise ValueError(f"refresh: {self.refresh} is negative")

    def cells(
        self, changed: Mask, hw: tuple[int, int], windows: NDArray[np.int64], *, since: float
    ) -> NDArray[np.int64] | None:
        """
        The cells to encode, ascending; None for all of them.

        changed: bool [h * w]. windows: int64 [h * w]: cells of one number can only be encoded together.
        since: pictures' worth of cells encoded in portions since the last whole one.
        """
        if self.refresh and since >= self.refresh:
            return None
        wanted = grown(changed, hw, self.ring)
        wanted |= np.isin(windows, windows[wanted])
        if wanted.mean() > self.most:
            return None
        return np.flatnonzero(wanted).astype(np.int64)


def grown(mask: Mask, hw: tuple[int, int], ring: int) -> Mask:
    """A mask [h * w] with everything at most `ring` cells away, diagonally too."""
    grid = mask.reshape(hw)
    for _ in range(ring):
        padded = np.pad(grid, 1)
        across = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
        grid = across[:-2] | across[1:-1] | across[2:]
    return grid.ravel().copy()
