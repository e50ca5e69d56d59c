"""Which of two right kernels for a CPU is faster on it: both run a camera's rules and a picture, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from memory.kv import KV
from memory.pool import SlabPool
from memory.types import KVShape, TokenMeta

from .base import Kernel, Work
from .products import one_thread
from .trial import Case

HELD: Final = 1024  # rows that rules look at
BLOCKS: Final = (12,) * 8
PATCHES: Final = 768  # of a picture
PICTURE_HEADS: Final = 4
TIMES: Final = 9
SEED: Final = 3


def gain(kernel: Kernel, over: Kernel, case: Case) -> tuple[float, float]:
    """
    How many times faster `kernel` is than `over`, in float32: on rules behind a memory, and on a picture.

    Blocks for moments, on one thread; allocates a few MiB.
    """
    with one_thread(), torch.inference_mode():
        rules = [_rules(each, case) for each in (kernel, over)]
        pictures = [_picture(each, case) for each in (kernel, over)]
        (rules_s, over_rules_s), (picture_s, over_picture_s) = _best_s(rules), _best_s(pictures)
    return over_rules_s / rules_s, over_picture_s / picture_s


def _rules(kernel: Kernel, case: Case) -> Callable[[], object]:
    device, dtype = torch.device("cpu"), torch.float32
    total = sum(BLOCKS)
    shape = KVShape(layers=1, kv_heads=case.kv_heads, head_dim=case.head_dim, dtype=dtype, device=device)
    pool = SlabPool(shape, slabs=1, rows=HELD + total)
    random = torch.Generator().manual_seed(SEED)
    for held in (pool.keys, pool.values):
        held.normal_(generator=random)
    kv = KV(pool, budget=HELD)
    kv.commit(TokenMeta.prompt(np.tile(np.arange(HELD), (3, 1))), cursor=HELD)
    work = [Work(kv.tail(), BLOCKS)]
    query, keys, values = (
        torch.randn(heads, total, case.head_dim, generator=random)
        for heads in (case.heads, case.kv_heads, case.kv_heads)
    )
    scale = case.head_dim**-0.5
    return lambda: kernel.plan(work, device=device, dtype=dtype).attend(0, query, keys, values, scale=scale)


def _picture(kernel: Kernel, case: Case) -> Callable[[], object]:
    random = torch.Generator().manual_seed(SEED)
    q, k, v = torch.randn(3, PICTURE_HEADS, PATCHES, case.segment_dim, generator=random).unbind()
    return lambda: kernel.segments(q, k, v, (0, PATCHES), scale=case.segment_dim**-0.5)


def _best_s(ways: list[Callable[[], object]]) -> list[float]:
    """The best time of each, taken in turns; the first turn warms."""
    best = [float("inf")] * len(ways)
    for turn in range(TIMES + 1):
        for at, way in enumerate(ways):
            began = time.thread_time()
            way()
            if turn:
                best[at] = min(best[at], time.thread_time() - began)
    return best
