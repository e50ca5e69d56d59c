"""
The words of the KV memory: what a row is, what is known about it, what a policy may ask for.

A *row* is one token's keys and values in every layer. What is known about the rows (TokenMeta) lives on the host, so
that deciding needs no device synchronisation.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Moving = tuple[bool, bool, bool]  # which of a row's ids (t, h, w) grow with time
ALL_MOVE: Moving = (True, True, True)

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
    """Where a row comes from. PROMPT rows are pinned: no policy drops them. KEY: a cell of a frame kept whole."""

    PROMPT = 0
    TEXT = 1
    VISION = 2
    KEY = 3


@dataclass(frozen=True, slots=True)
class TokenMeta:
    """
    What is known about n rows, in the order of the memory.

    frame: int64 [n], the number of the frame a row belongs to, non-decreasing; -1 for the prompt.
    t_ns: int64 [n], when its picture was taken, Unix epoch nanoseconds; 0 for the prompt.
    pos: int64 [3, n], the (t, h, w) ids its keys are rotated by.
    kind: uint8 [n], a Kind.
    score: float32 [n], what the drop rule gave it (higher = more worth keeping).
    cell: int32 [n], the row-major number of its cell in its frame's grid; -1 for text and prompt.
    weight: float32 [n], how many tokens a row stands for: 1, or more once others were merged into it.
    """

    frame: NDArray[np.int64]
    t_ns: NDArray[np.int64]
    pos: NDArray[np.int64]
    kind: NDArray[np.uint8]
    score: NDArray[np.float32]
    cell: NDArray[np.int32]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.frame.shape[0])

    @property
    def visual(self) -> NDArray[np.bool_]:
        """The rows that a picture wrote, not text, as bool [n]."""
        return self.kind >= Kind.VISION

    def take(self, rows: NDArray[np.int64]) -> TokenMeta:
        """Only these rows, copied."""
        return TokenMeta(
            self.frame[rows],
            self.t_ns[rows],
            self.pos[:, rows],
            self.kind[rows],
            self.score[rows],
            self.cell[rows],
            self.weight[rows],
        )

    def shifted(self, shift: NDArray[np.int64], moving: Moving = ALL_MOVE) -> TokenMeta:
        """The same rows with `shift` [n] added to those ids of each that move."""
        return replace(self, pos=self.pos + shift * np.array(moving)[:, None])

    @staticmethod
    def concat(parts: Sequence[TokenMeta]) -> TokenMeta:
        return TokenMeta(
            np.concatenate([part.frame for part in parts]),
            np.concatenate([part.t_ns for part in parts]),
            np.concatenate([part.pos for part in parts], axis=1),
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.cell for part in parts]),
            np.concatenate([part.weight for part in parts]),
        )

    @staticmethod
    def empty() -> TokenMeta:
        return TokenMeta.prompt(np.zeros((3, 0), np.int64))

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
            np.full(n, -1, np.int32),
            np.ones(n, np.float32),
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
    merge_into: int64 [n] or None; where not -1, the row of `keep` that a dropped row is folded into: keys are averaged
        as they were before rotation, values as they are, both by weight.
    archive: int64 [k] or None; dropped rows, ascending, that go to host memory, from where a question may fetch them.
    """

    keep: NDArray[np.int64]
    merge_into: NDArray[np.int64] | None = None
    archive: NDArray[np.int64] | None = None
