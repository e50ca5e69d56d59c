"""
Old spans brought back for questions: what a camera has archived and a question seems to be about.

The question is read once more, on the side, to learn what it looks for: its queries before rotation, averaged, against
the averaged keys of every span. Costs one forward and one synchronisation, only for cameras with an archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from memory.archive import Shelf
from memory.kv import Fork
from memory.rope import turn, waves
from memory.types import Span

from .models.base import Chunk, VisionLanguageModel

Asked = tuple[Shelf | None, Fork, Chunk]  # what is archived, where the question will be read, and the question


class Recall:
    """
    Brings back at most `max_tokens` a question, none of them further than `reach` ids from it.

    Source: ReKV, with one set of spans for all layers.
    """

    def __init__(self, model: VisionLanguageModel, *, max_tokens: int, reach: int) -> None:
        self._model = model
        self._rope = model.rope
        self._max_tokens = max_tokens
        self._reach = reach

    def fetch(self, asked: Sequence[Asked]) -> list[tuple[Span, ...]]:
        """Fill the forks of fresh questions, and tell of each what came back. Copies to the device, synchronises."""
        spans: list[tuple[Span, ...]] = [()] * len(asked)
        filled = [(i, shelf, fork, chunk) for i, (shelf, fork, chunk) in enumerate(asked) if shelf]
        if not filled or not self._max_tokens:
            return spans
        probes = [replace(chunk, read=(), queries=[]) for _, _, _, chunk in filled]
        self._model.forward(probes)  # behind the forks' rows and not committed: the question overwrites it
        wanted = torch.stack([self._looks_for(probe) for probe in probes]).cpu()
        for (i, shelf, fork, chunk), query in zip(filled, wanted, strict=True):
            chosen = shelf.nearest(query, max_rows=self._max_tokens)
            if chosen:
                recalled = shelf.read(chosen, cursor=int(chunk.pos[0, 0]), reach=self._reach)
                fork.recall(recalled)
                spans[i] = recalled.spans
        return spans

    def _looks_for(self, probe: Chunk) -> Tensor:
        """The mean query before rotation: float32 [layers, kv_heads, head_dim]."""
        assert probe.queries, "the attention left no queries"
        back = waves(-self._rope.angle(torch.from_numpy(probe.pos).to(probe.queries[0].device)))
        plain = torch.stack([turn(query, back).mean(dim=1) for query in probe.queries])  # [layers, heads, head_dim]
        layers, _, dim = plain.shape
        return plain.reshape(layers, self._model.kv.kv_heads, -1, dim).mean(dim=2)
