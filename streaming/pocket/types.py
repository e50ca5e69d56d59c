"""What is to be seen in the pocket world, and when: the truth of a picture and of a scene's course."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What comes and goes."""

    PERSON = "person"
    CAR = "car"
    BICYCLE = "bicycle"
    DOG = "dog"
    BAG = "bag"


class Colour(enum.StrEnum):
    """The colours of things; which a thing can have depends on its kind."""

    RED = "red"
    BLUE = "blue"
    GREEN = "green"
    YELLOW = "yellow"
    WHITE = "white"
    BLACK = "black"
    BROWN = "brown"


class Happening(enum.StrEnum):
    """What changes in a scene at one moment."""

    CAME = "came"
    LEFT = "left"
    DROPPED = "dropped"
    TAKEN = "taken"
    DOOR_OPENED = "door_opened"
    DOOR_CLOSED = "door_closed"
    LAMP_ON = "lamp_on"
    LAMP_OFF = "lamp_off"


SEEN, UNSEEN = 0.5, 0.2  # a thing of which more is visible is there; of which less, not; between, who knows
KINDS = tuple(Kind)
COLOURS = tuple(Colour)
VEHICLES = (Kind.CAR, Kind.BICYCLE)
PALETTE: dict[Kind, tuple[Colour, ...]] = {
    Kind.PERSON: (Colour.RED, Colour.BLUE, Colour.GREEN, Colour.YELLOW, Colour.WHITE, Colour.BLACK),
    Kind.CAR: (Colour.RED, Colour.BLUE, Colour.GREEN, Colour.YELLOW, Colour.WHITE, Colour.BLACK),
    Kind.BICYCLE: (Colour.RED, Colour.BLUE, Colour.GREEN, Colour.YELLOW),
    Kind.DOG: (Colour.BROWN, Colour.WHITE, Colour.BLACK),
    Kind.BAG: (Colour.RED, Colour.BLUE, Colour.GREEN, Colour.YELLOW),
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    One thing in one picture.

    thing: which one of its scene. x, y: middle and lower edge, shares of the picture. visible: share of the thing that
    is inside the picture and in front of the others, 0..1. heading: -1 walks left, 1 right, 0 stands. facing: -1 or 1.
    """

    thing: int
    kind: Kind
    colour: Colour
    x: float
    y: float
    visible: float
    heading: int
    facing: int
    at_door: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything that one picture shows. t_s: seconds since the scene began."""

    t_s: float
    sightings: tuple[Sighting, ...]
    door_open: bool
    lamp_on: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One change: when, what, and of which thing, where it is one's."""

    t_s: float
    what: Happening
    thing: int | None = None
    kind: Kind | None = None
    colour: Colour | None = None
