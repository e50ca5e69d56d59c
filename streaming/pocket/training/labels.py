"""
What a picture shows, as class numbers: per cell and for the picture as a whole.

IGNORED where the truth is neither one nor the other: a thing half hidden, half inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streaming.pocket.questions import PLACES, place
from streaming.pocket.types import COLOURS, KINDS, PALETTE, SEEN, UNSEEN, Kind, Sighting, Truth
from streaming.pocket.world import World

IGNORED = -100
_HEADING = {-1: 1, 0: 2, 1: 3}
_LEAST_PX = 16  # of a cell of 256, that it shows a thing

_FIXTURES = ("door closed", "door open", "lamp off", "lamp on")
CELL_HEADS = {"kind": 1 + len(KINDS) + len(_FIXTURES), "colour": 1 + len(COLOURS), "place": 4, "heading": 4}
SINGLES = (Kind.CAR, Kind.BICYCLE, Kind.DOG, Kind.BAG)  # of which there is at most one
PICTURE_HEADS = {
    "door": 2,
    "lamp": 2,
    "people": 4,
    "at_door": 2,
    "person_colour": 1 + len(COLOURS),  # of the only person; 0 is nobody
    "person_place": 4,
    "person_heading": 4,
    **{f"{kind}_colour": 1 + len(COLOURS) for kind in SINGLES},
    **{f"{kind}_place": 4 for kind in SINGLES},
    **{f"{kind}_heading": 4 for kind in SINGLES if kind is not Kind.BAG},
    **{f"person_in_{colour}": 2 for colour in PALETTE[Kind.PERSON]},
}


def cells(scene: World, t_s: float, grid: tuple[int, int]) -> NDArray[np.int64]:
    """The thing that takes most of each cell, or a fixture: [h * w, heads], classes of CELL_HEADS, 0 nothing."""
    h, w = grid
    owner, present = scene.owners(t_s)
    blocks = owner.reshape(h, owner.shape[0] // h, w, owner.shape[1] // w).transpose(0, 2, 1, 3).reshape(h * w, -1)
    counts = np.stack([(blocks == number).sum(axis=1) for number in range(1, len(present) + 1)] or [np.zeros(h * w)])
    best = counts.argmax(axis=0)
    found = np.zeros((h * w, len(CELL_HEADS)), np.int64)
    layout = scene.script.layout
    fixtures = (
        (layout.door_x, (0.32, 0.42, 0.55), int(scene.script.door_open(t_s))),
        (layout.lamp_x, (0.12,), 2 + int(scene.script.lamp_on(t_s))),
    )
    for x, ys, state in fixtures:
        for y in ys:
            found[int(y * h) * w + int(x * w), 0] = 1 + len(KINDS) + state
    for cell in np.flatnonzero(counts.max(axis=0) >= _LEAST_PX):
        thing = present[best[cell]]
        x, _, heading, _ = thing.at(scene.script.at(t_s))
        found[cell] = 1 + KINDS.index(thing.kind), 1 + COLOURS.index(thing.colour), _place(x), _HEADING[heading]
    return found


def _place(x: float) -> int:
    """1 left, 2 middle, 3 right; IGNORED at the borders between them."""
    found = place(x)
    return IGNORED if found is None else 1 + PLACES.index(found)


def picture(truth: Truth) -> NDArray[np.int64]:
    """Classes in the order of PICTURE_HEADS."""
    found = dict.fromkeys(PICTURE_HEADS, IGNORED)
    found["door"], found["lamp"] = int(truth.door_open), int(truth.lamp_on)
    people = [one for one in truth.sightings if one.kind is Kind.PERSON]
    unsure = any(UNSEEN < one.visible < SEEN for one in people)
    seen = [one for one in people if one.visible >= SEEN]
    if not unsure:
        found["people"] = len(seen)
        found["at_door"] = int(any(one.at_door for one in seen))
        for colour in PALETTE[Kind.PERSON]:
            found[f"person_in_{colour}"] = int(any(one.colour is colour for one in seen))
        if len(seen) < 2:
            _describe(found, "person", seen)
    for kind in SINGLES:
        things = [one for one in truth.sightings if one.kind is kind]
        if not any(UNSEEN < one.visible < SEEN for one in things):
            _describe(found, kind, [one for one in things if one.visible >= SEEN])
    return np.array([found[name] for name in PICTURE_HEADS], np.int64)


def _describe(found: dict[str, int], name: str, seen: Sequence[Sighting]) -> None:
    one = seen[0] if seen else None
    found[f"{name}_colour"] = 0 if one is None else 1 + COLOURS.index(one.colour)
    found[f"{name}_place"] = 0 if one is None else _place(one.x)
    if f"{name}_heading" in found:
        found[f"{name}_heading"] = 0 if one is None else _HEADING[one.heading]
