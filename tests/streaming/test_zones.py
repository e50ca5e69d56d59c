from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.zones import cells_in

HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def test_a_zone_is_the_cells_it_covers() -> None:
    """The left half, up to its edge; two zones together; none at all."""
    assert cells_in((HALF,), (2, 5)).reshape(2, 5)[:, :2].all()
    assert not cells_in((HALF,), (2, 5)).reshape(2, 5)[:, 3:].any()
    assert cells_in((HALF, tuple((1 - x, y) for x, y in HALF)), (3, 4)).all()
    assert not cells_in((), (3, 4)).any()


def test_a_zone_with_a_notch_leaves_it_out() -> None:
    notched = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.8, 1.0), (0.8, 0.2), (0.2, 0.2), (0.2, 1.0), (0.0, 1.0))
    cells = cells_in((notched,), (10, 10)).reshape(10, 10)
    assert not cells[3:, 3:7].any()
    assert cells[0].all()
    assert cells[:, [0, 9]].all()


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 12), st.integers(1, 12))
def test_the_smallest_zone_has_a_cell(x: float, y: float, h: int, w: int) -> None:
    """Also where it is smaller than a cell, or lies on the very edge."""
    cells = cells_in((((x, y), (x, y), (x, y)),), (h, w))
    assert int(cells.sum()) == 1
    assert int(np.flatnonzero(cells)[0]) == min(h - 1, int(y * h)) * w + min(w - 1, int(x * w))
