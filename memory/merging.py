"""
Fold rows of a memory into others.

Keys are averaged as they were before rotation and turned to where the surviving row stands: rotated keys of different
ids point in different directions for the same content, so their mean would mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pool import SlabPool
from .rope import Rope, turn, waves
from .types import TokenMeta


@dataclass(frozen=True, slots=True)
class Folded:
    """
    rows: int64 [m], ascending, that others were folded into.
    keys, values: [layers, kv_heads, m, head_dim] of them. meta: that of all n rows, with the new weights.
    """

    rows: NDArray[np.int64]
    keys: Tensor
    values: Tensor
    meta: TokenMeta


def fold(pool: SlabPool, slab: int, meta: TokenMeta, into: NDArray[np.int64], rope: Rope) -> Folded:
    """
    The mean, by weight, of every row that `into` [n] names and the rows that name it; -1 names nothing.

    Reads the slab, writes nothing, does not synchronise. Source: ToMe's size-weighted mean.
    """
    given = np.flatnonzero(into >= 0)
    rows = np.unique(into[given])
    members = np.concatenate((rows, given))
    group = np.searchsorted(rows, np.concatenate((rows, into[given])))
    total = np.bincount(group, weights=meta.weight[members], minlength=len(rows))
    device = pool.shape.device
    at, to = torch.from_numpy(members).to(device), torch.from_numpy(group).to(device)
    share = torch.from_numpy((meta.weight[members] / total[group]).astype(np.float32)).to(device)[:, None]
    back = waves(-rope.angle(torch.from_numpy(meta.pos[:, members]).to(device)))
    forth = waves(rope.angle(torch.from_numpy(meta.pos[:, rows]).to(device)))
    keys, values = [], []
    for layer in range(pool.shape.layers):
        held = pool.layer(slab, layer, len(meta))
        k, v = turn(held[0][:, at], back) * share, held[1][:, at].float() * share
        empty = k.new_zeros(k.shape[0], len(rows), k.shape[2])
        keys.append(turn(empty.index_add(1, to, k), forth).to(pool.shape.dtype))
        values.append(empty.index_add(1, to, v).to(pool.shape.dtype))
    weight = meta.weight.copy()
    weight[rows] = total
    return Folded(rows, torch.stack(keys), torch.stack(values), replace(meta, weight=weight))
