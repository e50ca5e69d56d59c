"""What attention over the rows of many memories is to the decoder: planned once a forward, run once a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.kv import Target
from memory.pool import SlabPool

from .seats import Seats


@dataclass(frozen=True, slots=True)
class Work:
    """
    New tokens of one camera or question, a stretch of the packed batch.

    blocks, after: lengths, and which earlier block each continues (see `forest`). A token sees its own block, causally,
        those that its block continues, and all that the target holds.
    """

    target: Target
    blocks: tuple[int, ...]
    after: tuple[int, ...] = ()

    def __len__(self) -> int:
        return sum(self.blocks)


@dataclass(frozen=True, slots=True)
class Portion:
    """
    Some patches of a picture whose other ones are held in a slab, a stretch of the packed batch.

    rows: int64 [n], their places in the picture. total: how many patches the whole picture has.
    """

    slab: int
    rows: NDArray[np.int64]
    total: int


class Batch(Protocol):
    """One forward's plan. Its layers run in order, each once."""

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        """
        Store the new rows of a layer in their targets, and attend.

        Args:
            query: [heads, total, head_dim], all works side by side; neighbouring heads share a kv head.
            keys, values: [kv_heads, total, head_dim], of the same tokens.
        Returns: [heads, total, head_dim]. Mutates the targets' memory, does not synchronise.
        """
        ...


class Kernel(Protocol):
    """One way to compute it, on one device."""

    name: ClassVar[str]

    def plan(self, work: Sequence[Work], *, device: torch.device, dtype: torch.dtype) -> Batch:
        """Everything about a batch that is the same in all layers."""
        ...

    def seated(self, seats: Seats) -> Batch:
        """The attention of one new token each of several questions; needs nothing from the host, once it is made."""
        ...

    def reads_in_place(self, *pools: SlabPool) -> bool:
        """Whether `seated` reads no more of these pools than is there."""
        ...

    def segments(self, query: Tensor, keys: Tensor, values: Tensor, cuts: Sequence[int], *, scale: float) -> Tensor:
        """
        Full attention inside each segment of a packed sequence, as a vision encoder wants it.

        Args:
            query, keys, values: [heads, total, head_dim].
            cuts: where segments begin and end: 0, ascending, total.
        Returns: [heads, total, head_dim]. Does not synchronise.
        """
        ...

    def portions(self, pool: SlabPool, work: Sequence[Portion], *, device: torch.device) -> Batch:
        """
        Full attention of portions of pictures over the whole of each, as a vision encoder wants it.

        pool: keys and values of the pictures, a row a patch; its layers are those that see whole pictures. What the
        batch is handed replaces the rows of the portion. No slab is there twice.
        """
        ...
