"""Which cells are encoded again: all that changed, what is around them, and whole windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.reuse import Reuse, grown

GRIDS = st.tuples(st.integers(1, 7), st.integers(1, 7))


@given(hw=GRIDS, ring=st.integers(0, 3), data=st.data())
def test_a_ring_is_everything_so_many_cells_away(hw: tuple[int, int], ring: int, data: st.DataObject) -> None:
    """Diagonally too, and nothing else, and the mask that was given stays as it is."""
    h, w = hw
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=h * w, max_size=h * w)))
    before = mask.copy()
    found = grown(mask, hw, ring)
    assert (mask == before).all()
    at = np.argwhere(mask.reshape(hw))
    for cell in range(h * w):
        near = np.abs(at - divmod(cell, w)).max(axis=1) <= ring if len(at) else np.zeros(0, bool)
        assert found[cell] == near.any()


@given(hw=GRIDS, ring=st.integers(0, 2), size=st.integers(1, 3), data=st.data())
def test_what_changed_is_encoded_in_whole_windows(
    hw: tuple[int, int], ring: int, size: int, data: st.DataObject
) -> None:
    """Every changed cell is among them, a window is there with all of its cells or not at all, ascending."""
    h, w = hw
    changed = np.array(data.draw(st.lists(st.booleans(), min_size=h * w, max_size=h * w)))
    windows = (np.arange(h)[:, None] // size * w + np.arange(w) // size).ravel()
    cells = Reuse(ring=ring, most=1.0).cells(changed, hw, windows, since=0.0)
    assert cells is not None
    assert (np.diff(cells) > 0).all()
    assert np.isin(np.flatnonzero(changed), cells).all()
    chosen = np.isin(np.arange(h * w), cells)
    for window in np.unique(windows):
        assert chosen[windows == window].all() or not chosen[windows == window].any()


def test_a_picture_of_which_much_changed_is_encoded_whole() -> None:
    """From `most` of the cells on, ring and windows counted, nothing is taken from the last time."""
    changed = np.zeros(16, bool)
    changed[:4] = True  # the first row of four: with a ring, half of the picture
    alone = np.arange(16)
    assert Reuse(ring=1, most=0.5).cells(changed, (4, 4), alone, since=0.0) is not None
    assert Reuse(ring=1, most=0.49).cells(changed, (4, 4), alone, since=0.0) is None


def test_a_whole_picture_follows_many_portions() -> None:
    """After `refresh` pictures' worth of cells; with 0 only key frames are whole."""
    changed = np.eye(4, dtype=bool).ravel() & (np.arange(16) == 0)
    alone = np.arange(16)
    assert Reuse(ring=1, refresh=2.0).cells(changed, (4, 4), alone, since=1.99) is not None
    assert Reuse(ring=1, refresh=2.0).cells(changed, (4, 4), alone, since=2.0) is None
    assert Reuse(ring=1, refresh=0.0).cells(changed, (4, 4), alone, since=1e9) is not None


@pytest.mark.parametrize("wrong", [{"ring": -1}, {"most": 1.1}, {"most": -0.1}, {"refresh": -1.0}])
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Reuse(**wrong)  # type: ignore[arg-type]
