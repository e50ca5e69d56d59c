"""Keep the first rows (sinks) and the newest frames, whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from memory.rows import Rows
from memory.types import Compaction, Kind, TokenMeta


@dataclass(frozen=True, slots=True)
class Window:
    """
    Attention sinks and a window of recent frames.

    sinks: rows at the front that always stay, beside the pinned prompt (which usually is longer, and then is enough).
    Source: StreamingLLM / StreamingVLM, sinks + window; ids keep their gaps.
    """

    kind: ClassVar[str] = "window"
    archives: ClassVar[bool] = False
    sinks: int = 4

    def __post_init__(self) -> None:
        if self.sinks < 0:
            raise ValueError(f"sinks: {self.sinks} is negative")

    def compact(self, meta: TokenMeta, budget: int, _rows: Rows, /) -> Compaction:
        """A frame stays whole or goes whole, with its time; only a newest one wider than the room is cut."""
        n = len(meta)
        if n <= budget:
            return Compaction(np.arange(n, dtype=np.int64))
        prompt = meta.kind == Kind.PROMPT
        if int(prompt.sum()) > budget:
            raise ValueError(f"a budget of {budget} rows does not hold the {int(prompt.sum())} pinned ones")
        fixed = prompt.copy()
        fixed[: min(self.sinks, budget)] = True
        if int(fixed.sum()) > budget:
            fixed = prompt
        room = budget - int(fixed.sum())
        free = np.flatnonzero(~fixed)
        newer = np.arange(len(free), 0, -1)  # rows from here to the end
        first = np.diff(meta.frame[free], prepend=-2) != 0  # a frame starts here
        fits = np.flatnonzero(first & (newer <= room))
        newest = free[fits[0] :] if len(fits) else free[len(free) - room :]
        return Compaction(np.sort(np.concatenate((np.flatnonzero(fixed), newest))).astype(np.int64))


POLICY = Window
