"""
Questions side by side among themselves, as batched matrix products under one small mask.

A question has some ten tokens: torch's flash attention spends more on each head of each of them than on computing.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from .forest import padded

LOG2_E: Final = math.log2(math.e)


def among(
    query: Tensor, keys: Tensor, values: Tensor, blocks: tuple[int, ...], after: tuple[int, ...], scale: float
) -> tuple[Tensor, Tensor]:
    """
    Attention of blocks to themselves and to those that they continue (see `forest`), padded to the longest.

    Args:
        query: [heads, n, head_dim], n = sum(blocks); neighbouring heads share a kv head.
        keys, values: [kv_heads, n, head_dim].
    Returns: output as query, log-sum-exp [heads, n] in float32, in which all is computed.
    """
    dtype = query.dtype
    query, keys, values = query.float(), keys.float(), values.float()
    heads, n, dim = query.shape
    kv_heads, count = keys.shape[0], len(blocks)
    group = heads // kv_heads
    plan = padded(blocks, after)
    q = (query * (scale * LOG2_E)).index_select(1, plan.queries).reshape(kv_heads, group, count, plan.longest, dim)
    q = q.transpose(1, 2).reshape(kv_heads * count, group * plan.longest, dim)
    k, v = (each.index_select(1, plan.keys).reshape(kv_heads * count, plan.most, dim) for each in (keys, values))
    scores = torch.bmm(q, k.transpose(1, 2))  # in base 2
    scores.view(kv_heads, count, group, plan.longest, plan.most).add_(plan.mask)
    top = scores.amax(dim=2, keepdim=True)
    total = scores.sub_(top).exp2_().sum(dim=2, keepdim=True)
    out, weight = torch.bmm(scores, v).div_(total), total.log2_().add_(top).div_(LOG2_E)
    apart = (kv_heads, count, group, plan.longest, -1)
    out, weight = (each.reshape(apart).transpose(1, 2).reshape(heads, len(plan.queries), -1) for each in (out, weight))
    assert len(plan.real) == n
    return out.index_select(1, plan.real).to(dtype), weight.index_select(1, plan.real)[..., 0]
