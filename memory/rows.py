"""What a policy may ask about the keys and values of a memory: each question a pass on the device, one figure a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pool import SlabPool
from .rope import Rope, turn, waves
from .types import TokenMeta

Figures = NDArray[np.float32]  # [n], one a row


class Rows(Protocol):
    """Figures about the rows of one camera, over all layers and heads together. Every call synchronises once."""

    def redundancy(self, recent: NDArray[np.bool_]) -> Figures:
        """
        The mean cosine of each row's key with the keys of its cell in the `recent` rows [n], before rotation.

        A cell without a recent row is compared with its newest one. Rows without a cell get 0.
        """
        ...

    def similarity(self, other: NDArray[np.int64]) -> Figures:
        """The mean cosine of each row's key with that of the row `other[i]`, before rotation; -1 where that is -1."""
        ...

    def value_norm(self) -> Figures:
        """The mean 2-norm of each row's values."""
        ...


class SlabRows:
    """The first len(meta) rows of a slab. Works layer by layer: a pass needs little memory beside the slab's."""

    def __init__(self, pool: SlabPool, slab: int, meta: TokenMeta, rope: Rope) -> None:
        self._pool = pool
        self._slab = slab
        self._meta = meta
        self._rope = rope
        self._device = pool.shape.device

    def redundancy(self, recent: NDArray[np.bool_]) -> Figures:
        meta = self._meta
        if not (meta.cell >= 0).any():
            return np.zeros(len(meta), np.float32)
        cells = int(meta.cell.max()) + 1
        shown = np.zeros(cells, np.bool_)
        shown[meta.cell[recent & (meta.cell >= 0)]] = True
        witness = np.flatnonzero(np.where(shown[meta.cell], recent, newest_of_cell(meta)) & (meta.cell >= 0))
        counts = np.bincount(meta.cell[witness], minlength=cells).clip(min=1)
        rows, at, cell = (self._put(part) for part in (witness, meta.cell[witness], meta.cell.clip(min=0)))
        share = self._put(1.0 / counts).float()[:, None]
        total = torch.zeros(len(meta), device=self._device)
        for unit in self._units():  # [heads, n, head_dim]
            # the mean of cosines with many is the product with the mean of their unit vectors
            mean = unit.new_zeros(unit.shape[0], cells, unit.shape[2]).index_add_(1, at, unit[:, rows]) * share
            total += (unit * mean[:, cell]).sum(dim=-1).mean(dim=0)
        return np.where(meta.cell >= 0, self._fetch(total), np.float32(0)).astype(np.float32)

    def similarity(self, other: NDArray[np.int64]) -> Figures:
        total = torch.zeros(len(self._meta), device=self._device)
        rows = self._put(other.clip(min=0))
        for unit in self._units():
            total += (unit * unit[:, rows]).sum(dim=-1).mean(dim=0)
        return np.where(other >= 0, self._fetch(total), np.float32(-1)).astype(np.float32)

    def value_norm(self) -> Figures:
        total = torch.zeros(len(self._meta), device=self._device)
        for layer in range(self._pool.shape.layers):
            _, values = self._pool.layer(self._slab, layer, len(self._meta))
            total += torch.linalg.vector_norm(values, dim=-1, dtype=torch.float32).mean(dim=0)
        return self._fetch(total)

    def _units(self) -> Iterator[Tensor]:
        """Unit vectors of each layer's keys before rotation, float32 [kv_heads, n, head_dim]."""
        back = waves(-self._rope.angle(self._put(self._meta.pos)))
        for layer in range(self._pool.shape.layers):
            keys, _ = self._pool.layer(self._slab, layer, len(self._meta))
            yield torch.nn.functional.normalize(turn(keys, back), dim=-1)

    def _put(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _fetch(self, total: Tensor) -> Figures:
        return np.asarray((total / self._pool.shape.layers).cpu().numpy(), np.float32)


def newest_of_cell(meta: TokenMeta) -> NDArray[np.bool_]:
    """
    The last row of every cell, as bool [n].

    Where tokens are dropped that did not change, this is what the camera shows in that cell now, however old it is.
    """
    newest = np.zeros(len(meta), np.bool_)
    rows = np.flatnonzero(meta.cell >= 0)
    _, last = np.unique(meta.cell[rows][::-1], return_index=True)
    newest[rows[len(rows) - 1 - last]] = True
    return newest


def next_of_cell(meta: TokenMeta) -> NDArray[np.int64]:
    """int64 [n]: the next newer row of the same cell, -1 where there is none."""
    following = np.full(len(meta), -1, np.int64)
    rows = np.flatnonzero(meta.cell >= 0)
    order = rows[np.argsort(meta.cell[rows], kind="stable")]
    same = meta.cell[order[1:]] == meta.cell[order[:-1]]
    following[order[:-1][same]] = order[1:][same]
    return following
