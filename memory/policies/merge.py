"""Fold old tokens into the next token of their cell where their keys are alike; forget the oldest where none are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from memory.rows import Rows, next_of_cell
from memory.tiers import Tiers, take_until
from memory.types import Compaction, TokenMeta


@dataclass(frozen=True, slots=True)
class Merge:
    """
    The most alike pairs go first; a chain of merges ends in its newest row, which keeps its own time and ids.

    similarity: mean cosine of the keys before rotation below which two tokens are not the same thing; beyond that the
    oldest tokens are dropped. The newest seconds are neither merged nor merged into.
    whole_s, key_frames, key_tokens: what stays whatever is alike, see memory.tiers.
    Source: token merging as in ToMe and LiveVLM, on keys before rotation; rotated keys are never averaged.
    """

    kind: ClassVar[str] = "merge"
    archives: ClassVar[bool] = False
    similarity: float = 0.8
    whole_s: float = 6.0
    key_frames: int = 8
    key_tokens: int = 4

    def __post_init__(self) -> None:
        if not -1.0 <= self.similarity <= 1.0:
            raise ValueError(f"similarity: {self.similarity} is outside -1..1")
        self._tiers()

    def compact(self, meta: TokenMeta, budget: int, rows: Rows, /) -> Compaction:
        """A frame's time stays with any of its tokens."""
        n = len(meta)
        if n <= budget:
            return Compaction(np.arange(n, dtype=np.int64))
        tiers = self._tiers()
        fixed = tiers.fixed(meta, budget)
        loose = meta.visual & ~fixed
        into = next_of_cell(meta)
        into[~loose | tiers.young(meta)[into]] = -1
        alike = rows.similarity(into)
        pairs = np.flatnonzero((into >= 0) & (alike >= self.similarity))
        merged = pairs[np.argsort(-alike[pairs], kind="stable")][: n - budget]
        stays = loose.copy()
        stays[merged] = False
        newest_first = np.flatnonzero(stays)[::-1]
        kept = take_until(meta, fixed, newest_first, budget)
        into[~np.isin(np.arange(n), merged)] = -1
        return Compaction(np.flatnonzero(kept).astype(np.int64), merge_into=_ends(into, kept))

    def _tiers(self) -> Tiers:
        return Tiers(self.whole_s, self.key_frames, self.key_tokens)


def _ends(into: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where every chain of merges ends; -1 where its end is not kept either."""
    end = np.where(into >= 0, into, np.arange(len(into)))
    while not np.array_equal(end, further := end[end]):
        end = further
    return np.where((into >= 0) & kept[end], end, -1)


POLICY = Merge
