"""
The KV memory of one camera: rows in a slab, grown at the end, thinned by a policy's decision, read by forks.

Ways to run tokens against it, told apart by where their own keys go:

    Tail     behind the rows, to stay        (a frame; `KV.commit` makes them part of the memory)
    Tail     behind the rows, to be forgotten (the rules of a camera: written, read once, never committed)
    Part     nowhere, seeing chosen rows      (rules that look at a part of the picture alone)
    Fork     into a slab of its own           (a question that is answered over many steps, while frames come in)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .archive import Recalled, Shelf
from .errors import BudgetExceeded
from .merging import fold
from .originals import Originals
from .policies import Policy
from .pool import SlabPool
from .rope import Rope, rotate
from .rows import SlabRows
from .types import ALL_MOVE, Compaction, Kind, Pair, Span, TokenMeta


@dataclass(frozen=True, slots=True)
class Extent:
    """
    The first `rows` rows of a slab; what is new goes behind them.

    only: int64, ascending: where not None, those among them that are seen; then what is new is stored nowhere.
    """

    pool: SlabPool
    slab: int
    rows: int
    only: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.rows if self.only is None else len(self.only)

    @property
    def seen(self) -> NDArray[np.int64]:
        """The rows that are seen, ascending."""
        return np.arange(self.rows) if self.only is None else self.only


class Target(Protocol):
    """Where a chunk of new tokens puts its keys and what it then attends to."""

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Pair, ...]:
        """
        Store keys and values [kv_heads, n, head_dim], but for a Part's, and hand back everything visible, oldest first,
        as one or more contiguous parts; the new rows are the last n of the last part.

        Mutates device memory, does not synchronise.
        """
        ...

    @property
    def before(self) -> int:
        """Rows visible before the new ones."""
        ...

    @property
    def held(self) -> tuple[Extent, ...]:
        """Where those are, oldest first; the new rows go behind the last extent, which may be empty."""
        ...


class KV:
    """
    One camera's memory: at most `budget` rows. The first rows are pinned (the prompt).

    cursor is the next free position id; it grows with every frame, also past tokens that were dropped.
    rope: how the keys were rotated, for whatever compares or averages them.
    shelf: where rows go that a policy archives; the memory closes it with itself.
    """

    def __init__(self, pool: SlabPool, *, budget: int, rope: Rope | None = None, shelf: Shelf | None = None) -> None:
        if budget > pool.rows:
            raise BudgetExceeded(rows=budget, used=0, budget=pool.rows)
        self.budget = budget
        self.meta = TokenMeta.empty()
        self.cursor = 0
        self.shelf = shelf
        self._rope = rope
        self._pool = pool
        self._slab = pool.take()
        self._originals = Originals() if pool.shape.dtype.itemsize < 4 else None

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

    def part(self, only: NDArray[np.int64]) -> Part:
        """For tokens that see the rows `only` (ascending) and never stay. Copies those numbers to the device."""
        return Part(self._pool, self._slab, len(self), only)

    def commit(self, meta: TokenMeta, *, cursor: int) -> None:
        """Make the rows that were written behind the memory part of it. Raises: BudgetExceeded."""
        if len(self) + len(meta) > self.budget:
            raise BudgetExceeded(rows=len(meta), used=len(self), budget=self.budget)
        self.meta = TokenMeta.concat((self.meta, meta))
        self.cursor = cursor

    @property
    def rows(self) -> SlabRows:
        """What may be asked about keys and values of the rows as they stand."""
        return SlabRows(self._pool, self._slab, self.meta, self._known_rope())

    def compact(self, policy: Policy, budget: int) -> None:
        """Let the policy bring the memory down to `budget` rows. Like `apply`, and may synchronise."""
        self.apply(policy.compact(self.meta, budget, self.rows))

    def apply(self, compaction: Compaction) -> None:
        """
        Keep only the rows the policy chose, in place or, while forks read them, on a fresh slab.

        Merged rows are folded into those that stay, archived ones are copied to the shelf (which synchronises).
        Mutates device memory. Raises: PoolExhausted: forked, and no spare slab; nothing has changed then.
        """
        keep, into = compaction.keep, compaction.merge_into
        assert len(keep) == 0 or bool(np.all(np.diff(keep) > 0)), "rows must ascend"
        source = self._move()
        if compaction.archive is not None and self.shelf is not None:
            self.shelf.add(*self._gather(source, compaction.archive), self.meta.take(compaction.archive))
        folded = None
        if into is not None and bool((into >= 0).any()):
            folded = fold(self._pool, source, self.meta, into, self._known_rope())
        fixed = 0 if source != self._slab else _fixed_prefix(keep)
        rows = torch.as_tensor(keep[fixed:], device=self._pool.shape.device)
        for held in (self._pool.keys, self._pool.values):
            # index_select copies, so source and target may overlap
            held[self._slab, :, :, fixed : len(keep)] = held[source].index_select(2, rows)
        if folded is not None:
            at = torch.as_tensor(np.searchsorted(keep, folded.rows), device=self._pool.shape.device)
            self._pool.keys[self._slab].index_copy_(2, at, folded.keys)
            self._pool.values[self._slab].index_copy_(2, at, folded.values)
            self.meta = folded.meta
        if self._originals is not None:
            if folded is not None:
                self._originals.replace(folded.rows, folded.keys)
            self._originals.keep(keep)
        self._leave(source)
        self.meta = self.meta.take(keep)

    def shift(self, shift: NDArray[np.int64], inv_freq: Tensor, *, cursor: int) -> None:
        """
        Turn the keys of row i to ids `shift[i]` larger and continue at `cursor`; like `apply`, forks keep the old rows.

        inv_freq: of the ids that move (`Rope.drift`). In 16 bits keys are turned from the bits the model wrote, which
        synchronises. Raises: PoolExhausted: forked, and no spare slab.
        """
        source = self._move()
        n = len(self)
        old = self._pool.keys[source, :, :, :n]
        if self._originals is not None:
            turned = self._originals.turn(old, shift, inv_freq)
        else:
            turned = rotate(old, torch.as_tensor(shift, device=old.device), inv_freq)
        still = torch.as_tensor(shift == 0, device=old.device)[:, None]  # those are not even rounded again
        self._pool.keys[self._slab, :, :, :n] = torch.where(still, old, turned)
        if source != self._slab:
            self._pool.values[self._slab, :, :, :n] = self._pool.values[source, :, :, :n]
        self._leave(source)
        self.meta = self.meta.shifted(shift, self._rope.moving if self._rope else ALL_MOVE)
        if self.shelf is not None:
            self.shelf.move(cursor - self.cursor)
        self.cursor = cursor

    def forget(self) -> None:
        """Keep the prompt alone, archive included. Raises: PoolExhausted: forked, and no spare slab."""
        pinned = np.flatnonzero(self.meta.kind == Kind.PROMPT).astype(np.int64)
        if self.forked:
            self.apply(Compaction(pinned))
        else:
            self.meta = self.meta.take(pinned)
            if self._originals is not None:
                self._originals.keep(pinned)
        if self.shelf is not None:
            self.shelf.clear()
        self.cursor = int(self.meta.pos.max()) + 1 if len(pinned) else 0

    def fork(self, suffixes: SlabPool) -> Fork:
        """A reader of the rows as they stand, with room of its own from `suffixes`. Raises: PoolExhausted."""
        suffix = suffixes.take()
        self._pool.share(self._slab)
        return Fork(self._pool, self._slab, len(self), suffixes, suffix)

    def close(self) -> None:
        """Give the slab and the archived spans back; live forks keep reading the slab until they close."""
        self._pool.give(self._slab)
        if self.shelf is not None:
            self.shelf.close()
        self.meta = TokenMeta.empty()

    def _gather(self, slab: int, rows: NDArray[np.int64]) -> Pair:
        """Keys and values [layers, kv_heads, k, head_dim] of these rows, copied."""
        at = torch.as_tensor(rows, device=self._pool.shape.device)
        return self._pool.keys[slab].index_select(2, at), self._pool.values[slab].index_select(2, at)

    def _known_rope(self) -> Rope:
        assert self._rope is not None, "this memory was made without the model's rotation"
        return self._rope

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

    @property
    def held(self) -> tuple[Extent, ...]:
        return (Extent(self._pool, self._slab, self._before),)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Pair, ...]:
        self._pool.write(self._slab, layer, self._before, keys, values)
        return (self._pool.layer(self._slab, layer, self._before + keys.shape[1]),)


class Part:
    """
    Chosen ones of the first `rows` rows of a slab, in their order, seen by new rows that are stored nowhere. A Target.

    Exact: a row's id is in its key, so that the rows left out are as if they had been evicted.
    """

    def __init__(self, pool: SlabPool, slab: int, rows: int, only: NDArray[np.int64]) -> None:
        self._pool = pool
        self._slab = slab
        self._rows = rows
        self._only = only
        self._at = torch.from_numpy(only).to(pool.shape.device, non_blocking=True)

    @property
    def before(self) -> int:
        return len(self._only)

    @property
    def held(self) -> tuple[Extent, ...]:
        return (Extent(self._pool, self._slab, self._rows, self._only),)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Pair, ...]:
        held_keys, held_values = self._pool.layer(self._slab, layer, self._rows)
        return (held_keys.index_select(1, self._at), held_values.index_select(1, self._at)), (keys, values)


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
    def held(self) -> tuple[Extent, ...]:
        return Extent(self._prefixes, self._slab, self.rows), Extent(self._suffixes, self._suffix, self.own)

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

    def recall(self, recalled: Recalled) -> None:
        """Copy rows from the archive to the device, in front of rows of its own; before any of those is there."""
        assert self.own == 0, "rows come back before the question is read"
        n = recalled.keys.shape[2]
        assert n <= self._suffixes.rows, "rows beyond the fork's own slab"
        self._suffixes.keys[self._suffix, :, :, :n].copy_(recalled.keys)
        self._suffixes.values[self._suffix, :, :, :n].copy_(recalled.values)
        self.own = n

    def close(self) -> None:
        """Give both slabs back; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self._prefixes.give(self._slab)
        self._suffixes.give(self._suffix)


def _fixed_prefix(keep: NDArray[np.int64]) -> int:
    """How many leading rows stay where they are, so that an in-place compaction need not copy them."""
    moved = np.flatnonzero(keep != np.arange(len(keep)))
    return int(moved[0]) if len(moved) else len(keep)
