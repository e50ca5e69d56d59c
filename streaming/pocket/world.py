"""
A scene seen by a fixed camera: its picture and its truth at any moment, both pure functions of the seed and the time.

Sources of what a model finds hard are drawn, not simulated afterwards: things hide each other, stand still for long,
come and go through the door; the camera adds its noise (see Lens).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from streaming.types import Image

from .lens import LENSES, Lens
from .script import AT_DOOR_X, AT_DOOR_Y, DOOR_Y, Layout, Script, Thing, mirrored, write
from .sprites import HEIGHT, Look, sprite
from .types import Kind, Sighting, Truth

WIDTH, HEIGHT_PX = 128, 96  # the size at which the truth is worked out, and at which the model sees
_STEP_S = 0.22  # of a walk


@dataclass(frozen=True)
class World:
    """
    One scene and its camera.

    script: who comes and goes. lens: what the camera does. width, height: pixels. seed: varies noise and the grain of
    the walls, never the course of events.
    """

    script: Script
    lens: Lens = field(default_factory=Lens)
    width: int = 448
    height: int = 336
    seed: int = 0

    def render(self, t_s: float) -> Image:
        """The picture at a time, uint8 [height, width, 3]."""
        at = self.script.at(t_s)
        ground = _ground(
            self.width, self.height, self.script.layout, self.script.door_open(t_s), self.script.lamp_on(t_s)
        )
        canvas = ground.copy()
        for one in self.script.present(t_s):
            look, x0, y0, height_px = self._placed(one, at, self.width, self.height)
            _paste(canvas, look, x0, y0, height_px, self._aspect)
        if self.lens.sway:
            dx, dy = (round(share * self.width) for share in self.lens.shift(t_s))
            canvas = np.roll(canvas, (dy, dx), (0, 1))
            _smear(canvas, dy, dx)
        return self.lens.take(canvas, t_s, self.seed)

    def truth(self, t_s: float) -> Truth:
        """What that picture shows."""
        at = self.script.at(t_s)
        present = self.script.present(t_s)
        owner, areas = self._owners(present, at)
        left = np.bincount(owner.ravel(), minlength=len(present) + 1)[1:]
        sightings = []
        for one, area, seen in zip(present, areas, left, strict=True):
            x, y, heading, facing = one.at(at)
            at_door = abs(x - self.script.layout.door_x) < AT_DOOR_X and y < AT_DOOR_Y
            sightings.append(
                Sighting(
                    one.number,
                    one.kind,
                    one.colour,
                    x,
                    y,
                    float(seen / max(1, area)),
                    heading,
                    facing,
                    at_door=at_door and one.kind is Kind.PERSON,
                )
            )
        return Truth(t_s, tuple(sightings), self.script.door_open(t_s), self.script.lamp_on(t_s))

    def owners(self, t_s: float) -> tuple[NDArray[np.uint8], list[Thing]]:
        """Whose each pixel is, uint8 [96, 128]: 0 nobody's, else 1 + the place in the list, back to front."""
        present = self.script.present(t_s)
        return self._owners(present, self.script.at(t_s))[0], present

    @cached_property
    def _aspect(self) -> float:
        """Pixels are square; what is drawn keeps its shape at 4:3 and is stretched with the picture otherwise."""
        return (self.width / self.height) / (WIDTH / HEIGHT_PX)

    def _owners(self, present: list[Thing], at: float) -> tuple[NDArray[np.uint8], list[int]]:
        owner = np.zeros((HEIGHT_PX, WIDTH), np.uint8)
        areas = []
        for index, one in enumerate(present):
            look, x0, y0, height_px = self._placed(one, at, WIDTH, HEIGHT_PX)
            solid = sprite(look, height_px, 1.0).solid
            areas.append(int(solid.sum()))
            rows, cols, inner_rows, inner_cols = _overlap(x0, y0, solid.shape, owner.shape)
            owner[rows, cols][solid[inner_rows, inner_cols]] = index + 1
        return owner, areas

    def _placed(self, one: Thing, at: float, width: int, height: int) -> tuple[Look, int, int, int]:
        """Its look, the left upper corner in pixels, and its height."""
        x, y, heading, facing = one.at(at)
        step = 1 + int(at / _STEP_S) % 2 if heading and one.kind in (Kind.PERSON, Kind.DOG) else 0
        carried = one.carries
        bag = carried[2] if carried is not None and carried[0] <= at < carried[1] else None
        look = Look(one.kind, one.colour, facing, step, bag)
        height_px = max(3, round(HEIGHT[one.kind] * one.size * height))
        aspect = (width / height) / (WIDTH / HEIGHT_PX)
        width_px = sprite(look, height_px, aspect).solid.shape[1]
        return look, round(x * width - width_px / 2), round(y * height) - height_px, height_px


def world(
    seed: int,
    *,
    seconds: float = 60.0,
    pace: str = "normal",
    lens: str | Lens = "clean",
    size: tuple[int, int] = (WIDTH, HEIGHT_PX),
    mirror: bool = False,
) -> World:
    """A scene of its own for every seed. size: (width, height). Raises: ValueError: no such pace or lens."""
    if isinstance(lens, str):
        if lens not in LENSES:
            raise ValueError(f"no lens {lens!r}; there are {', '.join(LENSES)}")
        lens = LENSES[lens]
    script = write(seed, seconds=seconds, pace=pace)
    return World(mirrored(script) if mirror else script, lens, size[0], size[1], seed)


def resized(scene: World, width: int, height: int) -> World:
    """The same scene at another size."""
    return replace(scene, width=width, height=height)


def _overlap(x0: int, y0: int, inner: tuple[int, ...], outer: tuple[int, ...]) -> tuple[slice, slice, slice, slice]:
    """Where a sprite at (x0, y0) lies inside a canvas, and which part of the sprite that is."""
    top, left = max(0, y0), max(0, x0)
    bottom, right = max(top, min(outer[0], y0 + inner[0])), max(left, min(outer[1], x0 + inner[1]))
    return (
        slice(top, bottom),
        slice(left, right),
        slice(top - y0, bottom - y0),
        slice(left - x0, right - x0),
    )


def _paste(canvas: NDArray[np.float32], look: Look, x0: int, y0: int, height_px: int, aspect: float) -> None:
    drawn = sprite(look, height_px, aspect)
    rows, cols, inner_rows, inner_cols = _overlap(x0, y0, drawn.solid.shape, canvas.shape)
    part = canvas[rows, cols]
    part *= drawn.through[inner_rows, inner_cols]
    part += drawn.paint[inner_rows, inner_cols]


def _smear(canvas: NDArray[np.float32], dy: int, dx: int) -> None:
    """Fill the edge that the shift left open with what is beside it."""
    if dx > 0:
        canvas[:, :dx] = canvas[:, dx : dx + 1]
    elif dx < 0:
        canvas[:, dx:] = canvas[:, dx - 1 : dx]
    if dy > 0:
        canvas[:dy] = canvas[dy : dy + 1]
    elif dy < 0:
        canvas[dy:] = canvas[dy - 1 : dy]


_WALLS = ((178, 160, 140), (150, 110, 95), (165, 168, 172), (120, 128, 112), (196, 182, 150), (105, 100, 108))
_DOORS = ((110, 62, 35), (60, 72, 84), (92, 48, 40), (70, 92, 96), (120, 88, 50), (150, 140, 128))
_GRASS = ((120, 135, 95), (132, 126, 104), (108, 128, 92), (140, 138, 128), (116, 120, 84), (126, 130, 110))


@lru_cache(maxsize=256)
def _ground(width: int, height: int, layout: Layout, door_open: bool, lamp_on: bool) -> NDArray[np.float32]:
    """The empty scene, float32: sky over a wall over a yard over a road; the door, the lamp on its post."""
    fine = 2
    w, h = width * fine, height * fine
    canvas = Picture.new("RGB", (w, h), (150, 180, 205))
    draw = ImageDraw.Draw(canvas)

    def box(x0: float, y0: float, x1: float, y1: float, fill: tuple[int, int, int]) -> None:
        draw.rectangle((x0 * w, y0 * h, x1 * w, y1 * h), fill=fill)

    wall, leaf, grass = (table[layout.walls % len(table)] for table in (_WALLS, _DOORS, _GRASS))
    box(0, 0.20, 1, 0.60, wall)
    box(0, 0.20, 1, 0.225, tuple(int(c * 0.7) for c in wall))  # type: ignore[arg-type]
    for place in (0.08, 0.9) if 0.25 < layout.door_x < 0.75 else (0.5,):
        box(place - 0.045, 0.30, place + 0.045, 0.43, (74, 88, 102))
        box(place - 0.003, 0.30, place + 0.003, 0.43, wall)
    box(0, 0.60, 1, 0.77, grass)
    box(0, 0.77, 1, 1, (88, 88, 92))
    box(0, 0.765, 1, 0.785, (150, 148, 142))
    for x in np.arange(0.03, 1.0, 0.2):
        box(x, 0.885, x + 0.1, 0.897, (205, 205, 196))
    x = layout.door_x
    box(x - 0.065, 0.265, x + 0.065, DOOR_Y, (228, 222, 210))
    box(x - 0.052, 0.285, x + 0.052, DOOR_Y, (20, 16, 15) if door_open else leaf)
    if door_open:
        box(x + 0.035, 0.285, x + 0.052, DOOR_Y, leaf)
    else:
        box(x + 0.030, 0.43, x + 0.040, 0.46, (225, 205, 120))
    x = layout.lamp_x
    box(x - 0.006, 0.14, x + 0.006, 0.66, (58, 58, 60))
    draw.ellipse(
        ((x - 0.032) * w, 0.075 * h, (x + 0.032) * w, 0.16 * h),
        fill=(255, 240, 165) if lamp_on else (66, 66, 70),
        outline=(40, 40, 42),
        width=max(1, w // 200),
    )
    small = np.asarray(canvas.reduce(fine), np.float32)
    if lamp_on:
        rows, cols = np.ogrid[0:height, 0:width]
        away = ((cols / width - x) / 0.22) ** 2 + ((rows / height - 0.12) / 0.30) ** 2
        small = small + (46.0 * np.exp(-away))[..., None].astype(np.float32) * np.array([1.0, 0.92, 0.6], np.float32)
    ground: NDArray[np.float32] = np.clip(small + _grain(height, width), 0, 255)
    return ground


@lru_cache(maxsize=16)
def _grain(height: int, width: int) -> NDArray[np.float32]:
    """Something for an encoder to hold on to where a wall is flat."""
    return np.random.default_rng(7).normal(0, 3, (height, width, 1)).astype(np.float32)
