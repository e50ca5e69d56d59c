"""
Turn keys that are already rotated to new position ids, and decide which ids those should be.

Attention under RoPE sees differences of ids only, so shifting all rows alike changes nothing but rounding. Ids grow for
ever, fp32 angles and the trained range do not: when they near a limit the memory is *rebased*. Gaps (the ids of dropped
tokens and of forgotten frames) are closed widest first until the ids fit; rows that keep their distances keep their
attention exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .types import ALL_MOVE, Moving, TokenMeta

Waves = tuple[Tensor, Tensor]  # cosine and sine, float32 [n, head_dim / 2]


@dataclass(frozen=True, slots=True)
class Rope:
    """
    How a model rotates its keys.

    inv_freq: [head_dim / 2], inverse frequencies. axes: int64 [head_dim / 2], which of the three ids turns each.
    moving: which of the ids (t, h, w) grow with time and may be moved back; the others are places in the picture.
    """

    inv_freq: Tensor
    axes: Tensor
    moving: Moving = ALL_MOVE

    @property
    def drift(self) -> Tensor:
        """The inverse frequencies of the ids that move, 0 elsewhere: what a shift in time turns."""
        return self.inv_freq * torch.tensor(self.moving, device=self.axes.device)[self.axes]

    def angle(self, pos: Tensor) -> Tensor:
        """The angles of ids int64 [3, n]: float64 [n, head_dim / 2]. Does not synchronise."""
        return pos.to(torch.float64)[self.axes].T * self.inv_freq.to(torch.float64)


def rotate(keys: Tensor, shift: Tensor, inv_freq: Tensor) -> Tensor:
    """
    The keys as if their ids had been `shift` larger; a new tensor of the same dtype.

    Args:
        keys: rotated keys [..., n, head_dim] in the half-split layout of transformers' `rotate_half`.
        shift: int64 [n], added to the M-RoPE ids of a row that move.
        inv_freq: [head_dim / 2], the inverse frequencies of those ids: `Rope.drift`.
    Does not synchronise. Angles are computed in fp64, the turn in fp32: one rounding per call.
    """
    return turn(keys, waves(shift.to(torch.float64)[:, None] * inv_freq.to(torch.float64))).to(keys.dtype)


def waves(angle: Tensor) -> Waves:
    """Cosine and sine of angles float64 [n, head_dim / 2], as float32; work them out once for all layers."""
    return angle.cos().float(), angle.sin().float()


def turn(keys: Tensor, by: Waves) -> Tensor:
    """
    Keys [..., n, head_dim] turned by the angles whose waves [n, head_dim / 2] are given, as float32.

    With `waves(-rope.angle(pos))` it undoes the model's rotation, so that keys of different ids can be compared and
    averaged.
    """
    cos, sin = by
    low, high = keys.float().chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


def rebase(meta: TokenMeta, cursor: int, *, limit: int, moving: Moving = ALL_MOVE) -> tuple[NDArray[np.int64], int]:
    """
    How far each row's ids move so that the next free id is at most `limit`.

    Args:
        meta: the rows, oldest first; rows of one frame (and the prompt) move together.
        cursor: the next free id.
        limit: the id wanted for `cursor`; where the frames alone are wider, every gap is closed and no more is done.
        moving: the ids that grow with time; only they are looked at, and only they are to be moved.
    Returns: shift int64 [n] (all <= 0 relative to the first block) and the new cursor. The first block, the prompt,
    starts at id 0 afterwards.
    """
    if len(meta) == 0:
        return np.zeros(0, np.int64), 0
    first = np.flatnonzero(np.diff(meta.frame, prepend=meta.frame[0] - 1))  # the first row of every block
    ids = meta.pos[np.array(moving)]
    start = np.minimum.reduceat(ids.min(axis=0), first)
    end = np.maximum.reduceat(ids.max(axis=0), first) + 1
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
