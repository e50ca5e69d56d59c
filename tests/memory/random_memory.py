"""Memories with arbitrary keys and values, rotated as a model rotates them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from memory.kv import KV
from memory.pool import SlabPool
from memory.rope import Rope, turn, waves
from memory.rows import SlabRows
from memory.types import Kind, TokenMeta

from .rows import SHAPE

ROPE = Rope(1.0 / 10_000 ** (torch.arange(0, 8, 2) / 8), torch.tensor([0, 0, 1, 2]))


def described(prompt: int, frames: list[list[int]], *, text: int = 0, key: tuple[int, ...] = ()) -> TokenMeta:
    """A prompt and frames a second apart, each the list of its cells behind `text` rows; `key` frames are whole ones."""
    number = [-1] * prompt + [i for i, cells in enumerate(frames) for _ in range(text + len(cells))]
    cell = [-1] * prompt + [c for cells in frames for c in [-1] * text + cells]
    frame, cells = np.array(number, np.int64), np.array(cell, np.int32)
    visual = np.where(np.isin(frame, key), np.uint8(Kind.KEY), np.uint8(Kind.VISION))
    return TokenMeta(
        frame=frame,
        t_ns=np.where(frame < 0, 0, (frame + 1) * 1_000_000_000),
        pos=np.stack((np.arange(len(frame)), np.arange(len(frame)) + cells.clip(min=0), np.arange(len(frame)) // 2)),
        kind=np.where(frame < 0, np.uint8(Kind.PROMPT), np.where(cells < 0, np.uint8(Kind.TEXT), visual)),
        score=np.zeros(len(frame), np.float32),
        cell=cells,
        weight=np.ones(len(frame), np.float32),
    )


def drawn(n: int, *, seed: int = 0) -> Tensor:
    """Plain keys or values [layers, kv_heads, n, head_dim]."""
    shape = (SHAPE.layers, SHAPE.kv_heads, n, SHAPE.head_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rotated(plain: Tensor, meta: TokenMeta) -> Tensor:
    return turn(plain, waves(ROPE.angle(torch.from_numpy(meta.pos))))


def kept_in_pool(plain: Tensor, values: Tensor, meta: TokenMeta) -> tuple[SlabPool, int]:
    """A slab whose first rows hold these."""
    pool = SlabPool(SHAPE, slabs=1, rows=max(1, len(meta)))
    slab = pool.take()
    pool.keys[slab] = rotated(plain, meta)
    pool.values[slab] = values
    return pool, slab


def rows_of(plain: Tensor, values: Tensor, meta: TokenMeta) -> SlabRows:
    pool, slab = kept_in_pool(plain, values, meta)
    return SlabRows(pool, slab, meta, ROPE)


def fill(kv: KV, plain: Tensor, values: Tensor, meta: TokenMeta) -> None:
    """Append these rows to a memory."""
    tail = kv.tail()
    for layer, (k, v) in enumerate(zip(rotated(plain, meta), values, strict=True)):
        tail.extend(layer, k, v)
    kv.commit(meta, cursor=int(meta.pos.max()) + 1)
