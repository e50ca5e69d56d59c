"""
Questions side by side among themselves, as batched matrix products under small masks.

A question has some ten tokens: torch's flash attention spends more on each head of each of them than on computing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from .forest import Tokens, lines, spans

LOG2_E: Final = math.log2(math.e)
SHORT: Final = 16  # tokens
MOST_SCORES: Final = 1 << 22  # at once: 16 MiB; what is more is computed head by head


def among(
    query: Tensor, keys: Tensor, values: Tensor, blocks: tuple[int, ...], after: tuple[int, ...], scale: float
) -> tuple[Tensor, Tensor]:
    """
    Attention of blocks to themselves and to those that they continue (see `forest`).

    Args:
        query: [heads, n, head_dim], n = sum(blocks); neighbouring heads share a kv head.
        keys, values: [kv_heads, n, head_dim].
    Returns: output as query, log-sum-exp [heads, n] in float32, in which all is computed.
    """
    heads, n, dim = query.shape
    out, weight = query.new_empty(heads, n, dim), torch.empty(heads, n)
    kv_heads = keys.shape[0]
    group = heads // kv_heads
    for batch in padded(blocks, after):
        step = max(1, MOST_SCORES // (group * len(batch.queries) * batch.most))
        for first in range(0, kv_heads, step):
            some, theirs = slice(first, first + step), slice(group * first, group * (first + step))
            found, found_weight = _batch(query[theirs].float(), keys[some].float(), values[some].float(), batch, scale)
            out[theirs].index_copy_(1, batch.tokens, found.to(out.dtype))
            weight[theirs].index_copy_(1, batch.tokens, found_weight)
    return out, weight


def _batch(query: Tensor, keys: Tensor, values: Tensor, batch: Padded, scale: float) -> tuple[Tensor, Tensor]:
    """As `among`, of the tokens of one batch, in its order."""
    heads, _, dim = query.shape
    kv_heads, count, longest, most = keys.shape[0], len(batch.last), batch.longest, batch.most
    group = heads // kv_heads
    q = (query * (scale * LOG2_E)).index_select(1, batch.queries).reshape(kv_heads, group, count, longest, dim)
    q = q.transpose(1, 2).reshape(kv_heads * count, group * longest, dim)
    k, v = (each.index_select(1, batch.keys).reshape(kv_heads * count, most, dim) for each in (keys, values))
    scores = torch.bmm(q, k.transpose(1, 2))  # in base 2
    hidden = torch.arange(most) > batch.last
    scores.view(kv_heads, count, group, longest, most).masked_fill_(hidden[:, None], float("-inf"))
    top = scores.amax(dim=2, keepdim=True)
    total = scores.sub_(top).exp2_().sum(dim=2, keepdim=True)
    out, weight = torch.bmm(scores, v).div_(total), total.log2_().add_(top).div_(LOG2_E)
    apart = (kv_heads, count, group, longest, -1)
    out, weight = (each.reshape(apart).transpose(1, 2).reshape(heads, count * longest, -1) for each in (out, weight))
    return out.index_select(1, batch.real), weight.index_select(1, batch.real)[..., 0]


@dataclass(frozen=True, slots=True)
class Padded:
    """
    Blocks of about one length as a batch: for each as many queries as the longest has, as many keys as any sees.

    What is left to fill repeats a block's own last token, so that no other block reaches it.

    queries: int64 [blocks * longest], tokens. keys: int64 [blocks * most], tokens.
    last: int64 [blocks, longest, 1], the place among its block's keys of the last one that each query sees.
    tokens: int64 [m], what these blocks hold. real: int64 [m], where among the queries each of them is.
    """

    longest: int
    most: int
    queries: Tensor = field(repr=False)
    keys: Tensor = field(repr=False)
    last: Tensor = field(repr=False)
    tokens: Tensor = field(repr=False)
    real: Tensor = field(repr=False)


@lru_cache(maxsize=64)
def padded(blocks: tuple[int, ...], after: tuple[int, ...]) -> tuple[Padded, ...]:
    """The blocks in batches: up to SHORT tokens, then of lengths within a factor of two."""
    own, above = spans(blocks), lines(blocks, after)
    alike: dict[int, list[int]] = {}
    for number, length in enumerate(blocks):
        alike.setdefault(max(SHORT - 1, length - 1).bit_length(), []).append(number)
    return tuple(
        _padded([own[each] for each in some], [[own[earlier] for earlier in above[each]] for each in some])
        for _, some in sorted(alike.items())
    )


def _padded(own: Sequence[Tokens], continued: Sequence[Sequence[Tokens]]) -> Padded:
    """The batch of blocks with these tokens, each with those of all that it continues."""
    seen = [np.concatenate([*before, tokens]) for tokens, before in zip(own, continued, strict=True)]
    lengths, totals = np.array([len(each) for each in own]), np.array([len(each) for each in seen])
    longest, most = int(lengths.max()), int(totals.max())
    return Padded(
        longest,
        most,
        queries=torch.from_numpy(np.concatenate([np.pad(each, (0, longest - len(each)), mode="edge") for each in own])),
        keys=torch.from_numpy(np.concatenate([np.pad(each, (0, most - len(each)), mode="edge") for each in seen])),
        last=torch.from_numpy((totals - lengths)[:, None, None] + np.arange(longest)[:, None]),
        tokens=torch.from_numpy(np.concatenate(own)),
        real=torch.from_numpy(np.flatnonzero(np.arange(longest) < lengths[:, None])),
    )
