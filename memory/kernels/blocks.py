"""
Questions side by side among themselves, as batched matrix products under one small mask.

A question has some twenty tokens: torch's flash attention spends more on each head of each of them than on computing.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from .flash_cpu import padding

LOG2_E: Final = math.log2(math.e)


def among(query: Tensor, keys: Tensor, values: Tensor, blocks: tuple[int, ...], scale: float) -> tuple[Tensor, Tensor]:
    """
    Causal attention inside each block, all padded to the longest: what is behind a token, it does not see.

    Args:
        query: [heads, n, head_dim], n = sum(blocks); neighbouring heads share a kv head.
        keys, values: [kv_heads, n, head_dim].
    Returns: output as query, log-sum-exp [heads, n].
    """
    heads, n, dim = query.shape
    kv_heads, count = keys.shape[0], len(blocks)
    padded, real = padding(blocks)
    length = len(padded) // count
    group = heads // kv_heads
    q = (query * (scale * LOG2_E)).index_select(1, padded).reshape(kv_heads, group, count, length, dim)
    q = q.transpose(1, 2).reshape(kv_heads * count, group * length, dim)
    k, v = (each.index_select(1, padded).reshape(kv_heads * count, length, dim) for each in (keys, values))
    scores = torch.baddbmm(_causal(length, group), q, k.transpose(1, 2))  # in base 2
    top = scores.amax(dim=2, keepdim=True)
    total = scores.sub_(top).exp2_().sum(dim=2, keepdim=True)
    out, weight = torch.bmm(scores, v).div_(total), total.log2_().add_(top).div_(LOG2_E)
    apart = (kv_heads, count, group, length, -1)
    out, weight = (each.reshape(apart).transpose(1, 2).reshape(heads, count * length, -1) for each in (out, weight))
    assert len(real) == n
    return out.index_select(1, real), weight.index_select(1, real)[..., 0]


@lru_cache(maxsize=64)
def _causal(length: int, group: int) -> Tensor:
    """The additive mask [group * length, length] of the queries that share a kv head."""
    return torch.full((length, length), float("-inf")).triu_(1).repeat(group, 1)
