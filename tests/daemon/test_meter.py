"""The small sliding measurements."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.meter import Quantiles, Rate, Share

S = 1_000_000_000


def test_rate_counts_the_last_window():
    """Ten events in five seconds are two a second; they leave with the window."""
    rate = Rate(window_s=5)
    for i in range(10):
        rate.add(i * S // 2)
    assert rate.per_s(5 * S) == 2.0
    assert rate.per_s(100 * S) == 0.0


def test_quantiles_of_nothing_are_unknown():
    """None, not zero."""
    assert Quantiles().at(0.5) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.floats(0, 1))
def test_quantiles_are_values_that_occurred_in_the_window(values, q):
    """The nearest rank over the last 256 values; 0 is the least, 1 the greatest."""
    quantiles = Quantiles(256)
    for value in values:
        quantiles.add(value)
    assert quantiles.at(q) in values[-256:]
    assert quantiles.at(0) == min(values[-256:])
    assert quantiles.at(1) == max(values[-256:])


def test_share_switches_with_hysteresis():
    """On at 30 % bad, still on at 20 %, off below 10 %, and never on two samples."""
    share = Share(10, on=0.3, off=0.1, least=8)
    assert not share.add(0, good=1, bad=1)
    assert share.add(S, good=4, bad=2)
    assert share.add(2 * S, good=7)
    assert not share.add(11 * S, good=21)
