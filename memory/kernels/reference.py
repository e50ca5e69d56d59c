"""Attention in plain torch over contiguous parts, without copying their rows: the CPU's way and the yardstick."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from memory.pool import SlabPool
from memory.types import Pair

from .base import Batch, Portion, Work
from .forest import visible
from .portions import ReferencePortions
from .seats import Masked, Seats


class Reference:
    """Runs anywhere, in any dtype. A Kernel."""

    name: ClassVar[str] = "reference"

    def plan(self, work: Sequence[Work], *, device: torch.device, dtype: torch.dtype) -> ReferenceBatch:
        return ReferenceBatch(work, device=device, dtype=dtype)

    def seated(self, seats: Seats) -> Batch:
        return Masked(seats)

    def reads_in_place(self, *pools: SlabPool) -> bool:  # noqa: ARG002  # none of them
        return False

    def segments(self, query: Tensor, keys: Tensor, values: Tensor, cuts: Sequence[int], *, scale: float) -> Tensor:
        """Segments of one length run as one batch: many windows or pictures cost few calls."""
        groups = _by_length(tuple(cuts), query.device)
        if len(runs := _runs(tuple(cuts))) == len(groups):  # those of one length are neighbours: nothing to gather
            split = (torch.split(each, [rows for _, rows in runs], dim=1) for each in (query, keys, values))
            alike = zip(runs, *split, strict=True)
            return torch.cat([_together(q, k, v, length=length, scale=scale) for (length, _), q, k, v in alike], dim=1)
        out = torch.empty_like(query)
        for length, rows in groups:
            gathered = (each.index_select(1, rows) for each in (query, keys, values))
            out.index_copy_(1, rows, _together(*gathered, length=length, scale=scale))
        return out

    def portions(self, pool: SlabPool, work: Sequence[Portion], *, device: torch.device) -> Batch:
        return ReferencePortions(pool, work, device=device)


class ReferenceBatch:
    """Each work against its own target, one after the other. A Batch."""

    def __init__(self, work: Sequence[Work], *, device: torch.device, dtype: torch.dtype) -> None:
        self._work = work
        self._lengths = [len(each) for each in work]
        self._rows = [each.target.before + len(each) for each in work]
        self._masks = [block_causal(each.blocks, each.after, device=device, dtype=dtype) for each in work]
        self._biases: list[Tensor | None] | None = None

    def attend(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        group = query.shape[0] // keys.shape[0]
        if self._biases is None:
            self._biases = [
                spread(mask, rows=rows, group=group) for mask, rows in zip(self._masks, self._rows, strict=True)
            ]
        split = (torch.split(each, self._lengths, dim=1) for each in (query, keys, values))
        out = [
            attend(q, work.target.extend(layer, k, v), bias, scale=scale)
            for work, q, k, v, bias in zip(self._work, *split, self._biases, strict=True)
        ]
        return torch.cat(out, dim=1)


def block_causal(
    blocks: Sequence[int], after: Sequence[int] = (), *, device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    """
    The additive mask [n, n] among n = sum(blocks) new tokens: causal inside a block, blind to blocks not continued.

    One block is a frame or a question; several are questions side by side. None where there is nothing to hide (n = 1).
    """
    n = sum(blocks)
    if n == 1:
        return None
    if n == max(blocks):  # a single block
        return torch.full((n, n), float("-inf"), dtype=dtype, device=device).triu_(1)
    return torch.zeros(n, n, dtype=dtype).masked_fill(~visible(blocks, after), float("-inf")).to(device)


def spread(mask: Tensor | None, *, rows: int, group: int) -> Tensor | None:
    """
    The mask [n, n] of the new tokens widened to all `rows` keys and all `group` query heads of a kv head.

    Returns: additive [group * n, rows], or None; every row before the new ones is visible. Build it once a forward.
    """
    if mask is None:
        return None
    return torch.nn.functional.pad(mask, (rows - mask.shape[0], 0)).repeat(group, 1)


def attend(query: Tensor, parts: Sequence[Pair], bias: Tensor | None, *, scale: float) -> Tensor:
    """
    Softmax attention of n new tokens over everything before them and, as far as `bias` allows, over themselves.

    Args:
        query: [heads, n, head_dim]; `group` neighbouring heads share a kv head.
        parts: keys and values [kv_heads, rows, head_dim], oldest first; the last n rows of the last part are the new
            tokens' own.
        bias: additive [group * n, all rows] as `spread` builds it, or None.
    Returns: [heads, n, head_dim]. Does not synchronise, does not copy keys or values.
    """
    heads, n, dim = query.shape
    kv_heads = parts[0][0].shape[0]
    packed = query.reshape(kv_heads, heads // kv_heads * n, dim)  # all queries of a kv head: keys need no repeating
    out = _whole(packed, parts[0], bias, scale) if len(parts) == 1 else _split(packed, parts, bias, scale)
    return out.reshape(heads, n, dim)


def _whole(packed: Tensor, part: Pair, bias: Tensor | None, scale: float) -> Tensor:
    keys, values = part
    out = torch.nn.functional.scaled_dot_product_attention(
        packed[None], keys[None], values[None], attn_mask=bias, scale=scale
    )
    return out[0]


def _split(packed: Tensor, parts: Sequence[Pair], bias: Tensor | None, scale: float) -> Tensor:
    scores = torch.cat([packed @ keys.transpose(1, 2) for keys, _ in parts], dim=-1).float() * scale
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(dim=-1).to(packed.dtype)
    out = torch.zeros_like(packed)
    at = 0
    for keys, values in parts:
        out = out + weights[:, :, at : at + keys.shape[1]] @ values
        at += keys.shape[1]
    return out


@lru_cache(maxsize=64)
def _by_length(cuts: tuple[int, ...], device: torch.device) -> list[tuple[int, Tensor]]:
    """The lengths of the segments, each with its segments' rows int64 on the device; empty ones are left out."""
    starts, lengths = np.array(cuts[:-1], np.int64), np.diff(np.array(cuts, np.int64))
    rows = {int(n): starts[lengths == n][:, None] + np.arange(n) for n in np.unique(lengths) if n}
    return [(length, torch.from_numpy(at.ravel()).to(device)) for length, at in rows.items()]


@lru_cache(maxsize=64)
def _runs(cuts: tuple[int, ...]) -> list[tuple[int, int]]:
    """Neighbouring segments of one length: that length, and all their rows; empty ones are left out."""
    lengths = [stop - start for start, stop in itertools.pairwise(cuts) if stop > start]
    return [(length, length * len(list(alike))) for length, alike in itertools.groupby(lengths)]


def _together(query: Tensor, keys: Tensor, values: Tensor, *, length: int, scale: float) -> Tensor:
    """Segments of one length side by side, [heads, count * length, head_dim]."""
    heads, total, dim = query.shape
    q, k, v = (each.reshape(heads, -1, length, dim).transpose(0, 1) for each in (query, keys, values))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
    return out.transpose(0, 1).reshape(heads, total, dim)
