"""Keep the newest seconds whole and, of what is older, the tokens that are least repeated and most strongly written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memory.rows import Rows
from memory.tiers import Tiers, take_until
from memory.types import Compaction, TokenMeta


@dataclass(frozen=True, slots=True)
class Salience:
    """
    Two scores, one index set for all layers and heads, so that the memory stays one block.

    TaR, -mean cos(K_i, K_recent of the same cell): what the recent seconds do not show anyway; VaN, the norm of V_i.
    redundancy_share: of every stretch of the order, the share that TaR picks; VaN picks the rest.
    whole_s, key_frames, key_tokens: what stays whatever the scores say, see memory.tiers.
    Source: InfiniPot-V, temporal-axis redundancy and value norm; keys are compared as they were before rotation.
    """

    kind: ClassVar[str] = "salience"
    archives: ClassVar[bool] = False
    redundancy_share: float = 0.5
    whole_s: float = 6.0
    key_frames: int = 8
    key_tokens: int = 4

    def __post_init__(self) -> None:
        if not 0.0 < self.redundancy_share < 1.0:
            raise ValueError(f"redundancy_share: {self.redundancy_share} is not between 0 and 1")
        self._tiers()

    def compact(self, meta: TokenMeta, budget: int, rows: Rows, /) -> Compaction:
        """A frame's time stays with any of its tokens."""
        if len(meta) <= budget:
            return Compaction(np.arange(len(meta), dtype=np.int64))
        tiers = self._tiers()
        fixed = tiers.fixed(meta, budget)
        old = np.flatnonzero(meta.visual & ~fixed)
        tar = -rows.redundancy(tiers.young(meta))[old]
        van = rows.value_norm()[old]
        # a prefix of this order of any length holds the best of TaR and the best of VaN in the wanted shares
        order = np.argsort(
            np.minimum(_rank(tar) / self.redundancy_share, _rank(van) / (1 - self.redundancy_share)), kind="stable"
        )
        kept = take_until(meta, fixed, old[order], budget)
        return Compaction(np.flatnonzero(kept).astype(np.int64))

    def _tiers(self) -> Tiers:
        return Tiers(self.whole_s, self.key_frames, self.key_tokens)


def _rank(score: np.ndarray[tuple[int], np.dtype[np.float32]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """1 for the highest score, and so on; of equal ones the newer first."""
    rank = np.empty(len(score), np.int64)
    rank[np.lexsort((-np.arange(len(score)), -score))] = np.arange(1, len(score) + 1)
    return rank


POLICY = Salience
