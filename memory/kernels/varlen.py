"""
Attention through flash varlen kernels: a few launches a layer, however many cameras and questions there are.

What a token sees splits into parts that need no mask of their own: the rows that its target holds, all of them, the
tokens that its block continues, all of them, and the new tokens of its block, causally. Each part is one call over the
whole batch; their results are joined by the log-sum-exp of their scores, which is exact. A slab is one page of a paged
cache: held rows are read where they lie.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.kv import Extent
from memory.pool import SlabPool

from .base import Batch, Portion, Work
from .flash import ALL, CAUSAL, PAGE_ROWS, Flash, Op, join
from .forest import siblings
from .portions import VarlenPortions
from .seats import Masked, Paged, Seats


class Varlen:
    """Flash varlen on a GPU, in half precision. A Kernel."""

    name: ClassVar[str] = "varlen"

    def __init__(self, op: Op, *, paged: bool = True, heads_first: bool = True) -> None:
        """op: what computes. paged: read slabs in place where their size allows it. heads_first: as in `Flash`."""
        self._flash = Flash(op, heads_first)
        self._paged = paged

    def plan(self, work: Sequence[Work], *, device: torch.device, dtype: torch.dtype) -> VarlenBatch:  # noqa: ARG002
        return VarlenBatch(work, flash=self._flash, paged=self._paged, device=device)

    def seated(self, seats: Seats) -> Batch:
        return Paged(seats, self._flash) if self.reads_in_place(seats.prefixes, seats.suffixes) else Masked(seats)

    def reads_in_place(self, *pools: SlabPool) -> bool:
        return self._paged and all(pool.rows % PAGE_ROWS == 0 for pool in pools)

    def segments(self, query: Tensor, keys: Tensor, values: Tensor, cuts: Sequence[int], *, scale: float) -> Tensor:
        cu, longest = _segments(tuple(cuts), query.device)
        q, k, v = (each.transpose(0, 1) for each in (query, keys, values))
        out: Tensor = self._flash.op(q, k, v, cu, cu, longest, longest, scale=scale, window_size=ALL)
        return out.transpose(0, 1)

    def portions(self, pool: SlabPool, work: Sequence[Portion], *, device: torch.device) -> VarlenPortions:
        return VarlenPortions(pool, work, op=self._flash.op, paged=self._paged, device=device)


@dataclass(frozen=True, slots=True)
class _Place:
    """Rows of a pool, one each for tokens of the batch. slabs, rows: int64 [m]; tokens: int64 [m], None for all."""

    pool: SlabPool
    slabs: Tensor
    rows: Tensor
    tokens: Tensor | None


@dataclass(frozen=True, slots=True)
class _Held:
    """
    The held rows of one pool, as sequences of keys for the tokens that see them.

    tokens: int64 [t], None for all. cu, longest: their sequences. used: int32 [s], rows of each. most: the largest.
    table: int32 [s, 1], the slab of each, or None where the rows are gathered: then slabs, rows: int64 [sum], cu_k.
    """

    pool: SlabPool
    tokens: Tensor | None
    cu: Tensor
    longest: int
    used: Tensor
    most: int
    table: Tensor | None
    cu_k: Tensor | None = None
    slabs: Tensor | None = None
    rows: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Shared:
    """
    The tokens that blocks continue, as sequences of keys for the tokens of those blocks: one for each set of siblings.

    tokens: int64 [t], the blocks'. cu, longest: their sequences. keys: int64 [s], the shared ones; cu_k, most: theirs.
    """

    tokens: Tensor
    cu: Tensor
    longest: int
    keys: Tensor
    cu_k: Tensor
    most: int


class VarlenBatch:
    """All works at once. A Batch."""

    def __init__(self, work: Sequence[Work], *, flash: Flash, paged: bool, device: torch.device) -> None:
        self._flash = flash
        self._device = device
        self._total = sum(len(each) for each in work)
        starts = np.cumsum([0, *(len(each) for each in work)])
        blocks = [block for each in work for block in each.blocks]
        self._cu = self._int32(np.cumsum([0, *blocks]))
        self._longest = max(blocks)
        self._places = self._new(work, starts)
        self._shared = self._continued(work, starts)
        self._held = [
            self._sequences(pool, seen, starts, paged=paged and whole and pool.rows % PAGE_ROWS == 0)
            for (pool, whole), seen in _by_pool(work).items()
        ]

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        q, k, v = (each.transpose(0, 1) for each in (query, keys, values))  # [total, heads, head_dim]
        for place in self._places:
            new_k, new_v = (k, v) if place.tokens is None else (k[place.tokens], v[place.tokens])
            place.pool.keys[:, layer][place.slabs, :, place.rows] = new_k
            place.pool.values[:, layer][place.slabs, :, place.rows] = new_v
        out, lse = self._flash(
            q, k, v, self._cu, self._cu, self._longest, self._longest, scale=scale, window_size=CAUSAL
        )
        joined, weight = out.float(), lse
        if (shared := self._shared) is not None:
            old, old_lse = self._flash(
                q[shared.tokens],
                k[shared.keys],
                v[shared.keys],
                shared.cu,
                shared.cu_k,
                shared.longest,
                shared.most,
                scale=scale,
                window_size=ALL,
            )
            joined, weight = join(joined, weight, old.float(), old_lse, shared.tokens)
        for held in self._held:
            old, old_lse = self._over(held, layer, q, scale)
            joined, weight = join(joined, weight, old.float(), old_lse, held.tokens)
        return joined.to(query.dtype).transpose(0, 1)

    def _over(self, held: _Held, layer: int, query: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """The tokens concerned over the held rows of one pool: [t, heads, head_dim], log-sum-exp [t, heads, 1]."""
        q = query if held.tokens is None else query[held.tokens]
        keys, values = held.pool.keys[:, layer], held.pool.values[:, layer]  # [slabs, kv_heads, rows, head_dim]
        if held.table is None:
            k, v = keys[held.slabs, :, held.rows], values[held.slabs, :, held.rows]  # [sum, kv_heads, head_dim], copied
            return self._flash(q, k, v, held.cu, held.cu_k, held.longest, held.most, scale=scale, window_size=ALL)
        return self._flash(
            q,
            keys.transpose(1, 2),  # pages [slabs, rows, kv_heads, head_dim], not copied
            values.transpose(1, 2),
            held.cu,
            None,
            held.longest,
            held.most,
            scale=scale,
            window_size=ALL,
            seqused_k=held.used,
            block_table=held.table,
        )

    def _new(self, work: Sequence[Work], starts: NDArray[np.int64]) -> list[_Place]:
        """Where each token's own row goes."""
        found: dict[SlabPool, list[tuple[int, Extent]]] = {}
        for i, each in enumerate(work):
            extent = each.target.held[-1]
            if extent.only is not None:
                continue
            found.setdefault(extent.pool, []).append((i, extent))
        places = []
        for pool, seen in found.items():
            counts = [len(work[i]) for i, _ in seen]
            assert all(e.rows + n <= pool.rows for (_, e), n in zip(seen, counts, strict=True)), "rows beyond the slab"
            places.append(
                _Place(
                    pool,
                    self._int64(np.repeat([e.slab for _, e in seen], counts)),
                    self._int64(
                        np.concatenate([np.arange(e.rows, e.rows + n) for (_, e), n in zip(seen, counts, strict=True)])
                    ),
                    self._tokens([(int(starts[i]), n) for (i, _), n in zip(seen, counts, strict=True)]),
                )
            )
        return places

    def _continued(self, work: Sequence[Work], starts: NDArray[np.int64]) -> _Shared | None:
        """Which tokens see which ones of other blocks; None where no block continues another."""
        found = [
            (start + tokens, start + keys)
            for start, each in zip(starts, work, strict=False)
            for tokens, keys in siblings(each.blocks, each.after)
        ]
        if not found:
            return None
        counts, seen = [len(tokens) for tokens, _ in found], [len(keys) for _, keys in found]
        return _Shared(
            tokens=self._int64(np.concatenate([tokens for tokens, _ in found])),
            cu=self._int32(np.cumsum([0, *counts])),
            longest=max(counts),
            keys=self._int64(np.concatenate([keys for _, keys in found])),
            cu_k=self._int32(np.cumsum([0, *seen])),
            most=max(seen),
        )

    def _sequences(
        self, pool: SlabPool, seen: Sequence[tuple[int, int, Extent]], starts: NDArray[np.int64], *, paged: bool
    ) -> _Held:
        """seen: the work's number, its length and the rows of this pool that it sees."""
        counts, used = [n for _, n, _ in seen], [len(extent) for _, _, extent in seen]
        slabs = np.array([extent.slab for _, _, extent in seen], np.int64)
        gathered: dict[str, Tensor] = {}
        if not paged:
            gathered = {
                "cu_k": self._int32(np.cumsum([0, *used])),
                "slabs": self._int64(np.repeat(slabs, used)),
                "rows": self._int64(np.concatenate([extent.seen for _, _, extent in seen])),
            }
        return _Held(
            pool=pool,
            tokens=self._tokens([(int(starts[i]), n) for i, n, _ in seen]),
            cu=self._int32(np.cumsum([0, *counts])),
            longest=max(counts),
            used=self._int32(np.array(used)),
            most=max(used),
            table=self._int32(slabs[:, None]) if paged else None,
            **gathered,
        )

    def _tokens(self, stretches: Sequence[tuple[int, int]]) -> Tensor | None:
        """The tokens of these stretches (start, length), None where they are all."""
        if sum(n for _, n in stretches) == self._total:
            return None
        return self._int64(np.concatenate([np.arange(start, start + n) for start, n in stretches]))

    def _int32(self, numbers: NDArray[Any]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int32)).to(self._device, non_blocking=True)

    def _int64(self, numbers: NDArray[Any]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64)).to(self._device, non_blocking=True)


def torch_op() -> Op:
    """Torch's varlen attention. Raises: ImportError: this torch has none that can do what is needed."""
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  # not in every torch
    except ImportError as error:
        raise ImportError(f"torch {torch.__version__} has no varlen attention") from error
    missing = {"return_aux", "enable_gqa", "window_size", "scale"} - set(inspect.signature(varlen_attn).parameters)
    if missing:
        raise ImportError(f"varlen attention of torch {torch.__version__} lacks {', '.join(sorted(missing))}")
    return varlen_attn


def can_page(op: Op) -> bool:
    """Whether this operation reads paged keys."""
    return {"block_table", "seqused_k"} <= set(inspect.signature(op).parameters)


def _by_pool(work: Sequence[Work]) -> dict[tuple[SlabPool, bool], list[tuple[int, int, Extent]]]:
    """Who sees held rows of which pool, all of them (True) or chosen ones: the work's number, its length, the rows."""
    found: dict[tuple[SlabPool, bool], list[tuple[int, int, Extent]]] = {}
    for i, each in enumerate(work):
        for extent in each.target.held:
            if len(extent):
                found.setdefault((extent.pool, extent.only is None), []).append((i, len(each), extent))
    return found


@lru_cache(maxsize=64)
def _segments(cuts: tuple[int, ...], device: torch.device) -> tuple[Tensor, int]:
    """The cuts on the device, int32, without empty segments, and the longest one."""
    kept = np.unique(np.array(cuts, np.int32))
    return torch.from_numpy(kept).to(device), int(np.diff(kept).max())
