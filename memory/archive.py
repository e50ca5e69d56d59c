"""
Old spans in host memory: where rows go that leave a device memory, until a question brings the fitting ones back.

A *span* is a block of neighbouring rows of one camera. All spans of all cameras lie in one pool of equal blocks, taken
from the host once, so that the archive can neither grow nor fragment. Full means that the oldest span goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import IntegrityError
from .pool import SlabPool
from .rope import Rope, turn, waves
from .types import KVShape, Span, TokenMeta

SPAN_ROWS = 64


@dataclass(slots=True)
class _Held:
    """One block: its slab, what its rows are, and how far ids have moved since each row's keys were rotated."""

    slab: int
    meta: TokenMeta
    moved: NDArray[np.int64]

    @property
    def span(self) -> Span:
        return Span(int(self.meta.t_ns[0]), int(self.meta.t_ns[-1]))


@dataclass(frozen=True, slots=True)
class Recalled:
    """
    Rows brought back, oldest first: keys turned to the ids where a question expects them.

    keys, values: [layers, kv_heads, n, head_dim] on the host. spans: where they are from in time.
    """

    keys: Tensor
    values: Tensor
    pos: NDArray[np.int64]
    spans: tuple[Span, ...]


def span_bytes(shape: KVShape, span_rows: int = SPAN_ROWS) -> int:
    """What a span takes of an archive: its rows and, for the search, the mean of its keys. The smallest archive."""
    return span_rows * shape.row_bytes + shape.row_bytes // 2


class Archive:
    """
    The host memory of all cameras, at most `budget_bytes`. Allocates it at once, page-locked where a GPU reads it.

    Raises: ValueError: the budget does not hold one span.
    """

    def __init__(self, shape: KVShape, *, budget_bytes: int, rope: Rope, span_rows: int = SPAN_ROWS) -> None:
        host = replace(shape, device=torch.device("cpu"))
        self.span_bytes = span_bytes(shape, span_rows)
        blocks = budget_bytes // self.span_bytes
        if blocks < 1:
            raise ValueError(f"{budget_bytes} bytes of archive do not hold one span of {self.span_bytes} bytes")
        self.rope = rope
        self.pool = SlabPool(host, slabs=blocks, rows=span_rows, pin=shape.device.type == "cuda")
        self.means: Tensor = torch.zeros(blocks, shape.layers, shape.kv_heads, shape.head_dim, dtype=shape.dtype)
        self._shelves: list[Shelf] = []

    def shelf(self, *, budget_bytes: int | None = None) -> Shelf:
        """One camera's part, which holds at most `budget_bytes` and never sees another's."""
        blocks = self.pool.total if budget_bytes is None else min(self.pool.total, budget_bytes // self.span_bytes)
        shelf = Shelf(self, blocks)
        self._shelves.append(shelf)
        return shelf

    def take(self) -> int:
        """A block, at the cost of the oldest span of the widest shelf where none is free."""
        if not self.pool.free:
            max(self._shelves, key=len).drop_oldest()
        return self.pool.take()

    def leave(self, shelf: Shelf) -> None:
        self._shelves.remove(shelf)

    def check(self) -> None:
        """Prove that every block is free or some shelf's, and one's only. Raises: IntegrityError."""
        self.pool.check()
        slabs = [slab for shelf in self._shelves for slab in shelf.slabs]
        if len(set(slabs)) != len(slabs) or len(slabs) != self.pool.used:
            raise IntegrityError(f"{self.pool.used} archive blocks are taken, {len(slabs)} are known")
        if any(len(shelf) > shelf.blocks for shelf in self._shelves):
            raise IntegrityError("a camera's archive is beyond its budget")


class Shelf:
    """The archived spans of one camera, oldest first; `blocks` at most."""

    def __init__(self, archive: Archive, blocks: int) -> None:
        self.blocks = blocks
        self._archive = archive
        self._spans: deque[_Held] = deque()

    def __len__(self) -> int:
        """Spans held."""
        return len(self._spans)

    @property
    def rows(self) -> int:
        return sum(len(held.meta) for held in self._spans)

    @property
    def bytes(self) -> int:
        return len(self._spans) * self._archive.span_bytes

    @property
    def slabs(self) -> tuple[int, ...]:
        return tuple(held.slab for held in self._spans)

    def add(self, keys: Tensor, values: Tensor, meta: TokenMeta) -> None:
        """
        Take rows in, [layers, kv_heads, n, head_dim] rotated by the ids of `meta`, oldest first; the oldest spans go.

        Copies to the host: synchronises.
        """
        if self.blocks == 0:
            return
        pool = self._archive.pool
        back = waves(-self._archive.rope.angle(torch.from_numpy(meta.pos).to(keys.device)))
        plain = torch.stack([turn(layer, back) for layer in keys]).cpu()
        keys, values = keys.cpu(), values.cpu()
        at = 0
        while at < len(meta):
            held = self._open()
            start = len(held.meta)
            stop = at + min(len(meta) - at, pool.rows - start)
            rows = slice(start, start + stop - at)
            pool.keys[held.slab, :, :, rows] = keys[:, :, at:stop]
            pool.values[held.slab, :, :, rows] = values[:, :, at:stop]
            mean, share = self._archive.means[held.slab].float(), start / rows.stop
            self._archive.means[held.slab] = share * mean + (1 - share) * plain[:, :, at:stop].mean(dim=2)
            held.meta = TokenMeta.concat((held.meta, meta.take(np.arange(at, stop))))
            held.moved = np.append(held.moved, np.zeros(stop - at, np.int64))
            at = stop

    def move(self, shift: int) -> None:
        """Follow a memory whose next free id moved by `shift`; keys are turned only when they are brought back."""
        for held in self._spans:
            held.moved += shift

    def nearest(self, query: Tensor, *, max_rows: int) -> list[int]:
        """
        The spans most alike to `query`, as numbers in order of time, as many as fit into `max_rows`.

        query: float32 [layers, kv_heads, head_dim] before rotation, on the host.
        """
        if not self._spans:
            return []
        means = self._archive.means[list(self.slabs)].float()
        alike = torch.cosine_similarity(means, query[None], dim=-1).mean(dim=(1, 2))
        chosen: list[int] = []
        for number in alike.argsort(descending=True, stable=True).tolist():
            if len(self._spans[number].meta) > max_rows:
                break
            max_rows -= len(self._spans[number].meta)
            chosen.append(number)
        return sorted(chosen)

    def read(self, numbers: Sequence[int], *, cursor: int, reach: int) -> Recalled:
        """
        The rows of these spans, at the distance from `cursor` that they had, at most `reach` of it.

        What is further away than `reach` is drawn near, span behind span, so that no distance leaves the trained range.
        """
        pool, chosen = self._archive.pool, [self._spans[number] for number in numbers]
        moving = np.array(self._archive.rope.moving)
        drift = self._archive.rope.drift.to("cpu", torch.float64).numpy()
        farthest = cursor - reach
        keys, values, places = [], [], []
        for held in chosen:
            n = len(held.meta)
            ids = held.meta.pos[moving] + held.moved
            pull = max(0, farthest - int(ids.min()))
            if pull:
                farthest = int(ids.max()) + pull + 1
            shift = held.moved + pull
            angle = shift[:, None] * drift
            stored = pool.keys[held.slab, :, :, :n]
            keys.append(turn(stored, waves(torch.from_numpy(angle))).to(stored.dtype) if angle.any() else stored)
            values.append(pool.values[held.slab, :, :, :n])
            places.append(held.meta.shifted(shift, self._archive.rope.moving).pos)
        spans = tuple(held.span for held in chosen)
        return Recalled(torch.cat(keys, dim=2), torch.cat(values, dim=2), np.concatenate(places, axis=1), spans)

    def drop_oldest(self) -> None:
        self._archive.pool.give(self._spans.popleft().slab)

    def clear(self) -> None:
        """Forget every span."""
        while self._spans:
            self.drop_oldest()

    def close(self) -> None:
        """Forget every span and leave the archive."""
        self.clear()
        self._archive.leave(self)

    def _open(self) -> _Held:
        """A block with room for a row."""
        if self._spans and len(self._spans[-1].meta) < self._archive.pool.rows:
            return self._spans[-1]
        if len(self._spans) == self.blocks:
            self.drop_oldest()
        held = _Held(self._archive.take(), TokenMeta.empty(), np.zeros(0, np.int64))
        self._spans.append(held)
        return held
