"""The attention of a ragged batch, whichever forward asks for it: stores each layer's rows, and keeps its queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memory.kernels import Kernel
from memory.kernels.base import Work

from .base import Chunk


class Ragged:
    """Chunks side by side in one sequence, planned once for the layers of one forward. A Batch."""

    def __init__(self, chunks: Sequence[Chunk], *, kernel: Kernel, device: torch.device, dtype: torch.dtype) -> None:
        self._chunks = chunks
        self._lengths = [len(chunk) for chunk in chunks]
        self._asked = any(chunk.queries is not None for chunk in chunks)
        self._batch = kernel.plan(
            [Work(chunk.target, chunk.blocks, chunk.after) for chunk in chunks], device=device, dtype=dtype
        )

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        """Query [heads, total, head_dim] over all that each chunk may see; the same shape. Mutates the targets."""
        if self._asked:
            for chunk, part in zip(self._chunks, torch.split(query, self._lengths, dim=1), strict=True):
                if chunk.queries is not None:
                    chunk.queries.append(part)
        return self._batch.attend(layer, query, keys, values, scale=scale)
