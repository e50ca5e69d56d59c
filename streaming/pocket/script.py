"""
The course of a scene: who comes when, where they stop, what they leave behind. Pure data, written from a seed.

Places are shares of the picture: x to the right, y downwards, of the point where a thing touches the ground.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from .types import COLOURS, PALETTE, Colour, Event, Happening, Kind

PACES = {"still": 22.0, "normal": 6.0, "busy": 2.2}  # mean seconds from one beginning to the next
DOOR_Y, AT_DOOR_Y, AT_DOOR_X = 0.60, 0.635, 0.07
WALK_Y, DOG_Y, BAG_Y, RIDE_Y, DRIVE_Y = (0.68, 0.72), (0.70, 0.75), 0.73, 0.86, 0.95
HALF = {Kind.PERSON: 0.05, Kind.CAR: 0.16, Kind.BICYCLE: 0.08, Kind.DOG: 0.08, Kind.BAG: 0.035}  # half widths
_MOST = {Kind.PERSON: 3, Kind.CAR: 1, Kind.BICYCLE: 1, Kind.DOG: 1, Kind.BAG: 1}  # at the same time
MOST_CARS = 4  # a scene; each has its own colour

Stop = tuple[float, float, float]  # t_s, x, y
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """
    One who comes and goes along `path`, in straight lines; there from the first stop to the last.

    size: about 1. carries: from when to when a bag of which colour is in its hand.
    """

    number: int
    kind: Kind
    colour: Colour
    path: tuple[Stop, ...]
    size: float = 1.0
    carries: tuple[float, float, Colour] | None = None
    half: float = field(init=False, repr=False, compare=False, default=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "half", HALF[self.kind] * self.size)

    @property
    def span(self) -> Interval:
        return self.path[0][0], self.path[-1][0]

    def there(self, t_s: float) -> bool:
        return self.path[0][0] <= t_s < self.path[-1][0]

    def at(self, t_s: float) -> tuple[float, float, int, int]:
        """x, y, heading (-1, 0, 1) and facing (-1, 1) at a time at which it is there."""
        facing = 1
        for (t0, x0, y0), (t1, x1, y1) in pairwise(self.path):
            heading = 0 if abs(x1 - x0) < 1e-6 else int(math.copysign(1, x1 - x0))
            facing = heading or facing
            if t_s < t1:
                share = (t_s - t0) / (t1 - t0)
                return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share, heading, facing
        _, x, y = self.path[-1]
        return x, y, 0, facing

    def inside(self, t_s: float) -> float:
        """Share of its width that is inside the picture, 0..1."""
        if not self.there(t_s):
            return 0.0
        x = self.at(t_s)[0]
        left, right = max(0.0, x - self.half), min(1.0, x + self.half)
        return max(0.0, right - left) / (2 * self.half)


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands still in a scene. door_x, lamp_x: shares. walls: which of the drawn surroundings."""

    door_x: float = 0.61
    lamp_x: float = 0.22
    walls: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    """
    A scene of `seconds`; it repeats after that where `again`, else it stays as it ended.

    door, lamp: when open and when lit.
    """

    seconds: float
    layout: Layout
    things: tuple[Thing, ...]
    door: tuple[Interval, ...] = ()
    lamp: tuple[Interval, ...] = ()
    again: bool = False

    def at(self, t_s: float) -> float:
        """Where in the script a time is."""
        return t_s % self.seconds if self.again else t_s

    def door_open(self, t_s: float) -> bool:
        return any(begin <= self.at(t_s) < end for begin, end in self.door)

    def lamp_on(self, t_s: float) -> bool:
        return any(begin <= self.at(t_s) < end for begin, end in self.lamp)

    def present(self, t_s: float) -> list[Thing]:
        """Who is there, from the back to the front."""
        at = self.at(t_s)
        return sorted((one for one in self.things if one.there(at)), key=lambda one: (one.at(at)[1], one.number))

    def events(self) -> tuple[Event, ...]:
        """Every change of one round, in order: a thing has come when half of it is inside."""
        found = [Event(t, what) for t, what in self._switches()]
        for one in self.things:
            came, left = _half_inside(one)
            begin, end = (
                (Happening.DROPPED, Happening.TAKEN) if one.kind is Kind.BAG else (Happening.CAME, Happening.LEFT)
            )
            if came is not None and came > 0:
                found.append(Event(came, begin, one.number, one.kind, one.colour))
            if left is not None and 0 < left < self.seconds:
                found.append(Event(left, end, one.number, one.kind, one.colour))
        return tuple(sorted(found, key=lambda event: event.t_s))

    def _switches(self) -> list[tuple[float, Happening]]:
        pairs = (
            (self.door, Happening.DOOR_OPENED, Happening.DOOR_CLOSED),
            (self.lamp, Happening.LAMP_ON, Happening.LAMP_OFF),
        )
        moments = [moment for spans, on, off in pairs for begin, end in spans for moment in ((begin, on), (end, off))]
        last = math.nextafter(self.seconds, math.inf) if self.again else self.seconds  # the end begins the next round
        return [(t, what) for t, what in moments if 0 < t < last]


def write(seed: int, *, seconds: float = 60.0, pace: str = "normal") -> Script:
    """A scene of its own for every seed. pace: a key of PACES. Raises: ValueError: no such pace."""
    if pace not in PACES:
        raise ValueError(f"no pace {pace!r}; there are {', '.join(PACES)}")
    return _Writer(np.random.default_rng((seed, 11)), seconds, PACES[pace]).write()


def mirrored(script: Script) -> Script:
    """The same scene seen in a mirror: left is right."""
    flip = tuple(replace(one, path=tuple((t, 1.0 - x, y) for t, x, y in one.path)) for one in script.things)
    layout = replace(script.layout, door_x=1.0 - script.layout.door_x, lamp_x=1.0 - script.layout.lamp_x)
    return replace(script, things=flip, layout=layout)


def yard() -> Script:
    """
    The yard of `synthetic:yard`, half a minute, again and again.

    A person comes from the left (4 s), stands at the door (9 to 14 s), which opens, leaves to the right (19 s); the
    lamp goes on (15 s); a red car passes (20 to 25 s).
    """
    layout = Layout()
    x = layout.door_x
    person = Thing(
        0,
        Kind.PERSON,
        Colour.BLUE,
        ((4.0, -0.06, 0.68), (9.0, x, DOOR_Y), (14.0, x, DOOR_Y), (19.0, 1.06, 0.68)),
    )
    car = Thing(1, Kind.CAR, Colour.RED, ((20.0, -0.17, DRIVE_Y), (25.0, 1.17, DRIVE_Y)))
    return Script(30.0, layout, (person, car), door=((9.5, 13.5),), lamp=((15.0, 30.0),), again=True)


def _half_inside(one: Thing) -> tuple[float | None, float | None]:
    """When the middle first enters the picture and last leaves it; None where it begins or ends inside a round."""
    begin, end = one.span
    came: float | None = None
    left: float | None = None
    for (t0, x0, _), (t1, x1, _) in pairwise(one.path):
        for edge in (0.0, 1.0):
            if (x0 - edge) * (x1 - edge) < 0:
                t = t0 + (t1 - t0) * (edge - x0) / (x1 - x0)
                if (x1 > x0) == (edge == 0.0):  # inwards
                    came = t if came is None else came
                else:
                    left = t
    return (begin if came is None else came), (end if left is None else left)


class _Writer:
    """Writes one script; every choice is drawn from `random`."""

    def __init__(self, random: np.random.Generator, seconds: float, pace_s: float) -> None:
        self._random = random
        self._seconds = seconds
        self._pace_s = pace_s
        self._layout = Layout(
            door_x=float(random.integers(15, 36)) / 50,
            lamp_x=float(random.choice([0.1, 0.16, 0.84, 0.9])),
            walls=int(random.integers(6)),
        )
        self._things: list[Thing] = []
        self._door: list[Interval] = []
        self._lamp: list[Interval] = []

    def write(self) -> Script:
        self._light()
        t = float(self._random.uniform(-4.0, self._pace_s))
        plays: tuple[tuple[Callable[[float], bool], float], ...] = (
            (self._pass_by, 2.0),
            (self._visit, 2.0),
            (self._come_out, 1.0),
            (self._stand, 1.5),
            (self._leave_bag, 1.6),
            (self._take_bag, 3.0),
            (self._drive, 2.2),
            (self._park, 1.2),
            (self._ride, 1.6),
            (self._roam, 2.0),
            (self._air, 0.6),
        )
        weights = np.array([weight for _, weight in plays])
        while t < self._seconds:
            for index in self._random.choice(len(plays), len(plays), replace=False, p=weights / weights.sum()):
                if plays[index][0](t):
                    break
            t += 0.4 + float(self._random.exponential(self._pace_s))
        things = tuple(one for one in self._things if one.span[1] > 0)
        return Script(self._seconds, self._layout, things, tuple(self._door), tuple(self._lamp))

    # what may happen; each is False where there is no room for it now

    def _pass_by(self, t: float) -> bool:
        if not self._free(Kind.PERSON, t):
            return False
        side, y = self._side(), self._between(*WALK_Y)
        return self._walk(Kind.PERSON, t, [(side, y), (1.0 - side, y)])

    def _visit(self, t: float) -> bool:
        """To the door; in, or away again."""
        if not self._free(Kind.PERSON, t) or self._door_used(t):
            return False
        x, side, wait = self._layout.door_x, self._side(), self._between(3.0, 12.0)
        path = self._path(Kind.PERSON, t, [(side, self._between(*WALK_Y)), (x, DOOR_Y)])
        arrived = path[-1][0]
        gone = arrived + wait
        path.append((gone, x, DOOR_Y))
        if self._random.random() < 0.45:
            self._door.append((gone - 1.2, gone + 1.0))
        else:
            if self._random.random() < 0.4 and wait > 4:
                self._door.append((arrived + 1.0, gone - 0.8))
            path += self._path(Kind.PERSON, gone, [(x, DOOR_Y), (self._side(), self._between(*WALK_Y))])[1:]
        return self._add(Kind.PERSON, path)

    def _come_out(self, t: float) -> bool:
        if not self._free(Kind.PERSON, t) or self._door_used(t):
            return False
        x = self._layout.door_x
        self._door.append((t, t + self._between(2.0, 4.0)))
        begin = t + 0.8
        wait = begin + self._between(0.8, 5.0)
        way = self._path(Kind.PERSON, wait, [(x, DOOR_Y), (self._side(), self._between(*WALK_Y))])
        return self._add(Kind.PERSON, [(begin, x, DOOR_Y), *way])

    def _stand(self, t: float) -> bool:
        if not self._free(Kind.PERSON, t):
            return False
        return self._stop(Kind.PERSON, t, self._between(*WALK_Y), self._spot(), self._between(4.0, 18.0))

    def _leave_bag(self, t: float) -> bool:
        if not self._free(Kind.PERSON, t) or not self._free(Kind.BAG, t):
            return False
        colour = self._fresh(Kind.BAG)
        if colour is None:
            return False
        x, y, side = self._spot(), self._between(*WALK_Y), self._side()
        path = self._path(Kind.PERSON, t, [(side, y), (x, y)])
        dropped = path[-1][0] + 0.8
        path.append((dropped + 0.6, x, y))
        path += self._path(Kind.PERSON, dropped + 0.6, [(x, y), (self._side(), y)])[1:]
        self._add(Kind.PERSON, path, carries=(t, dropped, colour))
        offset = self._between(0.05, 0.07) * (1 if side < 0 else -1)
        return self._add(Kind.BAG, [(dropped, x + offset, BAG_Y), (math.inf, x + offset, BAG_Y)], colour=colour)

    def _take_bag(self, t: float) -> bool:
        lying = [one for one in self._things if one.kind is Kind.BAG and one.path[0][0] + 3 < t < one.path[-1][0]]
        if not lying or not math.isinf(lying[0].path[-1][0]) or not self._free(Kind.PERSON, t):
            return False
        bag = lying[0]
        _, x, _ = bag.path[0]
        side, y = self._side(), self._between(*WALK_Y)
        path = self._path(Kind.PERSON, t, [(side, y), (x + (0.05 if side > 1 else -0.05), y)])
        taken = path[-1][0] + 0.8
        path.append((taken + 0.5, path[-1][1], y))
        path += self._path(Kind.PERSON, taken + 0.5, [(path[-1][1], y), (self._side(), y)])[1:]
        self._things[self._things.index(bag)] = replace(bag, path=(bag.path[0], (taken, x, BAG_Y)))
        return self._add(Kind.PERSON, path, carries=(taken, path[-1][0], bag.colour))

    def _drive(self, t: float) -> bool:
        colour = self._fresh(Kind.CAR)
        if colour is None or not self._free(Kind.CAR, t):
            return False
        side = self._side(Kind.CAR)
        return self._walk(Kind.CAR, t, [(side, DRIVE_Y), (1.0 - side, DRIVE_Y)], colour=colour)

    def _park(self, t: float) -> bool:
        colour = self._fresh(Kind.CAR)
        if colour is None or not self._free(Kind.CAR, t):
            return False
        return self._stop(Kind.CAR, t, DRIVE_Y, self._between(0.25, 0.75), self._between(5.0, 25.0), colour=colour)

    def _ride(self, t: float) -> bool:
        if not self._free(Kind.BICYCLE, t):
            return False
        side = self._side(Kind.BICYCLE)
        return self._walk(Kind.BICYCLE, t, [(side, RIDE_Y), (1.0 - side, RIDE_Y)])

    def _roam(self, t: float) -> bool:
        if not self._free(Kind.DOG, t):
            return False
        y = self._between(*DOG_Y)
        if self._random.random() < 0.5:
            return self._stop(Kind.DOG, t, y, self._spot(), self._between(3.0, 15.0))
        side = self._side(Kind.DOG)
        return self._walk(Kind.DOG, t, [(side, y), (1.0 - side, y)])

    def _air(self, t: float) -> bool:
        """The door stands open for a while."""
        if self._door_used(t):
            return False
        self._door.append((t, t + self._between(3.0, 9.0)))
        return True

    def _light(self) -> None:
        t, lit = float(self._random.uniform(-20.0, 20.0)), bool(self._random.random() < 0.5)
        begin = -1.0
        while t < self._seconds:
            if lit and t > 0:
                self._lamp.append((begin, t))
            begin, lit = t, not lit
            t += float(self._random.uniform(8.0, 40.0))
        if lit:
            self._lamp.append((begin, math.inf))

    # how it is put together

    def _between(self, low: float, high: float) -> float:
        return float(self._random.uniform(low, high))

    def _side(self, kind: Kind = Kind.PERSON) -> float:
        edge = HALF[kind] * 1.2
        return -edge if self._random.random() < 0.5 else 1.0 + edge

    def _spot(self) -> float:
        return self._between(0.12, 0.88)

    def _free(self, kind: Kind, t: float) -> bool:
        gap = 2.5 if kind in (Kind.CAR, Kind.BICYCLE, Kind.DOG, Kind.BAG) else 0.0
        return sum(one.kind is kind and one.span[1] + gap > t for one in self._things) < _MOST[kind]

    def _door_used(self, t: float) -> bool:
        """Whether the door opens later than now, or somebody is on the way to it."""
        busy = any(end + 2.0 > t for _, end in self._door)
        return busy or any(
            one.kind is Kind.PERSON and one.span[1] > t and any(y <= DOOR_Y + 0.01 for _, _, y in one.path)
            for one in self._things
        )

    def _fresh(self, kind: Kind) -> Colour | None:
        """A colour that no other of its kind in this scene has."""
        used = {one.colour for one in self._things if one.kind is kind}
        if kind is Kind.CAR and len(used) >= MOST_CARS:
            return None
        left = [colour for colour in PALETTE[kind] if colour not in used]
        return left[int(self._random.integers(len(left)))] if left else None

    def _path(self, kind: Kind, t: float, places: list[tuple[float, float]]) -> list[Stop]:
        """Stops at this kind's speed."""
        low, high = _SPEED[kind]
        speed = self._between(low, high)
        path = [(t, *places[0])]
        for (x0, _), (x1, y1) in pairwise(places):
            t += max(0.3, abs(x1 - x0) / speed)
            path.append((t, x1, y1))
        return path

    def _walk(self, kind: Kind, t: float, places: list[tuple[float, float]], colour: Colour | None = None) -> bool:
        return self._add(kind, self._path(kind, t, places), colour=colour)

    def _stop(self, kind: Kind, t: float, y: float, x: float, wait: float, colour: Colour | None = None) -> bool:
        path = self._path(kind, t, [(self._side(kind), y), (x, y)])
        path.append((path[-1][0] + wait, x, y))
        path += self._path(kind, path[-1][0], [(x, y), (self._side(kind), y)])[1:]
        return self._add(kind, path, colour=colour)

    def _add(
        self,
        kind: Kind,
        path: list[Stop],
        *,
        colour: Colour | None = None,
        carries: tuple[float, float, Colour] | None = None,
    ) -> bool:
        colour = colour or PALETTE[kind][int(self._random.integers(len(PALETTE[kind])))]
        size = float(self._random.choice(_SIZES))
        self._things.append(Thing(len(self._things), kind, colour, tuple(path), size, carries))
        return True


_SIZES = (0.92, 1.0, 1.1)
_SPEED = {  # widths of the picture a second
    Kind.PERSON: (0.09, 0.16),
    Kind.CAR: (0.22, 0.40),
    Kind.BICYCLE: (0.15, 0.26),
    Kind.DOG: (0.11, 0.22),
}
assert set(COLOURS) >= {colour for colours in PALETTE.values() for colour in colours}
