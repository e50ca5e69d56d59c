from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memory.errors import IntegrityError, PoolExhausted
from memory.pool import SlabPool

from .rows import SHAPE


def test_a_pool_hands_out_each_slab_once() -> None:
    """Slabs are distinct, and the one too many is refused with the figure."""
    pool = SlabPool(SHAPE, slabs=3, rows=4)
    assert sorted(pool.take() for _ in range(3)) == [0, 1, 2]
    with pytest.raises(PoolExhausted, match="all 3 slabs"):
        pool.take()


def test_a_shared_slab_is_freed_by_its_last_reader() -> None:
    """Giving back one of two readers keeps the slab."""
    pool = SlabPool(SHAPE, slabs=1, rows=4)
    slab = pool.take()
    pool.share(slab)
    pool.give(slab)
    assert (pool.free, pool.used) == (0, 1)
    pool.give(slab)
    assert (pool.free, pool.used) == (1, 0)


def test_writing_touches_only_the_given_rows() -> None:
    """Other rows, layers and slabs keep what they held."""
    pool = SlabPool(SHAPE, slabs=2, rows=5)
    pool.keys.zero_()
    pool.values.zero_()
    pool.write(1, 0, 2, torch.ones(2, 2, 8), torch.full((2, 2, 8), 3.0))
    assert pool.keys.sum() == 2 * 2 * 8
    assert pool.values.sum() == 3 * 2 * 2 * 8
    assert bool((pool.keys[1, 0, :, 2:4] == 1).all())


def test_slab_bytes_are_keys_and_values_of_all_layers() -> None:
    """2 (keys, values) x layers x heads x dim x 4 bytes, times the rows."""
    pool = SlabPool(SHAPE, slabs=2, rows=5)
    assert pool.slab_bytes == 5 * 2 * 2 * 2 * 8 * 4
    assert pool.slab_bytes * pool.total == pool.keys.nbytes + pool.values.nbytes


def test_check_finds_a_slab_that_is_free_and_read() -> None:
    """A cooked book is noticed."""
    pool = SlabPool(SHAPE, slabs=2, rows=5)
    slab = pool.take()
    pool._free.append(slab)
    with pytest.raises(IntegrityError):
        pool.check()


@given(st.lists(st.sampled_from(["take", "share", "give"]), max_size=60), st.randoms())
def test_free_and_used_always_make_the_total(ops: list[str], random: object) -> None:
    """Whatever is taken, shared and given back."""
    pool = SlabPool(SHAPE, slabs=4, rows=1)
    held: list[int] = []
    for op in ops:
        if op == "take" and pool.free:
            held.append(pool.take())
        elif op == "share" and held:
            held.append(random.choice(held))  # type: ignore[attr-defined]
            pool.share(held[-1])
        elif op == "give" and held:
            pool.give(held.pop(random.randrange(len(held))))  # type: ignore[attr-defined]
        pool.check()
        assert pool.used == len(set(held))
