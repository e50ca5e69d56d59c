"""
Attention of a picture's portion over the whole picture: the rows that are new replace their old ones, the rest is held.

A vision encoder's layers see all patches of a picture. Where most of them stand still, their keys and values are those
of the last time; only the changed ones pass through the layers, and see everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.pool import SlabPool

from .base import Portion
from .flash import ALL, PAGE_ROWS, Op


class ReferencePortions:
    """One picture after the other, without copying what is held. A Batch. flash: computes, where not torch's SDPA."""

    def __init__(
        self, pool: SlabPool, work: Sequence[Portion], *, device: torch.device, flash: Op | None = None
    ) -> None:
        self._flash = flash
        self._pool = pool
        self._work = work
        self._lengths = [len(each.rows) for each in work]
        self._rows = [torch.from_numpy(each.rows).to(device) for each in work]

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        split = (torch.split(each, self._lengths, dim=1) for each in (query, keys, values))
        out = []
        for work, rows, q, k, v in zip(self._work, self._rows, *split, strict=True):
            held_k, held_v = self._pool.layer(work.slab, layer, work.total)
            held_k.index_copy_(1, rows, k)
            held_v.index_copy_(1, rows, v)
            all_three = q[None], held_k[None], held_v[None]
            if self._flash is not None:
                out.append(self._flash(*all_three, 0.0, is_causal=False, scale=scale)[0][0])
            else:
                out.append(torch.nn.functional.scaled_dot_product_attention(*all_three, scale=scale)[0])
        return torch.cat(out, dim=1)


class VarlenPortions:
    """All pictures in one call of a flash varlen kernel, slabs read in place where their size allows it. A Batch."""

    def __init__(self, pool: SlabPool, work: Sequence[Portion], *, op: Op, paged: bool, device: torch.device) -> None:
        self._pool = pool
        self._op = op
        counts, totals = [len(each.rows) for each in work], [each.total for each in work]
        slabs = np.array([each.slab for each in work], np.int64)
        self._slabs = _on(np.repeat(slabs, counts), device)
        self._rows = _on(np.concatenate([each.rows for each in work]), device)
        self._cu = _on(np.cumsum([0, *counts]).astype(np.int32), device)
        self._longest, self._most = max(counts), max(totals)
        self._where: dict[str, Any]
        self._held: tuple[Tensor, Tensor] | None = None
        if paged and pool.rows % PAGE_ROWS == 0:
            used, table = np.array(totals, np.int32), slabs[:, None].astype(np.int32)
            self._cu_k = None
            self._where = {"seqused_k": _on(used, device), "block_table": _on(table, device)}
        else:
            self._cu_k = _on(np.cumsum([0, *totals]).astype(np.int32), device)
            self._where = {}
            self._held = (
                _on(np.repeat(slabs, totals), device),
                _on(np.concatenate([np.arange(total) for total in totals]), device),
            )

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        all_k, all_v = self._pool.keys[:, layer], self._pool.values[:, layer]  # [slabs, heads, rows, head_dim]
        all_k[self._slabs, :, self._rows] = keys.transpose(0, 1)
        all_v[self._slabs, :, self._rows] = values.transpose(0, 1)
        if self._held is None:
            k, v = all_k.transpose(1, 2), all_v.transpose(1, 2)  # pages, not copied
        else:
            slabs, rows = self._held
            k, v = all_k[slabs, :, rows], all_v[slabs, :, rows]
        out: Tensor = self._op(
            query.transpose(0, 1),
            k,
            v,
            self._cu,
            self._cu_k,
            self._longest,
            self._most,
            scale=scale,
            window_size=ALL,
            **self._where,
        )
        return out.transpose(0, 1)


def _on(numbers: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(numbers).to(device, non_blocking=True)
