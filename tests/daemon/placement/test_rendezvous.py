"""daemon/placement/rendezvous.py"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.placement.rendezvous import owner

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8, unique=True)


@given(st.text(max_size=16), NAMES, st.randoms())
def test_order_does_not_matter(camera, workers, random):
    """Every process computes the same owner, however it lists the workers."""
    shuffled = workers[:]
    random.shuffle(shuffled)
    assert owner(camera, workers) == owner(camera, shuffled) in workers


@given(st.lists(st.text(max_size=8), max_size=30), NAMES)
def test_only_what_must_move_moves(cameras, workers):
    """A worker that leaves gives away its own cameras and no other."""
    *left, gone = workers
    for camera in cameras:
        before = owner(camera, workers)
        if left and before != gone:
            assert owner(camera, left) == before


def test_even():
    """Cameras spread over the workers about evenly."""
    counts = Counter(owner(f"camera-{n}", ["w0", "w1", "w2", "w3"]) for n in range(4000))
    assert all(850 < count < 1150 for count in counts.values()), counts


def test_stable_over_releases():
    """The owner is written down here: a release that moved every camera would fail this test."""
    assert [owner(camera, ["w0", "w1"]) for camera in ("dock", "gate", "yard", "door")] == ["w0", "w0", "w1", "w1"]


def test_nobody():
    """Without workers there is no owner."""
    with pytest.raises(ValueError, match="empty"):
        owner("dock", [])
