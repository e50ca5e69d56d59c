from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.tiers import Tiers, take_until, with_text
from memory.types import Kind, TokenMeta

from .random_memory import described


def test_prompt_newest_seconds_standing_picture_and_key_tokens_stay() -> None:
    """What is left out is exactly what is old, seen again since, and of no key frame."""
    meta = described(2, [[0, 1, 2], [0, 1], [0], [1], [0]], text=0, key=(0,))
    fixed = Tiers(whole_s=1.5, key_frames=1, key_tokens=1).fixed(meta, 100)
    # key token: cell 0 of frame 0; standing: cell 2 of frame 0; young: frames 3 and 4
    assert np.flatnonzero(~fixed).tolist() == [3, 5, 6, 7]


def test_young_is_at_least_the_newest_frame() -> None:
    meta = described(1, [[0], [0, 1]])
    assert Tiers(whole_s=0).young(meta).tolist() == [False, False, True, True]


def test_where_the_newest_seconds_alone_are_too_wide_the_newest_rows_stay() -> None:
    meta = described(2, [[0, 1, 2], [0, 1, 2], [0, 1, 2]])
    fixed = Tiers(whole_s=60).fixed(meta, 6)
    assert np.flatnonzero(fixed).tolist() == [0, 1, 7, 8, 9, 10]


def test_a_budget_below_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="does not hold the 4 pinned"):
        Tiers().fixed(described(4, [[0]]), 3)


@pytest.mark.parametrize("option", ["whole_s", "key_frames", "key_tokens"])
def test_negative_options_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        Tiers(**{option: -1})


memories = st.builds(
    described,
    st.integers(0, 5),
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True).map(sorted), max_size=10),
    text=st.integers(0, 3),
    key=st.lists(st.integers(0, 9), max_size=4).map(tuple),
)


@given(meta=memories, spare=st.integers(0, 60), whole_s=st.floats(0, 12))
def test_fixed_rows_never_exceed_the_budget_and_carry_their_time(meta: TokenMeta, spare: int, whole_s: float) -> None:
    prompt = int((meta.kind == Kind.PROMPT).sum())
    fixed = Tiers(whole_s=whole_s, key_frames=2, key_tokens=2).fixed(meta, prompt + spare)
    assert int(fixed.sum()) <= prompt + spare
    assert np.array_equal(with_text(meta, fixed), fixed)
    text = fixed & (meta.kind == Kind.TEXT)
    assert set(meta.frame[text]) <= set(meta.frame[fixed & meta.visual])


@given(meta=memories, spare=st.integers(0, 60), seed=st.integers(0, 99))
def test_taking_stops_where_the_next_row_and_its_time_do_not_fit(meta: TokenMeta, spare: int, seed: int) -> None:
    """A prefix of the order, never beyond the budget, and not one row too few."""
    prompt = meta.kind == Kind.PROMPT
    budget = int(prompt.sum()) + spare
    order = np.random.default_rng(seed).permutation(np.flatnonzero(meta.visual))
    kept = take_until(meta, prompt, order, budget)
    taken = int((kept & meta.visual).sum())
    assert int(kept.sum()) <= budget
    assert set(order[:taken]) == set(np.flatnonzero(kept & meta.visual))
    if taken < len(order):
        more = prompt.copy()
        more[order[: taken + 1]] = True
        assert int(with_text(meta, more).sum()) > budget
