"""
Turn keys that are already rotated to new position ids, and decide which ids those should be.

Attention under RoPE sees differences of ids only, so shifting all rows alike changes nothing but rounding. Ids grow for
ever, fp32 angles and the trained range do not: when they near a limit the memory is *rebased*. Gaps (the ids of dropped
tokens and of forgotten frames) are closed widest first until the ids fit; rows that keep their distances keep their
attention exactly.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .types import TokenMeta


def rotate(keys: Tensor, shift: Tensor, inv_freq: Tensor) -> Tensor:
    """
    The keys as if their ids had been `shift` larger; a new tensor of the same dtype.

    Args:
        keys: rotated keys [..., n, head_dim] in the half-split layout of transformers' `rotate_half`.
        shift: int64 [n], added to all three M-RoPE ids of a row (a common shift turns every section alike).
        inv_freq: [head_dim / 2], the model's inverse frequencies.
    Does not synchronise. Angles are computed in fp64, the turn in fp32: one rounding per call.
    """
    angle = shift.to(torch.float64)[:, None] * inv_freq.to(torch.float64)
    cos, sin = angle.cos().float(), angle.sin().float()  # [n, head_dim / 2]
    low, high = keys.float().chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1).to(keys.dtype)


def rebase(meta: TokenMeta, cursor: int, *, limit: int) -> tuple[NDArray[np.int64], int]:
    """
    How far each row's ids move so that the next free id is at most `limit`.

    Args:
        meta: the rows, oldest first; rows of one frame (and the prompt) move together.
        cursor: the next free id.
        limit: the id wanted for `cursor`; where the frames alone are wider, every gap is closed and no more is done.
    Returns: shift int64 [n] (all <= 0 relative to the first block) and the new cursor. The first block, the prompt,
    starts at id 0 afterwards.
    """
    if len(meta) == 0:
        return np.zeros(0, np.int64), 0
    first = np.flatnonzero(np.diff(meta.frame, prepend=meta.frame[0] - 1))  # the first row of every block
    start = np.minimum.reduceat(meta.pos.min(axis=0), first)
    end = np.maximum.reduceat(meta.pos.max(axis=0), first) + 1
    gaps = np.append(start[1:], cursor) - end  # behind every block
    room = limit - int((end - start).sum())
    closed = _close_widest(np.maximum(gaps, 0), room)
    moved = np.concatenate(([0], np.cumsum((end - start) + closed)))
    block = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(meta))))
    return (moved[:-1] - start)[block], int(moved[-1])


def _close_widest(gaps: NDArray[np.int64], room: int) -> NDArray[np.int64]:
    """Cap the gaps at the largest common width at which they fit into `room` together."""
    if int(gaps.sum()) <= room:
        return gaps
    low, high = 0, int(gaps.max())  # the cap lies in [low, high): low fits or is 0, high does not fit
    while high - low > 1:
        middle = (low + high) // 2
        if int(np.minimum(gaps, middle).sum()) <= room:
            low = middle
        else:
            high = middle
    return np.minimum(gaps, low)
