"""
How many CPU threads a pass through the model runs on: as many as make it faster, found out while it runs.

More of them help large batches, do nothing for small ones, and harm wherever other processes want the cores. What is
true of a machine changes with what else it does, so every size of a batch keeps trying all numbers now and then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor

from .models.base import Chunk, Encoded, VisionLanguageModel
from .models.canvas import Canvas
from .models.patches import PatchGrid

FIRST: Final = 3  # times that each number is tried before one is chosen
AGAIN: Final = 64  # passes of a size after which all are tried once more
RECENT: Final = 5  # times that are remembered of each number
GAIN: Final = 1.1  # what more threads must be faster by: they take cores from others


@dataclass(slots=True)
class _Size:
    """What batches of one size have taken, in seconds a row, by the number of threads."""

    took: dict[int, deque[float]] = field(default_factory=dict)
    passes: int = 0


class ThreadChoice:
    """
    Chooses among 1, 2, 4 … `most` threads, for every kind and size of a batch by itself.

    use: sets the number for what runs next, on the calling thread. now: seconds.
    """

    def __init__(
        self,
        most: int,
        *,
        use: Callable[[int], None] = torch.set_num_threads,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        doubled = [1 << power for power in range(most.bit_length())]
        self.numbers: tuple[int, ...] = (*doubled, most) if doubled[-1] != most else tuple(doubled)
        self._use = use
        self._now = now
        self._sizes: dict[tuple[str, int], _Size] = {}

    @contextmanager
    def over(self, kind: str, rows: int) -> Iterator[int]:
        """Inside, operations run on the number of threads that this hands out; behind it, on `most`, as before."""
        size = self._sizes.setdefault((kind, rows.bit_length()), _Size())
        threads = self._next(size)
        self._use(threads)
        began = self._now()
        try:
            yield threads
        finally:
            self._use(self.numbers[-1])
        size.took.setdefault(threads, deque(maxlen=RECENT)).append((self._now() - began) / max(1, rows))
        size.passes += 1

    def _next(self, size: _Size) -> int:
        first = FIRST * len(self.numbers)
        at = size.passes if size.passes < first else (size.passes - first) % AGAIN - (AGAIN - len(self.numbers))
        return self.numbers[at % len(self.numbers)] if at >= 0 else self._best(size)

    def _best(self, size: _Size) -> int:
        """The fewest that are not clearly slower."""
        best, took = 1, float("inf")
        for number in self.numbers:
            if (times := size.took.get(number)) and (typical := median(times)) * GAIN <= took:
                best, took = number, typical
        return best


class Threaded:
    """A model whose passes run on as many threads as `choice` says; the rest is the model's own."""

    def __init__(self, model: VisionLanguageModel, choice: ThreadChoice) -> None:
        self._model = model
        self._choice = choice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, grids: Sequence[PatchGrid], canvases: Sequence[Canvas] = ()) -> list[Encoded]:
        with self._choice.over("encode", sum(len(grid.patches) for grid in grids)):
            return self._model.encode(grids, canvases)

    def forward(self, chunks: Sequence[Chunk], *, words: Tensor | None = None) -> Tensor:
        with self._choice.over("forward", sum(len(chunk) for chunk in chunks)):
            return self._model.forward(chunks, words=words)
