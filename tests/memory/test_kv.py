from __future__ import annotations

import numpy as np
import pytest
import torch

from memory.errors import BudgetExceeded, PoolExhausted
from memory.kv import KV
from memory.pool import SlabPool
from memory.types import Compaction, Span

from .rows import SHAPE, append, content, meta

INV_FREQ = 1.0 / 10_000 ** (torch.arange(0, 8, 2) / 8)


def held(pool: SlabPool, kv: KV) -> list[float]:
    return content(pool, kv.slab, len(kv))


def filled(pool: SlabPool) -> KV:
    """A prompt of two rows and three frames of two."""
    kv = KV(pool, budget=10)
    append(kv, [-1, -1], [0, 1])
    append(kv, [0, 0, 1, 1, 2, 2], [2, 3, 4, 5, 6, 7])
    return kv


def test_rows_stand_in_the_order_they_were_appended() -> None:
    """In every layer."""
    pool = SlabPool(SHAPE, slabs=1, rows=12)
    kv = filled(pool)
    assert held(pool, kv) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert content(pool, kv.slab, 8, layer=1) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert kv.span == Span(1_000_000_000, 3_000_000_000)
    assert kv.pinned == 2


def test_rows_beyond_the_budget_are_refused() -> None:
    """Ten fit, the eleventh does not, and nothing is changed by the attempt."""
    kv = filled(SlabPool(SHAPE, slabs=1, rows=12))
    with pytest.raises(BudgetExceeded, match="3 rows do not fit beside 8 rows in a budget of 10"):
        kv.commit(meta([3, 3, 3]), cursor=11)
    assert len(kv) == 8


def test_a_budget_wider_than_the_slab_is_refused() -> None:
    with pytest.raises(BudgetExceeded):
        KV(SlabPool(SHAPE, slabs=1, rows=4), budget=5)


def test_uncommitted_rows_leave_no_trace() -> None:
    """Rules write behind the memory; the next frame overwrites them."""
    pool = SlabPool(SHAPE, slabs=1, rows=12)
    kv = filled(pool)
    for layer in range(2):
        kv.tail().extend(layer, torch.full((2, 3, 8), 99.0), torch.full((2, 3, 8), -99.0))
    assert len(kv) == 8
    append(kv, [3], [8])
    assert held(pool, kv) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_apply_keeps_the_chosen_rows_in_order_and_with_their_ids() -> None:
    """Keys, values and metadata move together; ids keep their gap."""
    pool = SlabPool(SHAPE, slabs=1, rows=12)
    kv = filled(pool)
    kv.apply(Compaction(np.array([0, 1, 4, 6, 7])))
    assert held(pool, kv) == [0, 1, 4, 6, 7]
    assert content(pool, kv.slab, 5, layer=1) == [0, 1, 4, 6, 7]
    assert kv.meta.pos[0].tolist() == [0, 1, 4, 6, 7]
    assert kv.cursor == 8


def test_a_fork_still_reads_the_rows_that_were_there() -> None:
    """Appending, compacting, shifting and forgetting behind its back change nothing for it."""
    pool, suffixes = SlabPool(SHAPE, slabs=2, rows=12), SlabPool(SHAPE, slabs=1, rows=4)
    kv = filled(pool)
    fork = kv.fork(suffixes)
    append(kv, [3], [8])
    kv.apply(Compaction(np.array([0, 1, 8])))
    kv.shift(np.array([0, 0, -4]), INV_FREQ, cursor=5)
    kv.forget()
    assert content(pool, fork.slab, fork.rows) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert kv.slab != fork.slab
    assert held(pool, kv) == [0, 1]
    fork.close()
    fork.close()
    assert (pool.used, suffixes.used) == (1, 0)


def test_a_fork_sees_its_prefix_and_its_own_rows() -> None:
    """Two parts, and nothing that the camera appended since."""
    pool, suffixes = SlabPool(SHAPE, slabs=1, rows=12), SlabPool(SHAPE, slabs=1, rows=4)
    kv = filled(pool)
    fork = kv.fork(suffixes)
    append(kv, [3], [8])
    for number in (50.0, 51.0):
        parts, _ = (fork.extend(layer, torch.full((2, 1, 8), number), torch.zeros(2, 1, 8)) for layer in range(2))
        fork.commit(1)
    assert parts[0][0][0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert parts[1][0][0, :, 0].tolist() == [50, 51]
    assert (fork.before, fork.room) == (10, 2)
    fork.close()


def test_compacting_a_forked_memory_needs_a_spare_slab() -> None:
    """Without one it is refused and the rows stay; once the fork is closed it works in place."""
    pool, suffixes = SlabPool(SHAPE, slabs=1, rows=12), SlabPool(SHAPE, slabs=1, rows=4)
    kv = filled(pool)
    fork = kv.fork(suffixes)
    with pytest.raises(PoolExhausted):
        kv.apply(Compaction(np.array([0, 1])))
    assert held(pool, kv) == [0, 1, 2, 3, 4, 5, 6, 7]
    fork.close()
    kv.apply(Compaction(np.array([0, 1])))
    assert held(pool, kv) == [0, 1]


def test_forgetting_keeps_the_prompt_and_continues_behind_it() -> None:
    pool = SlabPool(SHAPE, slabs=1, rows=12)
    kv = filled(pool)
    kv.forget()
    assert (held(pool, kv), kv.cursor, kv.span) == ([0, 1], 2, None)


def test_a_shift_turns_only_the_rows_it_names() -> None:
    """A row with shift 0 is not even rounded; the others turn, ids follow, values stay."""
    pool = SlabPool(SHAPE, slabs=1, rows=12)
    kv = filled(pool)
    keys, values = (part.clone() for part in pool.layer(kv.slab, 1, 8))
    shift = np.array([0, 0, 0, 0, -2, -2, -2, -2])
    kv.shift(shift, INV_FREQ, cursor=6)
    now_keys, now_values = pool.layer(kv.slab, 1, 8)
    assert torch.equal(now_keys[:, :4], keys[:, :4])
    assert not torch.equal(now_keys[:, 4:], keys[:, 4:])
    assert torch.equal(now_values, values)
    assert kv.meta.pos[2].tolist() == [0, 1, 2, 3, 2, 3, 4, 5]
    assert kv.cursor == 6
