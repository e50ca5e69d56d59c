"""Who sees whom, told in several ways that must agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

from memory.kernels.forest import lines, rooted, siblings, visible

from .forests import Forest, forests


def test_a_block_sees_what_it_continues_and_itself_causally() -> None:
    seen = visible((2, 1, 2, 1), (-1, 0, 1, 0)).int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]
    assert lines((2, 1, 2, 1), (-1, 0, 1, 0)) == [(), (0,), (0, 1), (0,)]


@pytest.mark.parametrize(
    ("after", "is_rooted"), [((), False), ((-1,), False), ((-1, 0), True), ((-1, 0, 1, 0), True), ((-1, 0, -1), False)]
)
def test_a_root_is_continued_by_all(after: tuple[int, ...], is_rooted: bool) -> None:
    assert rooted(after) == is_rooted


@given(forests())
def test_siblings_see_the_same(forest: Forest) -> None:
    """What they are said to see, with their own blocks, is all that is visible; nobody is there twice."""
    n = sum(forest[0])
    seen = visible(forest[0], ()).numpy().copy()
    found: list[int] = []
    for tokens, keys in siblings(*forest):
        seen[np.ix_(tokens, keys)] = True
        found += tokens.tolist()
    assert (torch.from_numpy(seen) == visible(*forest)).all()
    assert len(found) == len(set(found)) <= n
