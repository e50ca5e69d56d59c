"""A fast kernel on trial: a small batch of every kind of work, against the plain kernel, on the device itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memory.kv import KV
from memory.pool import SlabPool
from memory.types import KVShape, TokenMeta

from .base import Kernel, Portion, Work
from .reference import Reference

TOLERANCE = {torch.bfloat16: 3e-2, torch.float16: 5e-3}
SLAB_ROWS, SUFFIX_ROWS = 256, 96
SEED = 3


@dataclass(frozen=True, slots=True)
class Case:
    """The shape of a decoder's attention, and the head size of the encoder's."""

    heads: int
    kv_heads: int
    head_dim: int
    segment_dim: int


def disagreement(kernel: Kernel, case: Case, *, device: torch.device, dtype: torch.dtype) -> float:
    """
    The largest difference between what `kernel` and the plain one (in fp32) compute or store, of values around 1.

    Allocates a few MiB, synchronises. Raises: whatever the kernel raises.
    """
    mine, plain = (_decoder(each, case, device=device, dtype=kind) for each, kind in _both(kernel, dtype))
    worst = [(a.float() - b).abs().max() for a, b in zip(mine, plain, strict=True)]
    random = torch.Generator().manual_seed(SEED)
    q, k, v = torch.randn(3, 4, 60, case.segment_dim, generator=random).to(device, dtype).unbind()
    cuts = [0, 16, 32, 32, 44, 60]  # an empty window too
    one = kernel.segments(q, k, v, cuts, scale=0.2).float()
    two = Reference().segments(q.float(), k.float(), v.float(), cuts, scale=0.2)
    portions = [_portions(each, case, device=device, dtype=kind) for each, kind in _both(kernel, dtype)]
    worst += [(one - two).abs().max(), *((a.float() - b).abs().max() for a, b in zip(*portions, strict=True))]
    return float(torch.stack(worst).max())  # nan where one is: Python's max may lose it


def allowed(dtype: torch.dtype) -> float:
    """How far a right kernel may be off in this dtype."""
    return TOLERANCE.get(dtype, 1e-5)


def _decoder(kernel: Kernel, case: Case, *, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Prompt, frames and rules behind memories, forks with and without rows of their own; outputs and stored rows."""
    shape = KVShape(layers=2, kv_heads=case.kv_heads, head_dim=case.head_dim, dtype=dtype, device=device)
    pool = SlabPool(shape, slabs=4, rows=SLAB_ROWS)
    suffixes = SlabPool(replace(shape), slabs=2, rows=SUFFIX_ROWS)
    random = torch.Generator().manual_seed(SEED)
    for each in (pool, suffixes):
        for held in (each.keys, each.values):
            held.copy_(torch.randn(held.shape, generator=random).to(torch.bfloat16))
    memories = []
    for rows in (0, 37, 120, 61):
        kv = KV(pool, budget=SLAB_ROWS)
        kv.commit(TokenMeta.prompt(np.tile(np.arange(rows), (3, 1))), cursor=rows)
        memories.append(kv)
    fresh, asked = memories[1].fork(suffixes), memories[2].fork(suffixes)
    asked.commit(5)
    work = [
        Work(memories[0].tail(), (7,)),
        Work(memories[1].tail(), (9,)),
        Work(fresh, (6,)),
        Work(memories[2].tail(), (3, 1, 4)),
        Work(asked, (1,)),
        Work(memories[3].tail(), (6, 2, 3, 4, 1, 5), after=(-1, 0, 1, 1, 0, 3)),
        Work(memories[2].part(np.arange(1, 120, 3)), (4, 2)),
        Work(memories[3].part(np.arange(0, 61, 4)), (4, 3, 2, 1), after=(-1, 0, -1, 2)),
    ]
    outputs = [
        _layers(kernel, chosen, case, random, device=device, dtype=dtype)
        for chosen in (work, work[1:2], work[4:5], work[5:6], work[6:7], work[7:])
    ]
    return [*outputs, pool.keys, pool.values, suffixes.keys, suffixes.values]


def _portions(kernel: Kernel, case: Case, *, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Pictures of which all, some and one patch is new; outputs and stored rows."""
    shape = KVShape(layers=2, kv_heads=4, head_dim=case.segment_dim, dtype=dtype, device=device)
    pool = SlabPool(shape, slabs=4, rows=SLAB_ROWS)
    random = torch.Generator().manual_seed(SEED)
    for held in (pool.keys, pool.values):
        held.copy_(torch.randn(held.shape, generator=random).to(torch.bfloat16))
    work = [Portion(3, np.arange(60), 60), Portion(0, np.arange(4, 90, 3), 96), Portion(2, np.array([7]), 24)]
    total = sum(len(each.rows) for each in work)
    batch = kernel.portions(pool, work, device=device)
    outputs = []
    for layer in range(2):
        q, k, v = torch.randn(3, 4, total, case.segment_dim, generator=random).to(torch.bfloat16).to(device, dtype)
        outputs.append(batch.attend(layer, q, k, v, scale=case.segment_dim**-0.5))
    return [*outputs, pool.keys, pool.values]


def _both(kernel: Kernel, dtype: torch.dtype) -> tuple[tuple[Kernel, torch.dtype], tuple[Kernel, torch.dtype]]:
    """The kernel on trial in its type, and the yardstick in fp32."""
    return (kernel, dtype), (Reference(), torch.float32)


def _layers(
    kernel: Kernel, work: list[Work], case: Case, random: torch.Generator, *, device: torch.device, dtype: torch.dtype
) -> Tensor:
    batch = kernel.plan(work, device=device, dtype=dtype)
    total = sum(len(each) for each in work)
    outputs = []
    for layer in range(2):
        query, keys, values = (
            torch.randn(heads, total, case.head_dim, generator=random).to(torch.bfloat16).to(device, dtype)
            for heads in (case.heads, case.kv_heads, case.kv_heads)
        )
        outputs.append(batch.attend(layer, query, keys, values, scale=case.head_dim**-0.5))
    return torch.stack(outputs)
