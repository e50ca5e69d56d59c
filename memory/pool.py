"""
A fixed pool of equal slabs, each the KV rows of one camera or of one question, handed out and taken back.

Slabs are counted by their readers: a fork reads its camera's slab, so a camera that must rewrite its rows while a fork
lives moves to a fresh slab, and the old one returns with its last reader.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import IntegrityError, PoolExhausted
from .types import KVShape, Pair


class SlabPool:
    """
    `slabs` slabs of `rows` rows. Allocates all device memory at once and never again.

    keys, values: [slabs, layers, kv_heads, rows, head_dim]; rows that nobody wrote are never read.
    pin: page-lock them, for host memory that a GPU copies from and to.
    """

    def __init__(self, shape: KVShape, *, slabs: int, rows: int, pin: bool = False) -> None:
        size = (slabs, shape.layers, shape.kv_heads, rows, shape.head_dim)
        self.shape = shape
        self.rows = rows
        # zeros, not empty: the pages are there from the start, so that memory is short now or never
        self.keys: Tensor = torch.zeros(size, dtype=shape.dtype, device=shape.device, pin_memory=pin)
        self.values: Tensor = torch.zeros(size, dtype=shape.dtype, device=shape.device, pin_memory=pin)
        self._readers = [0] * slabs
        self._free = list(range(slabs))[::-1]

    @property
    def total(self) -> int:
        return len(self._readers)

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def used(self) -> int:
        return sum(1 for readers in self._readers if readers)

    @property
    def slab_bytes(self) -> int:
        return self.rows * self.shape.row_bytes

    def take(self) -> int:
        """The number of a free slab, with one reader. Raises: PoolExhausted."""
        if not self._free:
            raise PoolExhausted(self.total)
        slab = self._free.pop()
        self._readers[slab] = 1
        return slab

    def share(self, slab: int) -> None:
        """Count one reader more."""
        assert self._readers[slab] > 0, "a free slab cannot be shared"
        self._readers[slab] += 1

    def give(self, slab: int) -> None:
        """Count one reader less; the last one frees the slab."""
        assert self._readers[slab] > 0, "a slab was given back twice"
        self._readers[slab] -= 1
        if self._readers[slab] == 0:
            self._free.append(slab)

    def readers(self, slab: int) -> int:
        return self._readers[slab]

    def layer(self, slab: int, layer: int, rows: int) -> Pair:
        """The first `rows` rows of a layer as views [kv_heads, rows, head_dim]."""
        return self.keys[slab, layer, :, :rows], self.values[slab, layer, :, :rows]

    def write(self, slab: int, layer: int, start: int, keys: Tensor, values: Tensor) -> None:
        """Put keys and values [kv_heads, n, head_dim] into the rows from `start`. Does not synchronise."""
        stop = start + keys.shape[1]
        assert stop <= self.rows, "rows beyond the slab"
        self.keys[slab, layer, :, start:stop] = keys
        self.values[slab, layer, :, start:stop] = values

    def check(self) -> None:
        """Prove that free + used == total and that no slab is both. Raises: IntegrityError."""
        if self.free + self.used != self.total:
            raise IntegrityError(f"{self.free} free + {self.used} used slabs are not {self.total}")
        if len(set(self._free)) != len(self._free) or any(self._readers[slab] for slab in self._free):
            raise IntegrityError("a slab is free twice, or free and read")
