"""The mailbox: latest wins, and every frame is either taken, waiting, or counted as dropped."""

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.mailbox import Mailbox
from streaming.types import Frame

IMAGE = np.zeros((2, 2, 3), np.uint8)


def frame(seq, dropped_before=0):
    return Frame("cam", seq, pts_ns=seq, seen_ns=seq, image=IMAGE, dropped_before=dropped_before)


def test_the_latest_wins():
    """A frame that was not taken in time is replaced, and the next one says so."""
    box = Mailbox()
    assert box.put(frame(0))
    assert not box.put(frame(1))
    assert box.peek_pts_ns() == 1
    taken = box.take()
    assert taken is not None
    assert (taken.seq, taken.dropped_before) == (1, 1)
    assert box.take() is None
    assert box.peek_pts_ns() is None


def test_a_frame_that_comes_alone_is_handed_on_unchanged():
    """Without a loss the very same object comes out."""
    box = Mailbox()
    only = frame(3)
    box.put(only)
    assert box.take() is only


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=60))
def test_no_frame_is_lost_uncounted(steps):
    """put == taken + dropped + waiting after every step, and dropped_before adds up to every loss (None is a take)."""
    box, put, seen_losses, known_losses = Mailbox(), 0, 0, 0
    for step in steps:
        if step is None:
            taken = box.take()
            seen_losses += taken.dropped_before if taken else 0
        else:
            box.put(frame(put, dropped_before=step))
            put += 1
            known_losses += step
        count = box.counters
        waiting = box.peek_pts_ns() is not None
        assert count.put == put == count.taken + count.dropped + waiting
    last = box.take()
    seen_losses += last.dropped_before if last else 0
    assert seen_losses == known_losses + box.counters.dropped


def test_two_threads_lose_nothing_uncounted():
    """A producer and a consumer at full speed: order kept, every frame accounted for."""
    box, done, taken = Mailbox(), threading.Event(), []

    def produce():
        for seq in range(5000):
            box.put(frame(seq))
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    while not done.is_set() or box.peek_pts_ns() is not None:
        got = box.take()
        if got is not None:
            taken.append(got)
    thread.join()
    assert [got.seq for got in taken] == sorted({got.seq for got in taken})
    assert sum(1 + got.dropped_before for got in taken) == 5000 == box.counters.put
