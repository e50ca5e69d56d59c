"""
A course without end, for a camera that runs for days: chapters, each of its own seed, in front of the same yard.

Whoever comes in a chapter is gone when it ends, so no chapter need know another: any moment of any day is found at
once, and only the chapters that are being watched are held.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .script import DOOR_Y, Interval, Layout, Script, Stop, Thing, mirrored, write
from .seeds import TRAINING_SEEDS
from .types import Kind

CHAPTER_S = 120.0
_LEAD_S = 4.0  # a script begins up to so many seconds before its first picture
_DARK_S = 1.0  # the lamp is off so long before a chapter ends and after the next begins
_NUMBERS = 1000  # of things, a chapter


@dataclass(frozen=True, slots=True)
class Serial:
    """
    An endless course. seed: of all of it. pace: a key of PACES. mirror: left is right.

    Times are seconds since the first chapter began; every script tells its happenings in these.
    """

    seed: int
    pace: str = "normal"
    mirror: bool = False

    def script(self, t_s: float) -> Script:
        """The chapter at a time. Raises: ValueError: no such pace."""
        return _chapter(self.seed, self.pace, self.mirror, max(0, math.floor(t_s / CHAPTER_S)))


@lru_cache(maxsize=64)
def _chapter(seed: int, pace: str, mirror: bool, number: int) -> Script:
    drawn = TRAINING_SEEDS + int(np.random.SeedSequence((seed, number)).generate_state(1)[0])  # no model has seen it
    layout = write(seed, seconds=1.0).layout
    script = closed(shifted(write(drawn, seconds=CHAPTER_S - _LEAD_S, pace=pace), _LEAD_S))
    script = shifted(moved(script, layout), number * CHAPTER_S)
    things = tuple(replace(one, number=number * _NUMBERS + one.number) for one in script.things)
    script = replace(script, things=things)
    return mirrored(script) if mirror else script


def moved(script: Script, layout: Layout) -> Script:
    """The same course before another wall: who goes to the door goes to where that layout has it."""

    def there(stop: Stop) -> Stop:
        t, x, y = stop
        return (t, layout.door_x, y) if y <= DOOR_Y else (t, x, y)

    things = tuple(replace(one, path=tuple(there(stop) for stop in one.path)) for one in script.things)
    return replace(script, things=things, layout=layout)


def shifted(script: Script, by_s: float) -> Script:
    """The same script, so many seconds later."""
    return replace(
        script,
        seconds=script.seconds + by_s,
        things=tuple(_later(one, by_s) for one in script.things),
        door=_all_later(script.door, by_s),
        lamp=_all_later(script.lamp, by_s),
    )


def closed(script: Script) -> Script:
    """
    The same script with an end at which nobody is there, the door is closed and the lamp is off.

    Who would stay longer does not come; a bag that nobody fetches in time is not put down.
    """
    end = script.seconds
    inside = [one for one in script.things if one.span[1] <= end]
    fetched = [one for one in inside if one.kind is Kind.BAG and _dropper(one, inside) and _taker(one, inside)]
    hands = {one.number: one for one in inside if one.kind is not Kind.BAG}
    for bag in (one for one in script.things if one.kind is Kind.BAG and one not in fetched):
        dropper, taker = _dropper(bag, script.things), _taker(bag, script.things)
        if taker is not None:
            hands.pop(taker.number, None)
        if dropper is not None and dropper.carries is not None and dropper.number in hands:
            carries = (dropper.carries[0], dropper.span[1], dropper.carries[2])
            hands[dropper.number] = replace(dropper, carries=carries)
    lamp = [(max(on, _DARK_S), min(off, end - _DARK_S)) for on, off in script.lamp]
    return replace(
        script,
        things=tuple(sorted((*hands.values(), *fetched), key=lambda one: one.number)),
        door=tuple(span for span in script.door if span[1] <= end),
        lamp=tuple((on, off) for on, off in lamp if off - on > _DARK_S),
    )


def _dropper(bag: Thing, things: Iterable[Thing]) -> Thing | None:
    return next((one for one in things if one.carries and one.carries[1:] == (bag.span[0], bag.colour)), None)


def _taker(bag: Thing, things: Iterable[Thing]) -> Thing | None:
    return next((one for one in things if one.carries and one.carries[::2] == (bag.span[1], bag.colour)), None)


def _later(one: Thing, by_s: float) -> Thing:
    carries = one.carries and (one.carries[0] + by_s, one.carries[1] + by_s, one.carries[2])
    return replace(one, path=tuple((t + by_s, x, y) for t, x, y in one.path), carries=carries)


def _all_later(spans: tuple[Interval, ...], by_s: float) -> tuple[Interval, ...]:
    return tuple((begin + by_s, end + by_s) for begin, end in spans)
