"""When a camera was seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming.past.clock import Stretch
from streaming.past.seen import MOST, Seen

frames = st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=60)


def test_a_gap_is_not_seen():
    """What memory holds from both sides of a gap is two stretches."""
    seen = Seen()
    for t_ns in (10, 20, 30):
        seen.add(t_ns)
    seen.cut()
    for t_ns in (100, 110):
        seen.add(t_ns)
    assert seen.within(Stretch(15, 105)) == [Stretch(15, 30), Stretch(100, 105)]
    assert seen.within(Stretch(40, 90)) == []
    assert Seen().within(Stretch(0, 100)) == []


def test_a_clock_set_back_begins_a_new_stretch():
    """Times stay true; they are told in their own order."""
    seen = Seen()
    for t_ns in (100, 110, 50, 60):
        seen.add(t_ns)
    assert seen.within(Stretch(0, 200)) == [Stretch(50, 60), Stretch(100, 110)]


@given(frames, st.integers(0, 100), st.integers(0, 300))
def test_every_frame_is_in_a_stretch_and_no_stretch_crosses_a_cut(steps, start, length):
    """Equal to the plain reference: the cut stretches, each clipped to what is held."""
    seen, at, runs = Seen(), 0, []
    for step, cut in steps:
        at += step
        if cut:
            seen.cut()
        if cut or not runs:
            runs.append([])
        runs[-1].append(at)
        seen.add(at)
    held = Stretch(start, start + length)
    clipped = [(max(run[0], held.t0_ns), min(run[-1], held.t1_ns)) for run in runs]
    assert seen.within(held) == [Stretch(*ends) for ends in clipped if ends[0] <= ends[1]]


def test_it_is_bounded():
    """A camera with a gap after every frame is forgotten from the oldest on."""
    seen = Seen()
    for t_ns in range(2 * MOST):
        seen.add(t_ns)
        seen.cut()
    assert len(seen.within(Stretch(0, 2 * MOST))) == MOST
