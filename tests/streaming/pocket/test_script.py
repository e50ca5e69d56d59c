"""What a seed writes: always the same, always possible, and told event by event."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from streaming.pocket.script import MOST_CARS, PACES, mirrored, write, yard
from streaming.pocket.types import PALETTE, Happening, Kind

from .scripts import PACE, SECONDS, SEEDS, TIMES

ONE_AT_A_TIME = (Kind.CAR, Kind.BICYCLE, Kind.DOG, Kind.BAG)


@given(SEEDS, PACE)
@settings(max_examples=50, deadline=None)
def test_a_seed_writes_one_script(seed: int, pace: str) -> None:
    """Twice the same, and never that of the next seed."""
    assert write(seed, pace=pace) == write(seed, pace=pace)
    assert write(seed, pace=pace) != write(seed + 1, pace=pace)


def test_the_pace_says_how_much_happens() -> None:
    """More things, on the mean of many seeds, from still to busy."""
    means = [
        np.mean([len(write(seed, pace=pace).things) for seed in range(40)]) for pace in ("still", "normal", "busy")
    ]
    assert set(PACES) == {"still", "normal", "busy"}
    assert means == sorted(means)
    assert means[0] * 4 < means[2]


def test_an_unknown_pace_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no pace 'wild'; there are still, normal, busy"):
        write(1, pace="wild")


@given(SEEDS, PACE)
@settings(max_examples=60, deadline=None)
def test_never_two_of_what_comes_alone(seed: int, pace: str) -> None:
    """At most one car, bicycle, dog and bag at a time, three people; every thing in a colour of its kind."""
    script = write(seed, seconds=SECONDS, pace=pace)
    for t_s in np.arange(0, SECONDS, 0.5):
        kinds = [one.kind for one in script.present(t_s)]
        assert all(kinds.count(kind) <= 1 for kind in ONE_AT_A_TIME)
        assert kinds.count(Kind.PERSON) <= 3
    assert all(one.colour in PALETTE[one.kind] for one in script.things)
    cars = [one.colour for one in script.things if one.kind is Kind.CAR]
    assert len(cars) == len(set(cars)) <= MOST_CARS


@given(SEEDS, PACE)
@settings(max_examples=60, deadline=None)
def test_paths_go_forward_in_time_and_never_jump(seed: int, pace: str) -> None:
    """Stops ascend in time; nobody is faster than a car; a bag stays where it lies."""
    for one in write(seed, seconds=SECONDS, pace=pace).things:
        for (t0, x0, _), (t1, x1, _) in zip(one.path, one.path[1:], strict=False):
            assert t1 > t0
            assert abs(x1 - x0) <= 0.41 * (t1 - t0)
        if one.kind is Kind.BAG:
            assert len({x for _, x, _ in one.path}) == 1


@given(SEEDS, PACE)
@settings(max_examples=60, deadline=None)
def test_bags_pass_from_hand_to_ground_to_hand(seed: int, pace: str) -> None:
    """A bag lies from the moment on at which somebody lets go of one of its colour, until somebody takes one."""
    script = write(seed, seconds=SECONDS, pace=pace)
    dropped = {(one.carries[1], one.carries[2]) for one in script.things if one.carries}
    taken = {(one.carries[0], one.carries[2]) for one in script.things if one.carries}
    for bag in (one for one in script.things if one.kind is Kind.BAG):
        begin, end = bag.span
        assert begin < 0 or (begin, bag.colour) in dropped
        assert math.isinf(end) or (end, bag.colour) in taken


@given(SEEDS, PACE)
@settings(max_examples=40, deadline=None)
def test_events_agree_with_what_is_there(seed: int, pace: str) -> None:
    """In order; what came or was put down is there just after and what left or was taken is not much later; doors and
    lamps are as they were told."""
    script = write(seed, seconds=SECONDS, pace=pace)
    events = script.events()
    assert [event.t_s for event in events] == sorted(event.t_s for event in events)
    for event in events:
        before, after = event.t_s - 0.01, event.t_s + 0.01
        assert event.t_s > 0
        there = [{one.number for one in script.present(t_s)} for t_s in (before, after)]
        match event.what:
            case Happening.CAME:
                assert event.thing in there[1]
            case Happening.DROPPED:
                assert (event.thing in there[0], event.thing in there[1]) == (False, True)
            case Happening.LEFT:
                assert event.thing in there[0]
                assert not any(one.number == event.thing for one in script.present(event.t_s + 2.5))
            case Happening.TAKEN:
                assert (event.thing in there[0], event.thing in there[1]) == (True, False)
            case Happening.DOOR_OPENED | Happening.DOOR_CLOSED:
                opened = event.what is Happening.DOOR_OPENED
                assert (script.door_open(before), script.door_open(after)) == (not opened, opened)
            case Happening.LAMP_ON | Happening.LAMP_OFF:
                lit = event.what is Happening.LAMP_ON
                assert (script.lamp_on(before), script.lamp_on(after)) == (not lit, lit)


@given(SEEDS, PACE, TIMES)
@settings(max_examples=60, deadline=None)
def test_a_mirror_swaps_left_and_right_and_nothing_else(seed: int, pace: str, t_s: float) -> None:
    """x becomes 1 - x, left becomes right; twice mirrored is as before; events are the same."""
    script = write(seed, seconds=SECONDS, pace=pace)
    other = mirrored(script)
    assert [(e.t_s, e.what, e.thing, e.colour) for e in other.events()] == [
        (pytest.approx(e.t_s), e.what, e.thing, e.colour) for e in script.events()
    ]
    for one, seen in zip(script.present(t_s), other.present(t_s), strict=True):
        (x, y, heading, _), (x2, y2, heading2, _) = one.at(t_s), seen.at(t_s)
        assert (seen.number, x2, y2, heading2) == (one.number, pytest.approx(1 - x), y, -heading)
    again = mirrored(other)
    assert replace(again, things=(), layout=script.layout) == replace(script, things=())
    for one, seen in zip(script.things, again.things, strict=True):
        np.testing.assert_allclose(np.array(one.path)[:, :2], np.array(seen.path)[:, :2])


def test_the_yard_is_as_it_is_told() -> None:
    """A person 4 to 19 s, at the door 9 to 14 s, which is open 9.5 to 13.5 s; the lamp from 15 s; a car 20 to 25 s."""
    script = yard()
    kinds = {t_s: [one.kind for one in script.present(t_s)] for t_s in (3.9, 4.1, 18.9, 19.1, 20.1, 24.9, 25.1)}
    assert kinds == {
        3.9: [], 4.1: [Kind.PERSON], 18.9: [Kind.PERSON], 19.1: [], 20.1: [Kind.CAR], 24.9: [Kind.CAR], 25.1: [],
    }  # fmt: skip
    (person,) = script.present(11)
    assert person.at(9)[:2] == person.at(13.9)[:2] == (script.layout.door_x, 0.60)
    assert [script.door_open(t_s) for t_s in (9.4, 9.6, 13.4, 13.6)] == [False, True, True, False]
    assert [script.lamp_on(t_s) for t_s in (0, 14.9, 15.1, 29.9, 30.1)] == [False, False, True, True, False]
    assert script.present(11) == script.present(41)
