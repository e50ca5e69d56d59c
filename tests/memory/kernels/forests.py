"""Blocks that continue one another, at random."""

from __future__ import annotations

from hypothesis import strategies as st

from memory.kernels.forest import NONE

Forest = tuple[tuple[int, ...], tuple[int, ...]]  # lengths of blocks, and what each continues


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Up to six blocks, short ones and longer ones, that continue earlier ones, all one, or none."""
    length = st.one_of(st.integers(1, 9), st.integers(10, 30))
    blocks = tuple(draw(st.lists(length, min_size=1, max_size=6)))
    after = [draw(st.integers(NONE, number - 1)) for number in range(len(blocks))]
    if draw(st.booleans()):
        after = [NONE, *(max(0, each) for each in after[1:])]
    return blocks, tuple(after) if draw(st.booleans()) or set(after) != {NONE} else ()
