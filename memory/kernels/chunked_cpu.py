"""
Attention on a CPU as matrix products, a stretch of queries at a time, so that the scores stay in the cache.

Torch's flash attention multiplies small tiles, which MKL does at half of what oneDNN reaches on large ones, and its
exponentials cost as much as its products. Here a product takes all keys at once, and exponentials have base 2, which
torch computes four times faster. Few queries are left to flash.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from memory.pool import SlabPool
from memory.types import Pair

from .base import Batch, Portion, Work
from .blocks import among
from .flash_cpu import FlashCpu, FlashCpuBatch
from .portions import ReferencePortions
from .products import PLAIN, Products, rounded

LOG2_E: Final = math.log2(math.e)
MOST_SCORES: Final = 1 << 20  # of a stretch: 4 MiB
LEAST_QUERIES: Final = 192  # of a kv head, from which on this is worth its calls, its look at all keys and their copy
LEAST_PRODUCTS: Final = 2_000_000  # queries x keys x head_dim, likewise
STEP: Final = 64  # queries and keys of a memory, whose number changes with every frame
SAFE: Final = 60.0  # scores within ± so much, in base 2, need not be shifted before the exponential


class ChunkedCpu(FlashCpu):
    """Matrix products where there are many queries and keys, else as FlashCpu. A Kernel for float32."""

    name: ClassVar[str] = "chunked-cpu"

    def __init__(self, products: Products = PLAIN, *, everything: bool = False) -> None:
        """
        products: how large ones are computed. everything: leave nothing without a mask to flash, so that small
        works try it. Raises: AttributeError: this torch has no flash for CPUs.
        """
        super().__init__()
        self._small = self._flash
        self._flash = self._either
        self._products = products
        self._everything = everything

    def plan(self, work: Sequence[Work], *, device: torch.device, dtype: torch.dtype) -> ChunkedCpuBatch:  # type: ignore[override]  # a Batch, too
        return ChunkedCpuBatch(
            work, flash=self._flash, side_by_side=self._side_by_side, worth=self._worth, device=device, dtype=dtype
        )

    def segments(self, query: Tensor, keys: Tensor, values: Tensor, cuts: Sequence[int], *, scale: float) -> Tensor:
        spans = [(start, stop) for start, stop in itertools.pairwise(cuts) if stop > start]
        if not any(self._worth(stop - start, stop - start, query.shape[2]) for start, stop in spans):
            return super().segments(query, keys, values, cuts, scale=scale)
        out = torch.empty(query.shape, dtype=query.dtype)
        for start, stop in spans:
            q, k, v = (each[None, :, start:stop] for each in (query, keys, values))
            out[:, start:stop] = self._either(q, k, v, 0.0, is_causal=False, scale=scale, step=1)[0][0]
        return out

    def portions(self, pool: SlabPool, work: Sequence[Portion], *, device: torch.device) -> Batch:
        return ReferencePortions(pool, work, device=device, flash=self._either)

    def _worth(self, queries: int, rows: int, dim: int) -> bool:
        return self._everything or (queries >= LEAST_QUERIES and queries * rows * dim >= LEAST_PRODUCTS)

    def _side_by_side(self, *own: Any) -> tuple[Tensor, Tensor]:
        """As `among`."""
        with self._products.large():
            return among(*own)

    def _either(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        dropout: float,
        *,
        is_causal: bool,
        scale: float,
        step: int = STEP,
    ) -> tuple[Tensor, Tensor]:
        """As torch's operator for CPUs, [1, heads, n, head_dim]. step: 1 where sizes hardly change."""
        n, rows = query.shape[2], keys.shape[2]
        if is_causal or not self._worth(n, rows, query.shape[3]):
            return self._small(query, keys, values, dropout, is_causal=is_causal, scale=scale)
        with self._products.large():
            out, weight = attention(query[0], keys[0], values[0], scale=scale, step=step)
        return out[None], weight[None]


class ChunkedCpuBatch(FlashCpuBatch):
    """As FlashCpuBatch, but a long block's held rows and its own are apart, so that the held ones need no mask."""

    def __init__(self, work: Sequence[Work], *, worth: Callable[[int, int, int], bool], **rest: Any) -> None:
        """worth: is a product of these sizes for chunks? rest: as FlashCpuBatch."""
        super().__init__(work, **rest)
        self._worth = worth

    def _one(self, at: int, query: Tensor, parts: Sequence[Pair], *, group: int, scale: float) -> Tensor:
        n, rows = query.shape[1], parts[0][0].shape[1]
        if self._worth(group * n, rows - n, query.shape[2]):
            return self._joined(query, parts, (n,), scale)
        return super()._one(at, query, parts, group=group, scale=scale)


def attention(query: Tensor, keys: Tensor, values: Tensor, *, scale: float, step: int = 1) -> tuple[Tensor, Tensor]:
    """
    Softmax attention of every query over all keys: float32 output [heads, n, head_dim], log-sum-exp [heads, n].

    Args:
        query: [heads, n, head_dim]. keys, values: [heads, rows, head_dim], rows > 0.
        step: products have multiples of so many queries and keys.
    """
    heads, n, dim = query.shape
    rows = keys.shape[1]
    wide, long = rounded(rows, step), rounded(n, step)
    if wide != rows:
        keys, values = (nn.functional.pad(each, (0, 0, 0, wide - rows)) for each in (keys, values))
    q = query.new_zeros(heads, long, dim)
    torch.mul(query, scale * LOG2_E, out=q[:, :n])  # in base 2
    out, weight = query.new_empty(heads, long, dim), query.new_empty(heads, long)
    stretch = rounded(-(-long // -(-long // max(1, MOST_SCORES // wide))), step)
    scores = query.new_empty(stretch, wide)
    shift = not bool((q.norm(dim=2).amax(1) * keys.norm(dim=2).amax(1)).amax() <= SAFE)  # true for nan
    for head in range(heads):
        k, v = keys[head].contiguous(), values[head].contiguous()
        for start in range(0, long, stretch):
            part = slice(start, min(start + stretch, long))
            here = scores[: part.stop - start]
            weight[head, part] = _stretch(q[head, part], k, v, here, out[head, part], rows=rows, shift=shift)
    return out[:, :n], weight[:, :n].div_(LOG2_E)


def _stretch(
    query: Tensor, keys: Tensor, values: Tensor, scores: Tensor, out: Tensor, *, rows: int, shift: bool
) -> Tensor:
    """Attention of some queries [m, head_dim] of one head, into `out`; the log-sum-exp [m], in base 2."""
    torch.mm(query, keys.T, out=scores)
    top = scores[:, :rows].amax(dim=1, keepdim=True) if shift else None
    if top is not None:
        scores.sub_(top)
    scores.exp2_()
    if rows < scores.shape[1]:
        scores[:, rows:] = 0.0
    total = scores.sum(dim=1, keepdim=True)
    torch.mm(scores, values, out=out)
    out.div_(total)
    weight = total.log2_()
    return (weight if top is None else weight.add_(top))[:, 0]
