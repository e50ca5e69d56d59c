from __future__ import annotations

import numpy as np
import pytest

from memory.policies.salience import Salience
from tests.memory.random_memory import described, drawn, rows_of

NO_TIERS = {"whole_s": 0.0, "key_frames": 0, "key_tokens": 0}


def test_what_the_recent_seconds_repeat_goes_first() -> None:
    """One old token has a key unlike its cell's present one: it stays, its equal neighbours go."""
    meta = described(1, [[0, 1], [0, 1], [0, 1], [0, 1]])
    plain = drawn(1).expand(-1, -1, len(meta), -1).clone()
    plain[:, :, 4] = -plain[:, :, 4]
    rows = rows_of(plain, drawn(len(meta), seed=1) * 0 + 1, meta)
    kept = Salience(redundancy_share=0.99, **NO_TIERS).compact(meta, 4, rows).keep
    assert kept.tolist() == [0, 4, 7, 8]


def test_strong_values_stay() -> None:
    meta = described(1, [[0, 1], [0, 1], [0, 1], [0, 1]])
    values = drawn(len(meta), seed=1) * 0 + 1
    values[:, :, 3] *= 9
    kept = Salience(redundancy_share=0.01, **NO_TIERS).compact(meta, 4, rows_of(drawn(len(meta)), values, meta)).keep
    assert kept.tolist() == [0, 3, 7, 8]


def test_both_scores_have_their_share() -> None:
    """Of four free places two go to the least repeated and two to the strongest."""
    meta = described(0, [[0]] * 12)
    plain = drawn(1).expand(-1, -1, 12, -1).clone()
    plain[:, :, [2, 5]] *= -1
    values = drawn(12, seed=1) * 0 + 1
    values[:, :, [3, 7]] *= 5
    kept = Salience(**NO_TIERS).compact(meta, 5, rows_of(plain, values, meta)).keep
    assert kept.tolist() == [2, 3, 5, 7, 11]


def test_the_newest_seconds_and_the_standing_picture_survive_any_score() -> None:
    meta = described(1, [[0, 1, 2, 3], *[[0]] * 20])
    kept = Salience(whole_s=3, key_tokens=0).compact(meta, 10, rows_of(drawn(len(meta)), drawn(len(meta)), meta)).keep
    assert {0, 2, 3, 4} <= set(kept)
    assert kept[-3:].tolist() == [22, 23, 24]
    assert len(kept) == 10


def test_a_frame_with_a_kept_token_keeps_its_time() -> None:
    meta = described(1, [[0, 1]] * 8, text=2)
    kept = Salience(whole_s=1).compact(meta, 14, rows_of(drawn(len(meta)), drawn(len(meta)), meta)).keep
    frames = set(meta.frame[kept])
    assert all(np.isin(np.flatnonzero((meta.frame == f) & (meta.cell < 0)), kept).all() for f in frames)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_silences_a_score_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="redundancy_share"):
        Salience(redundancy_share=share)
