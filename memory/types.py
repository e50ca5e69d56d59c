"""
The words of the KV memory: what a row is, what is known about it, what a policy may ask for.

A *row* is one token's keys and values in every layer. What is known about the rows (TokenMeta) lives on the host, so
that deciding needs no device synchronisation.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pair = tuple[Tensor, Tensor]  # keys, values: each [kv_heads, rows, head_dim]


@dataclass(frozen=True, slots=True)
class KVShape:
    """What one row is made of."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    @property
    def row_bytes(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype.itemsize


class Kind(enum.IntEnum):
    """Where a row comes from. PROMPT rows are pinned: no policy drops them."""

    PROMPT = 0
    TEXT = 1
    VISION = 2


@dataclass(frozen=True, slots=True)
class TokenMeta:
    """
    What is known about n rows, in the order of the memory.

    frame: int64 [n], the number of the frame a row belongs to, non-decreasing; -1 for the prompt.
    t_ns: int64 [n], when its picture was taken, Unix epoch nanoseconds; 0 for the prompt.
    pos: int64 [3, n], the (t, h, w) ids its keys are rotated by.
    kind: uint8 [n], a Kind.
    score: float32 [n], what the drop rule gave it (higher = more worth keeping).
    """

    frame: NDArray[np.int64]
    t_ns: NDArray[np.int64]
    pos: NDArray[np.int64]
    kind: NDArray[np.uint8]
    score: NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.frame.shape[0])

    def take(self, rows: NDArray[np.int64]) -> TokenMeta:
        """Only these rows, copied."""
        return TokenMeta(self.frame[rows], self.t_ns[rows], self.pos[:, rows], self.kind[rows], self.score[rows])

    def shifted(self, shift: NDArray[np.int64]) -> TokenMeta:
        """The same rows with `shift` [n] added to all three ids of each."""
        return TokenMeta(self.frame, self.t_ns, self.pos + shift, self.kind, self.score)

    @staticmethod
    def concat(parts: Sequence[TokenMeta]) -> TokenMeta:
        return TokenMeta(
            np.concatenate([part.frame for part in parts]),
            np.concatenate([part.t_ns for part in parts]),
            np.concatenate([part.pos for part in parts], axis=1),
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.score for part in parts]),
        )

    @staticmethod
    def empty() -> TokenMeta:
        return TokenMeta(
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros((3, 0), np.int64),
            np.zeros(0, np.uint8),
            np.zeros(0, np.float32),
        )

    @staticmethod
    def prompt(pos: NDArray[np.int64]) -> TokenMeta:
        """Pinned rows with the ids `pos` [3, n]."""
        n = pos.shape[1]
        return TokenMeta(
            np.full(n, -1, np.int64),
            np.zeros(n, np.int64),
            pos,
            np.full(n, Kind.PROMPT, np.uint8),
            np.zeros(n, np.float32),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in memory, Unix epoch nanoseconds, both ends held."""

    t0_ns: int
    t1_ns: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """
    What a policy decided.

    keep: int64 [m], strictly ascending rows that stay, in this order.
    merge_into: int64 [n] or None; where not -1, the surviving row that a dropped row is folded into. No policy of this
    version sets it, and `KV.apply` refuses it.
    """

    keep: NDArray[np.int64]
    merge_into: NDArray[np.int64] | None = None
