from __future__ import annotations

import numpy as np

from memory.policies.retrieve import Retrieve
from tests.memory.random_memory import described, drawn, rows_of


def test_everything_that_leaves_goes_to_the_archive() -> None:
    """Kept and archived rows are the whole memory, each once, and the prompt stays."""
    meta = described(2, [[0, 1]] * 9, text=1)
    decision = Retrieve(whole_s=2).compact(meta, 14, rows_of(drawn(len(meta)), drawn(len(meta)), meta))
    assert decision.archive is not None
    assert np.array_equal(np.sort(np.concatenate((decision.keep, decision.archive))), np.arange(len(meta)))
    assert decision.keep[:2].tolist() == [0, 1]
    assert decision.archive.max() < decision.keep[2:].max()


def test_the_oldest_leave_first() -> None:
    meta = described(1, [[0]] * 9)
    decision = Retrieve(whole_s=0, key_tokens=0).compact(meta, 5, rows_of(drawn(10), drawn(10), meta))
    assert decision.keep.tolist() == [0, 6, 7, 8, 9]
