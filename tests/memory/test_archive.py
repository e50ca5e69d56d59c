from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.archive import Archive, Shelf
from memory.errors import IntegrityError
from memory.types import Span

from .random_memory import ROPE, described, drawn, rotated
from .rows import SHAPE

ROWS = 4


def archive(spans: int) -> Archive:
    probe = Archive(SHAPE, budget_bytes=1 << 20, rope=ROPE, span_rows=ROWS)
    return Archive(SHAPE, budget_bytes=spans * probe.span_bytes, rope=ROPE, span_rows=ROWS)


def put(shelf: Shelf, frames: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Archive `frames` frames of two cells; plain keys and values."""
    meta = described(0, [[0, 1]] * frames)
    plain, values = drawn(len(meta), seed=seed), drawn(len(meta), seed=seed + 1)
    shelf.add(rotated(plain, meta), values, meta)
    return plain, values


def test_what_goes_in_comes_out_bit_for_bit() -> None:
    """While no id has moved since, keys are the bits the model wrote, at their own ids."""
    shelf = archive(3).shelf()
    plain, values = put(shelf, 5)
    back = shelf.read([0, 1, 2], cursor=20, reach=100)
    meta = described(0, [[0, 1]] * 5)
    assert torch.equal(back.keys, rotated(plain, meta))
    assert torch.equal(back.values, values)
    assert np.array_equal(back.pos, meta.pos)
    assert back.spans[0] == Span(1_000_000_000, 2_000_000_000)


def test_keys_follow_ids_that_moved_meanwhile() -> None:
    """Many moves are one turn: what comes back stands as far from the cursor as ever."""
    shelf = archive(3).shelf()
    plain, _ = put(shelf, 2)
    for _ in range(50):
        shelf.move(-7)
    back = shelf.read([0], cursor=20 - 350, reach=1000)
    assert np.array_equal(back.pos, described(0, [[0, 1]] * 2).pos - 350)
    want = described(0, [[0, 1]] * 2).shifted(np.full(4, -350))
    assert torch.allclose(back.keys, rotated(plain, want), atol=1e-5)


def test_what_is_too_far_away_is_drawn_near_in_its_order() -> None:
    """Nothing lies further than `reach`, and spans that were drawn near do not lie on each other."""
    shelf = archive(3).shelf()
    put(shelf, 6)
    back = shelf.read([0, 1, 2], cursor=1_000_000, reach=500)
    assert back.pos.min() == 1_000_000 - 500
    spans = back.pos.reshape(3, 3, ROWS)
    assert bool((spans[:, 1:].min(axis=(0, 2)) > spans[:, :-1].max(axis=(0, 2))).all())


def test_the_span_that_is_asked_for_comes_back() -> None:
    """By the mean of its keys before rotation; as many as fit, in order of time."""
    shelf = archive(4).shelf()
    plain, _ = put(shelf, 8)
    for number in range(4):
        wanted = plain[:, :, number * ROWS : (number + 1) * ROWS].mean(dim=2)
        assert shelf.nearest(wanted, max_rows=ROWS) == [number]
        assert len(shelf.nearest(wanted, max_rows=3 * ROWS)) == 3
        assert shelf.nearest(wanted, max_rows=ROWS - 1) == []
    assert shelf.nearest(wanted, max_rows=100) == [0, 1, 2, 3]


def test_a_full_archive_forgets_the_oldest_span_of_the_widest_camera() -> None:
    """The narrow one keeps its own; a camera's own bound comes first."""
    host = archive(4)
    wide, narrow, bounded = host.shelf(), host.shelf(), host.shelf(budget_bytes=host.span_bytes)
    put(wide, 6)
    put(narrow, 2)
    put(bounded, 4)
    host.check()
    assert [len(shelf) for shelf in (wide, narrow, bounded)] == [2, 1, 1]
    assert wide.read([0], cursor=9, reach=99).spans[0].t0_ns == 3_000_000_000


def test_a_closed_shelf_gives_everything_back() -> None:
    host = archive(4)
    shelf = host.shelf()
    put(shelf, 8)
    assert (shelf.rows, shelf.bytes) == (16, 4 * host.span_bytes)
    shelf.close()
    host.check()
    assert host.pool.used == 0


def test_a_shelf_without_room_for_a_span_keeps_nothing() -> None:
    host = archive(2)
    shelf = host.shelf(budget_bytes=host.span_bytes - 1)
    put(shelf, 3)
    assert (len(shelf), host.pool.used) == (0, 0)


def test_an_archive_smaller_than_a_span_is_refused() -> None:
    with pytest.raises(ValueError, match="do not hold one span"):
        Archive(SHAPE, budget_bytes=100, rope=ROPE)


def test_check_finds_a_block_that_nobody_knows() -> None:
    host = archive(2)
    host.pool.take()
    with pytest.raises(IntegrityError, match="1 archive blocks are taken, 0 are known"):
        host.check()


@settings(deadline=None)  # a busy machine is no fault of the archive
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=30))
def test_bounds_and_books_hold_for_any_order(ops: list[tuple[int, int]]) -> None:
    """Whoever archives how much (0: forgets), blocks are conserved, bounds kept, and each camera reads its own rows."""
    host = archive(5)
    shelves = [host.shelf(), host.shelf(), host.shelf(budget_bytes=2 * host.span_bytes)]
    for number, frames in ops:
        if frames:
            meta = described(0, [[0, 1]] * frames)
            mark = drawn(len(meta)) * 0 + number
            shelves[number].add(mark, mark, meta)
        else:
            shelves[number].clear()
        host.check()
        assert host.pool.used <= 5
        assert len(shelves[2]) <= 2
        for each, shelf in enumerate(shelves):
            if shelf:
                back = shelf.read(range(len(shelf)), cursor=100, reach=1000)
                assert bool((back.values == each).all())
                assert back.keys.shape[2] == shelf.rows
