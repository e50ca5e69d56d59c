"""
The KV memory of one camera: rows in a slab, grown at the end, thinned by a policy's decision, read by forks.

Three ways to run tokens against it, told apart by where their own keys go:

    Tail     behind the rows, to stay        (a frame; `KV.commit` makes them part of the memory)
    Tail     behind the rows, to be forgotten (the rules of a camera: written, read once, never committed)
    Fork     into a slab of its own           (a question that is answered over many steps, while frames come in)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .errors import BudgetExceeded
from .pool import SlabPool
from .rope import rotate
from .types import Compaction, Kind, Pair, Span, TokenMeta


class Target(Protocol):
    """Where a chunk of new tokens puts its keys and what it then attends to."""

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Pair, ...]:
        """
        Store keys and values [kv_heads, n, head_dim] and hand back everything visible, oldest first, as one or more
        contiguous parts; the new rows are the last n of the last part. Mutates device memory, does not synchronise.
        """
        ...

    @property
    def before(self) -> int:
        """Rows visible before the new ones."""
        ...


class KV:
    """
    One camera's memory: at most `budget` rows. The first rows are pinned (the prompt).

    cursor is the next free position id; it grows with every frame, also past tokens that were dropped.
    """

    def __init__(self, pool: SlabPool, *, budget: int) -> None:
        if budget > pool.rows:
            raise BudgetExceeded(rows=budget, used=0, budget=pool.rows)
        self.budget = budget
        self.meta = TokenMeta.empty()
        self.cursor = 0
        self._pool = pool
        self._slab = pool.take()

    def __len__(self) -> int:
        return len(self.meta)

    @property
    def slab(self) -> int:
        return self._slab

    @property
    def slab_bytes(self) -> int:
        return self._pool.slab_bytes

    @property
    def pinned(self) -> int:
        """Rows that no policy drops."""
        return int(np.count_nonzero(self.meta.kind == Kind.PROMPT))

    @property
    def forked(self) -> bool:
        """Whether a live fork reads this slab, so that rewriting rows must move to another one."""
        return self._pool.readers(self._slab) > 1

    @property
    def span(self) -> Span | None:
        """From the oldest to the newest picture held; None while there is none."""
        seen = self.meta.t_ns[self.meta.kind != Kind.PROMPT]
        return Span(int(seen[0]), int(seen[-1])) if len(seen) else None

    def tail(self) -> Tail:
        """Room behind the rows; nothing stays unless it is committed."""
        return Tail(self._pool, self._slab, len(self))

    def commit(self, meta: TokenMeta, *, cursor: int) -> None:
        """Make the rows that were written behind the memory part of it. Raises: BudgetExceeded."""
        if len(self) + len(meta) > self.budget:
            raise BudgetExceeded(rows=len(meta), used=len(self), budget=self.budget)
        self.meta = TokenMeta.concat((self.meta, meta))
        self.cursor = cursor

    def apply(self, compaction: Compaction) -> None:
        """
        Keep only the rows the policy chose, in place or, while forks read them, on a fresh slab.

        Mutates device memory, does not synchronise. Raises: PoolExhausted: forked, and no spare slab.
        """
        keep = compaction.keep
        assert compaction.merge_into is None, "merging is not executed by this version"
        assert len(keep) == 0 or bool(np.all(np.diff(keep) > 0)), "rows must ascend"
        source = self._move()
        fixed = 0 if source != self._slab else _fixed_prefix(keep)
        rows = torch.as_tensor(keep[fixed:], device=self._pool.shape.device)
        for held in (self._pool.keys, self._pool.values):
            # index_select copies, so source and target may overlap
            held[self._slab, :, :, fixed : len(keep)] = held[source].index_select(2, rows)
        self._leave(source)
        self.meta = self.meta.take(keep)

    def shift(self, shift: np.ndarray[tuple[int], np.dtype[np.int64]], inv_freq: Tensor, *, cursor: int) -> None:
        """
        Turn the keys of row i to ids `shift[i]` larger and continue at `cursor`; like `apply`, forks keep the old rows.

        Raises: PoolExhausted: forked, and no spare slab.
        """
        source = self._move()
        n = len(self)
        old = self._pool.keys[source, :, :, :n]
        turned = rotate(old, torch.as_tensor(shift, device=old.device), inv_freq)
        still = torch.as_tensor(shift == 0, device=old.device)[:, None]  # those are not even rounded again
        self._pool.keys[self._slab, :, :, :n] = torch.where(still, old, turned)
        if source != self._slab:
            self._pool.values[self._slab, :, :, :n] = self._pool.values[source, :, :, :n]
        self._leave(source)
        self.meta = self.meta.shifted(shift)
        self.cursor = cursor

    def forget(self) -> None:
        """Keep the prompt alone and continue right behind it. Raises: PoolExhausted: forked, and no spare slab."""
        pinned = np.flatnonzero(self.meta.kind == Kind.PROMPT).astype(np.int64)
        if self.forked:
            self.apply(Compaction(pinned))
        else:
            self.meta = self.meta.take(pinned)
        self.cursor = int(self.meta.pos.max()) + 1 if len(pinned) else 0

    def fork(self, suffixes: SlabPool) -> Fork:
        """A reader of the rows as they stand, with room of its own from `suffixes`. Raises: PoolExhausted."""
        suffix = suffixes.take()
        self._pool.share(self._slab)
        return Fork(self._pool, self._slab, len(self), suffixes, suffix)

    def close(self) -> None:
        """Give the slab back; live forks keep reading it until they close."""
        self._pool.give(self._slab)
        self.meta = TokenMeta.empty()

    def _move(self) -> int:
        """Where the rows are; when forks read them, take a fresh slab to write to."""
        source = self._slab
        if self.forked:
            self._slab = self._pool.take()
        return source

    def _leave(self, source: int) -> None:
        if source != self._slab:
            self._pool.give(source)


class Tail:
    """New rows right behind the first `before` rows of a slab: one contiguous part. A Target."""

    def __init__(self, pool: SlabPool, slab: int, before: int) -> None:
        self._pool = pool
        self._slab = slab
        self._before = before

    @property
    def before(self) -> int:
        return self._before

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Pair, ...]:
        self._pool.write(self._slab, layer, self._before, keys, values)
        return (self._pool.layer(self._slab, layer, self._before + keys.shape[1]),)


class Fork:
    """
    A zero-copy view of a camera's rows, followed by rows of its own. A Target.

    The camera goes on meanwhile: it appends behind the rows seen here and rewrites none of them.
    """

    def __init__(self, prefixes: SlabPool, slab: int, rows: int, suffixes: SlabPool, suffix: int) -> None:
        self.rows = rows
        self.own = 0
        self.closed = False
        self._prefixes = prefixes
        self._slab = slab
        self._suffixes = suffixes
        self._suffix = suffix

    @property
    def slab(self) -> int:
        return self._slab

    @property
    def before(self) -> int:
        return self.rows + self.own

    @property
    def room(self) -> int:
        """Rows of its own that are still free."""
        return self._suffixes.rows - self.own

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Pair, ...]:
        assert not self.closed, "a closed fork was extended"
        self._suffixes.write(self._suffix, layer, self.own, keys, values)
        return (
            self._prefixes.layer(self._slab, layer, self.rows),
            self._suffixes.layer(self._suffix, layer, self.own + keys.shape[1]),
        )

    def commit(self, rows: int) -> None:
        """Keep the `rows` rows that were just written."""
        self.own += rows
        assert self.own <= self._suffixes.rows, "rows beyond the fork's own slab"

    def close(self) -> None:
        """Give both slabs back; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self._prefixes.give(self._slab)
        self._suffixes.give(self._suffix)


def _fixed_prefix(keep: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """How many leading rows stay where they are, so that an in-place compaction need not copy them."""
    moved = np.flatnonzero(keep != np.arange(len(keep)))
    return int(moved[0]) if len(moved) else len(keep)
