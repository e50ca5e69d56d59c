from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.policies.window import Window
from memory.rows import Rows
from tests.memory.rows import meta

NO_ROWS = cast("Rows", None)  # this policy asks for no figures


def frames_of(kept: np.ndarray, frames: list[int]) -> list[int]:
    return [frames[row] for row in kept]


def test_the_newest_whole_frames_stay() -> None:
    """The oldest frame goes whole, also when half of it would fit."""
    frames = [-1, -1, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    kept = Window(sinks=0).compact(meta(frames), 10, NO_ROWS).keep
    assert frames_of(kept, frames) == [-1, -1, 1, 1, 1, 2, 2, 2]


def test_compaction_never_drops_the_sinks() -> None:
    """Beside the prompt the first `sinks` rows stay."""
    frames = [-1, 0, 0, 1, 1, 2, 2]
    kept = Window(sinks=3).compact(meta(frames), 5, NO_ROWS).keep
    assert kept.tolist() == [0, 1, 2, 5, 6]


def test_what_fits_is_left_alone() -> None:
    assert Window().compact(meta([-1, 0, 1]), 3, NO_ROWS).keep.tolist() == [0, 1, 2]


def test_a_frame_wider_than_the_room_is_cut_to_its_end() -> None:
    """Something newest always stays."""
    assert Window(sinks=0).compact(meta([-1, 0, 0, 0, 0]), 3, NO_ROWS).keep.tolist() == [0, 3, 4]


def test_a_budget_below_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="does not hold the 3 pinned"):
        Window().compact(meta([-1, -1, -1, 0]), 2, NO_ROWS)


def test_negative_sinks_are_refused() -> None:
    with pytest.raises(ValueError, match="sinks"):
        Window(sinks=-1)


@given(
    prompt=st.integers(0, 6),
    sizes=st.lists(st.integers(1, 9), max_size=12),
    sinks=st.integers(0, 8),
    spare=st.integers(0, 60),
)
def test_budget_order_and_prompt_hold_for_any_memory(prompt: int, sizes: list[int], sinks: int, spare: int) -> None:
    """Never more than the budget, rows ascend, the prompt stays, the newest row stays when there is room for one."""
    frames = [-1] * prompt + [number for number, size in enumerate(sizes) for _ in range(size)]
    memory, budget = meta(frames), prompt + spare
    kept = Window(sinks=sinks).compact(memory, budget, NO_ROWS).keep
    assert len(kept) <= budget
    assert bool(np.all(np.diff(kept) > 0))
    assert kept[:prompt].tolist() == list(range(prompt))
    if sizes and spare > sinks:
        assert kept[-1] == len(frames) - 1
