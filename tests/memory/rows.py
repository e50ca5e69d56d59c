"""Memories with known content: every row's keys and values are its own number."""

from __future__ import annotations

import numpy as np
import torch

from memory.kv import KV
from memory.pool import SlabPool
from memory.types import Kind, KVShape, TokenMeta

SHAPE = KVShape(layers=2, kv_heads=2, head_dim=8, dtype=torch.float32, device=torch.device("cpu"))


def meta(frames: list[int], *, start: int = 0) -> TokenMeta:
    """One row per entry, of that frame (-1 = prompt), with ids counting from `start` and one frame a second."""
    n = len(frames)
    number = np.array(frames, np.int64)
    return TokenMeta(
        frame=number,
        t_ns=np.where(number < 0, 0, (number + 1) * 1_000_000_000),
        pos=np.tile(np.arange(start, start + n, dtype=np.int64), (3, 1)),
        kind=np.where(number < 0, np.uint8(Kind.PROMPT), np.uint8(Kind.VISION)),
        score=np.zeros(n, np.float32),
        cell=np.where(number < 0, -1, _within(number)).astype(np.int32),
        weight=np.ones(n, np.float32),
    )


def _within(frames: np.ndarray) -> np.ndarray:
    """Which of its frame's rows each row is."""
    n = np.arange(len(frames))
    return n - np.maximum.accumulate(np.where(np.diff(frames, prepend=-2) != 0, n, 0)) if len(frames) else n


def append(kv: KV, frames: list[int], numbers: list[float]) -> None:
    """Write rows with the given content behind the memory and commit them."""
    tail = kv.tail()
    for layer in range(SHAPE.layers):
        content = torch.tensor(numbers)[None, :, None].expand(SHAPE.kv_heads, -1, SHAPE.head_dim) + 100.0 * layer
        tail.extend(layer, content, -content)
    kv.commit(meta(frames, start=kv.cursor), cursor=kv.cursor + len(frames))


def content(pool: SlabPool, slab: int, rows: int, *, layer: int = 0) -> list[float]:
    """The numbers in the first rows of a slab; asserts that keys and values agree."""
    keys, values = pool.layer(slab, layer, rows)
    assert torch.equal(keys, -values)
    assert torch.equal(keys, keys[:1, :, :1].expand_as(keys))
    return (keys[0, :, 0] - 100.0 * layer).tolist()
