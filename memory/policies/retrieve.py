"""Keep the newest tokens on the device and send the older ones to host memory, from where a question fetches spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memory.rows import Rows
from memory.tiers import Tiers, take_until
from memory.types import Compaction, Kind, TokenMeta


@dataclass(frozen=True, slots=True)
class Retrieve:
    """
    What is old leaves in the order of time; the archive is bounded in bytes and forgets its oldest span first.

    whole_s, key_frames, key_tokens: what stays on the device in any case, see memory.tiers.
    Source: ReKV, question-time retrieval from host memory by keys before rotation.
    """

    kind: ClassVar[str] = "retrieve"
    archives: ClassVar[bool] = True
    whole_s: float = 6.0
    key_frames: int = 8
    key_tokens: int = 4

    def __post_init__(self) -> None:
        self._tiers()

    def compact(self, meta: TokenMeta, budget: int, _rows: Rows, /) -> Compaction:
        """A frame's time stays with any of its tokens, and goes with its last."""
        if len(meta) <= budget:
            return Compaction(np.arange(len(meta), dtype=np.int64))
        fixed = self._tiers().fixed(meta, budget)
        kept = take_until(meta, fixed, np.flatnonzero(meta.visual & ~fixed)[::-1], budget)
        return Compaction(
            np.flatnonzero(kept).astype(np.int64),
            archive=np.flatnonzero(~kept & (meta.kind != Kind.PROMPT)).astype(np.int64),
        )

    def _tiers(self) -> Tiers:
        return Tiers(self.whole_s, self.key_frames, self.key_tokens)


POLICY = Retrieve
