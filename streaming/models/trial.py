"""The lean forward on trial: a small batch of every kind of chunk against the stock one, on this model and device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memory.kernels import Kernel, allowed
from memory.kv import KV
from memory.pool import SlabPool
from memory.types import KVShape, TokenMeta

from .base import Chunk, Parts, text_ids
from .forwards import ChosenForward, Features, Forward, StockForward
from .lean import LeanForward
from .ragged import Ragged

SEED = 5
SLAB_ROWS, SUFFIX_ROWS, HELD = 64, 32, 23
LENGTHS = (9, 7, 11, 12, 5)  # of the chunks below


def choose(parts: Parts, kv: KVShape, kernel: Kernel) -> ChosenForward:
    """
    The lean forward where the model is built as it expects and it agrees with the stock one; else that one, and why.

    Mutates where the model's linear weights lie. Blocks for moments, allocates some MiB, synchronises.
    """
    text = parts.model.model.language_model
    stock = StockForward(text)
    try:
        lean = LeanForward(text)
    except (ValueError, AttributeError) as error:
        return ChosenForward(stock, str(error))
    try:
        off = disagreement(lean, stock, parts, kv, kernel)
    except (RuntimeError, TypeError) as error:  # an operator of torch's inside
        return ChosenForward(stock, f"lean failed its trial: {str(error).strip().splitlines()[0]}")
    if off <= allowed(kv.dtype):  # not so where it is nan
        return ChosenForward(lean, f"{off:.0e} off stock on trial")
    return ChosenForward(stock, f"lean is {off:.0e} off it")


@torch.inference_mode()
def disagreement(one: Forward, other: Forward, parts: Parts, kv: KVShape, kernel: Kernel) -> float:
    """
    The largest distance between what both compute, or store in a layer, as a share of its length and per root of the
    layers up to there: each rounds in its own way, which adds up as a random walk does.

    Raises: whatever one of them raises.
    """
    pairs = zip(_outcome(one, parts, kv, kernel), _outcome(other, parts, kv, kernel), strict=True)
    apart = [(a - b).norm() / b.norm() / math.sqrt(1 + depth) for (depth, a), (_, b) in pairs]
    return float(torch.stack(apart).max())  # nan where one is


def _outcome(forward: Forward, parts: Parts, kv: KVShape, kernel: Kernel) -> list[tuple[int, Tensor]]:
    """What is read, and the keys and values of every row that was written, as float32; each behind how many layers."""
    pool, suffixes = SlabPool(kv, slabs=3, rows=SLAB_ROWS), SlabPool(kv, slabs=1, rows=SUFFIX_ROWS)
    random = torch.Generator().manual_seed(SEED)
    width = int(parts.model.config.text_config.hidden_size)
    table = parts.model.model.language_model.embed_tokens.weight
    ids = torch.randint(len(table), (sum(LENGTHS),), generator=random).to(table.device)
    memories = [KV(pool, budget=SLAB_ROWS) for _ in range(3)]
    for memory in memories[1:]:  # held rows as the model writes them: by a forward of their own
        first = Chunk(table[ids[:HELD]], text_ids(0, HELD), memory.tail(), (HELD,))
        _run(forward, [first], kv, kernel, None)
        memory.commit(TokenMeta.prompt(first.pos), cursor=HELD)
    embeds = table[ids].split(LENGTHS)
    frame = np.stack((np.full(9, 4), np.repeat(np.arange(4, 7), 3), np.tile(np.arange(4, 7), 3)))
    chunks = [
        Chunk(embeds[0], frame, memories[0].tail(), (9,), visual=np.arange(2, 8)),
        Chunk(embeds[1], text_ids(HELD, 7), memories[1].fork(suffixes), (7,), read=(6,)),
        Chunk(embeds[2], text_ids(HELD, 11), memories[1].tail(), (4, 3, 1, 3), after=(-1, 0, 0, 2), read=(6, 10)),
        Chunk(embeds[3], text_ids(HELD, 12), memories[2].part(np.arange(0, HELD, 3)), (5, 7), read=(4, 11)),
        Chunk(embeds[4], text_ids(HELD + 40, 5), memories[2].tail(), (5,), read=(0, 4)),
    ]
    deep = len(getattr(parts.model.config.vision_config, "deepstack_visual_indexes", ()))
    features = torch.randn(deep, 6, width, generator=random).to(table.device, table.dtype) * table.std()
    read = _run(forward, chunks, kv, kernel, Features(np.arange(2, 8), features.unbind()) if deep else None)
    stored = (part for each in (pool, suffixes) for part in (each.keys, each.values))
    layers = [(depth, layer.float()) for part in stored for depth, layer in enumerate(part.unbind(dim=1))]
    return [(kv.layers, read.float()), *layers]


def _run(forward: Forward, chunks: Sequence[Chunk], kv: KVShape, kernel: Kernel, features: Features | None) -> Tensor:
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    read = [int(start) + row for start, chunk in zip(starts, chunks, strict=False) for row in chunk.read]
    return forward(
        Ragged(chunks, kernel=kernel, device=kv.device, dtype=kv.dtype),
        torch.cat([chunk.embeds for chunk in chunks]),
        torch.from_numpy(np.concatenate([chunk.pos for chunk in chunks], axis=1)).to(kv.device),
        torch.tensor(read, dtype=torch.long, device=kv.device),
        features=features,
    )
