"""Scripts, worlds and chronicles to test with."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from streaming.pocket.chronicle import Chronicle
from streaming.pocket.lens import Lens
from streaming.pocket.script import PACES, mirrored, write
from streaming.pocket.types import PALETTE, Kind, Sighting, Truth
from streaming.pocket.world import World

SECONDS = 60.0
BARE = Lens(noise=0.0)

SEEDS = st.integers(0, 2**31)
PACE = st.sampled_from(sorted(PACES))
TIMES = st.floats(0, SECONDS, exclude_max=True)


def bare(seed: int, pace: str = "busy", *, mirror: bool = False, size: tuple[int, int] = (128, 96)) -> World:
    """A scene through a lens that adds nothing."""
    script = write(seed, seconds=SECONDS, pace=pace)
    return World(mirrored(script) if mirror else script, BARE, *size)


def told(world: World, *, step_s: float = 0.25) -> Iterator[Chronicle]:
    """The chronicle of a scene, again and again as it grows by a picture."""
    chronicle = Chronicle(world.script.events())
    for index in range(int(SECONDS / step_s)):
        chronicle.add(world.truth(index * step_s))
        yield chronicle


def sighting(kind: Kind, **fields: object) -> Sighting:
    """A thing in full sight in the middle of the picture."""
    plain = {"thing": 0, "colour": PALETTE[kind][0], "x": 0.5, "y": 0.7, "visible": 1.0, "heading": 0, "facing": 1}
    return Sighting(kind=kind, **plain | fields)  # type: ignore[arg-type]


def truth(*sightings: Sighting, t_s: float = 0.0, door_open: bool = False, lamp_on: bool = False) -> Truth:
    return Truth(t_s, sightings, door_open, lamp_on)
