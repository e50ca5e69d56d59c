"""Clocks: the real one tells Unix time, the virtual one moves only when told."""

import time

import pytest

from streaming.clock import NS_PER_S, SystemClock, VirtualClock


def test_the_system_clock_tells_unix_time():
    """now_ns lies between two readings of the machine's own clock, and monotonic_ns does not go back."""
    clock = SystemClock()
    before = time.time_ns()
    now = clock.now_ns()
    assert before <= now <= time.time_ns()
    assert clock.monotonic_ns() <= clock.monotonic_ns()


def test_the_virtual_clock_stands_still_until_it_is_moved():
    """Both readings advance by exactly what was asked."""
    clock = VirtualClock(now_ns=5)
    assert (clock.now_ns(), clock.monotonic_ns()) == (5, 0)
    clock.advance(1.5)
    assert (clock.now_ns(), clock.monotonic_ns()) == (5 + 3 * NS_PER_S // 2, 3 * NS_PER_S // 2)


def test_only_the_wall_can_be_set_back():
    """An operator's step changes now_ns alone; advancing by less than nothing is refused."""
    clock = VirtualClock(now_ns=10 * NS_PER_S)
    clock.advance(1)
    clock.set_wall(0)
    assert (clock.now_ns(), clock.monotonic_ns()) == (0, NS_PER_S)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
