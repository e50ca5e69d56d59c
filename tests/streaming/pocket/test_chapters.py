"""The endless course: any moment is found at once, nobody is cut off, and the yard stays the same yard."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.pocket.chapters import CHAPTER_S, Serial, closed, moved, shifted
from streaming.pocket.script import DOOR_Y, Layout, write
from streaming.pocket.types import Happening, Kind

from .scripts import PACE, SEEDS, bare

CHAPTERS = st.integers(0, 10_000)


@given(SEEDS, PACE, CHAPTERS)
@settings(max_examples=40, deadline=None)
def test_a_chapter_begins_and_ends_with_nobody_there(seed: int, pace: str, number: int) -> None:
    """Door closed, lamp off, nobody and nothing in front of it: the seam does not show."""
    begin = number * CHAPTER_S
    script = Serial(seed, pace).script(begin + 1)
    for t_s in (begin, begin + CHAPTER_S - 1e-3):
        assert not [one for one in script.present(t_s) if one.inside(t_s) > 0.5 and one.at(t_s)[1] > DOOR_Y]
        assert not script.lamp_on(t_s)
    assert all(begin <= one.span[0] < one.span[1] <= begin + CHAPTER_S for one in script.things)
    assert all(begin <= on < off <= begin + CHAPTER_S for on, off in (*script.door, *script.lamp))


@given(SEEDS, PACE, CHAPTERS, st.booleans())
@settings(max_examples=40, deadline=None)
def test_chapters_share_a_yard_and_no_thing(seed: int, pace: str, number: int, mirror: bool) -> None:
    """One layout, the one of the seed's own scene; numbers of things are never used twice."""
    serial = Serial(seed, pace, mirror)
    one, two = (serial.script((number + i) * CHAPTER_S) for i in range(2))
    assert one.layout == two.layout
    plain = write(seed, pace=pace).layout
    assert one.layout.door_x == (1 - plain.door_x if mirror else plain.door_x)
    assert not {each.number for each in one.things} & {each.number for each in two.things}
    assert one == serial.script((number + 0.5) * CHAPTER_S)


@given(SEEDS, PACE)
@settings(max_examples=60, deadline=None)
def test_closing_keeps_hands_and_bags_consistent(seed: int, pace: str) -> None:
    """A bag lies only between the hands of two who come and go; nobody takes what does not lie there."""
    script = closed(write(seed, seconds=60, pace=pace))
    things = {one.number: one for one in script.things}
    assert len(things) == len(script.things)
    dropped = {(one.carries[1], one.carries[2]) for one in script.things if one.carries}
    taken = {(one.carries[0], one.carries[2]) for one in script.things if one.carries}
    bags = [one for one in script.things if one.kind is Kind.BAG]
    for bag in bags:
        assert (bag.span[0], bag.colour) in dropped
        assert (bag.span[1], bag.colour) in taken
    lain = {(end, bag.colour) for bag in bags for end in bag.span}
    for one in script.things:
        if one.carries:
            begin, end, colour = one.carries
            assert begin <= one.span[0] or (begin, colour) in lain
            assert end >= one.span[1] or (end, colour) in lain


@given(SEEDS, PACE, st.floats(0, 1e6))
@settings(max_examples=40, deadline=None)
def test_a_shifted_script_tells_the_same_later(seed: int, pace: str, by_s: float) -> None:
    script = write(seed, seconds=60, pace=pace)
    later = {(e.what, e.thing): e.t_s for e in shifted(script, by_s).events()}
    for event in script.events():
        if event.thing is not None:
            assert later[event.what, event.thing] == pytest.approx(event.t_s + by_s, abs=1e-3)


@given(SEEDS, st.floats(0.3, 0.7))
@settings(max_examples=40, deadline=None)
def test_who_goes_to_the_door_goes_to_where_it_is(seed: int, door_x: float) -> None:
    """The others keep their way."""
    script = write(seed, seconds=60, pace="busy")
    for one, other in zip(script.things, moved(script, Layout(door_x=door_x)).things, strict=True):
        for (t0, x0, y0), (t1, x1, y1) in zip(one.path, other.path, strict=True):
            assert (t1, y1) == (t0, y0)
            assert x1 == (door_x if y0 <= DOOR_Y else x0)


def test_enough_happens_in_a_chapter() -> None:
    """Closing takes away a few at its end and not the rest: at least three quarters of a script's events stay."""
    serial = Serial(3, "busy")
    kept = [len(serial.script(k * CHAPTER_S).events()) for k in range(10)]
    written = [len(write(k, seconds=CHAPTER_S - 4, pace="busy").events()) for k in range(10)]
    assert sum(kept) > 0.75 * sum(written)
    assert {e.what for k in range(10) for e in serial.script(k * CHAPTER_S).events()} == set(Happening)


def test_its_events_are_in_order_over_the_seams() -> None:
    serial = Serial(9, "normal")
    times = [event.t_s for k in range(20) for event in serial.script(k * CHAPTER_S).events()]
    assert all(a <= b for a, b in itertools.pairwise(times))
    assert bare(9).script.layout == serial.script(0).layout
