"""
What a vision encoder remembers of one camera's picture, so that only the cells that changed go through it again.

Of every layer that sees whole pictures the keys and values of all patches, and what came out for every cell. A portion
replaces its own and sees the rest as it was: exact where nothing else would have changed, else an approximation, that
of Eventful Transformers and STC-Cacher. A picture that is encoded whole makes all of it fresh.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memory.kernels.base import Portion
from memory.pool import SlabPool

from .base import Encoded
from .patches import PatchGrid


class Canvas:
    """One camera's slab, and the output. Owned by the engine's thread."""

    def __init__(self, pool: SlabPool) -> None:
        """Raises: PoolExhausted."""
        self._pool = pool
        self._slab: int | None = pool.take()
        self._shown: Encoded | None = None

    @property
    def pool(self) -> SlabPool:
        return self._pool

    @property
    def hw(self) -> tuple[int, int] | None:
        """The grid of the picture that is held whole; None where there is none."""
        return None if self._shown is None else self._shown.hw

    def fits(self, hw: tuple[int, int], merge: int) -> bool:
        """Whether there is room for a grid: a side is at least one cell, so long pictures exceed the area asked for."""
        return hw[0] * hw[1] * merge**2 <= self._pool.rows

    def wipe(self) -> None:
        """Forget the picture: the next one must be whole."""
        self._shown = None

    def portion(self, grid: PatchGrid, merge: int) -> Portion:
        """Where the patches of a grid lie in the picture. The grid is whole, or of the picture that is held."""
        assert self._slab is not None, "a closed canvas was used"
        assert grid.cells is None or self.hw == grid.hw, "a portion of a picture that is not held"
        h, w = grid.hw
        return Portion(self._slab, patch_rows(grid, merge), h * w * merge**2)

    def paint(self, grid: PatchGrid, embeds: Tensor, deepstack: Sequence[Tensor]) -> Encoded:
        """
        Put what came out for a grid's cells [n, hidden] to the rest. Returns: the whole picture, good until the next
        call. Mutates device memory.
        """
        if grid.cells is None or self._shown is None:
            self._shown = Encoded(embeds.clone(), tuple(layer.clone() for layer in deepstack), grid.hw)
            return self._shown
        cells = torch.from_numpy(grid.cells).to(embeds.device, non_blocking=True)
        for whole, part in zip((self._shown.embeds, *self._shown.deepstack), (embeds, *deepstack), strict=True):
            whole.index_copy_(0, cells, part)
        return self._shown

    def close(self) -> None:
        """Give the slab back."""
        assert self._slab is not None, "a canvas was closed twice"
        self._pool.give(self._slab)
        self._slab = self._shown = None


def patch_rows(grid: PatchGrid, merge: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The rows of a grid's patches in the whole picture, int64 [patches], in the order in which they are given."""
    cells = np.arange(grid.hw[0] * grid.hw[1]) if grid.cells is None else grid.cells
    return (cells[:, None] * merge**2 + np.arange(merge**2)).ravel()
