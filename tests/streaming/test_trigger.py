"""Scene changes from the share of kept tokens."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from streaming.trigger import Trigger, TriggerSettings

S = 1_000_000_000


def changes(kepts: list[int], total: int = 100) -> list[int]:
    trigger = Trigger()
    return [i for i, kept in enumerate(kepts) if trigger.observe(kept, total, i * S // 2).change]


def test_a_burst_after_quiet_is_one_change():
    """The first frame of a burst marks it; the rest of the burst does not."""
    assert changes([2] * 20 + [60, 70, 65, 60] + [2] * 10) == [20]


def test_constant_activity_is_no_change():
    """A busy street has a high median; its own level never marks a change."""
    assert changes([40, 45, 42, 38, 44, 41] * 10) == []


def test_small_bursts_stay_below_rho_on():
    """A high z on a tiny share is noise, not a scene change."""
    assert changes([0] * 20 + [10] + [0] * 20) == []


def test_nothing_is_known_during_warmup():
    """The first frames (the first is kept whole) never mark a change."""
    assert changes([100] + [0] * (TriggerSettings().warmup - 2) + [100]) == []


@given(st.lists(st.integers(0, 64), max_size=200))
def test_changes_keep_their_distance(kepts):
    """Two changes lie at least cooldown_s apart, whatever comes."""
    marks = changes(kepts, 64)
    assert all(b - a >= 4 for a, b in itertools.pairwise(marks))
