from __future__ import annotations

import numpy as np
import pytest

from memory.policies.merge import Merge
from tests.memory.random_memory import described, drawn, rows_of


def test_alike_tokens_fold_into_the_newest_of_their_cell() -> None:
    """A chain of four ends in its last old row; the newest seconds are not touched."""
    meta = described(1, [[0, 1], [0], [0], [0], [0, 1]])
    plain = drawn(1).expand(-1, -1, len(meta), -1).clone()
    decision = Merge(whole_s=0, key_tokens=0).compact(meta, 5, rows_of(plain, drawn(len(meta)), meta))
    assert decision.merge_into is not None
    assert decision.keep.tolist() == [0, 2, 5, 6, 7]
    assert decision.merge_into.tolist() == [-1, 5, -1, 5, 5, -1, -1, -1]


def test_unlike_tokens_are_dropped_by_age_instead() -> None:
    meta = described(1, [[0], [0], [0], [0], [0]])
    rows = rows_of(drawn(len(meta)), drawn(len(meta)), meta)
    decision = Merge(similarity=1.0, whole_s=0, key_tokens=0).compact(meta, 3, rows)
    assert decision.keep.tolist() == [0, 4, 5]
    assert decision.merge_into is not None
    assert (decision.merge_into == -1).all()


def test_only_as_many_are_merged_as_must_go() -> None:
    """The most alike pair first."""
    meta = described(0, [[0, 1], [0, 1], [0, 1]])
    plain = drawn(6)
    plain[:, :, 2] = plain[:, :, 0]
    decision = Merge(similarity=-1.0, whole_s=0, key_tokens=0).compact(meta, 5, rows_of(plain, drawn(6), meta))
    assert decision.keep.tolist() == [1, 2, 3, 4, 5]
    assert decision.merge_into is not None
    assert decision.merge_into.tolist() == [2, -1, -1, -1, -1, -1]


def test_nothing_is_merged_into_the_newest_seconds() -> None:
    meta = described(0, [[0], [0], [0]])
    plain = drawn(1).expand(-1, -1, 3, -1).clone()
    decision = Merge(whole_s=1.5, key_tokens=0).compact(meta, 2, rows_of(plain, drawn(3), meta))
    assert decision.keep.tolist() == [1, 2]
    assert decision.merge_into is not None
    assert np.all(decision.merge_into == -1)


def test_a_similarity_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="similarity"):
        Merge(similarity=1.1)
