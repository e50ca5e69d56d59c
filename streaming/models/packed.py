"""
A ragged batch through an unmodified transformers decoder: rows of many cameras and questions in one sequence.

All linear layers see one sequence [1, total, hidden]. The attention function registered here under NAME cuts it back
into chunks and runs each against its own target, whose keys the PackedCache has just stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from memory.kernels.reference import attend, block_causal, spread
from memory.types import Pair

from .base import Chunk

NAME = "vigild_packed"


class PackedCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """The targets of a ragged batch in the shape of a transformers cache; lives for one forward."""

    def __init__(self, chunks: Sequence[Chunk], *, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(layers=[])
        self._chunks = chunks
        self._lengths = [len(chunk) for chunk in chunks]
        self._rows = [chunk.target.before + len(chunk) for chunk in chunks]
        self._masks = [block_causal(chunk.blocks, device=device, dtype=dtype) for chunk in chunks]
        self._biases: list[Tensor | None] | None = None
        self._parts: list[tuple[Pair, ...]] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store keys and values [1, kv_heads, total, head_dim] of a layer in the targets."""
        keys = torch.split(key_states[0], self._lengths, dim=1)
        values = torch.split(value_states[0], self._lengths, dim=1)
        self._parts = [
            chunk.target.extend(layer_idx, k, v) for chunk, k, v in zip(self._chunks, keys, values, strict=True)
        ]
        return key_states, value_states

    def attend(self, query: Tensor, *, scale: float) -> Tensor:
        """Each chunk of the query [1, heads, total, head_dim] over what `update` left visible; the same shape."""
        heads, kv_heads = query.shape[1], self._parts[0][0][0].shape[0]
        if self._biases is None:
            self._biases = [
                spread(mask, rows=rows, group=heads // kv_heads)
                for mask, rows in zip(self._masks, self._rows, strict=True)
            ]
        out = [
            attend(part, parts, bias, scale=scale)
            for part, parts, bias in zip(
                torch.split(query[0], self._lengths, dim=1), self._parts, self._biases, strict=True
            )
        ]
        return torch.cat(out, dim=1)[None]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    _key: Tensor,
    _value: Tensor,
    _attention_mask: Tensor | None,
    *,
    packed: PackedCache,
    scaling: float | None = None,
    **_kwargs: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention interface over a PackedCache: [1, total, heads, head_dim]."""
    scale = scaling if scaling is not None else float(module.head_dim) ** -0.5  # type: ignore[arg-type]
    return packed.attend(query, scale=scale).transpose(1, 2), None


# The registry is transformers' own extension point; a name that its mask registry does not know gets no mask.
AttentionInterface.register(NAME, packed_attention)
