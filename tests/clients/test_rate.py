"""The token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clients.rate import Bucket


def test_a_burst_then_the_rate():
    bucket = Bucket(rate_per_s=2, burst=3, now_s=0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 5), max_size=200))
def test_never_more_than_the_burst_and_the_rate(pauses_s):
    bucket, now_s, taken = Bucket(rate_per_s=3, burst=5, now_s=0), 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        taken += bucket.take(now_s)
        assert taken <= 5 + 3 * now_s + 1e-6
