"""How things look: small pictures with an edge of transparency, drawn once a size and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from .types import Colour, Kind

Rgb = tuple[int, int, int]

PAINT: dict[Colour, Rgb] = {
    Colour.RED: (200, 35, 40),
    Colour.BLUE: (40, 75, 200),
    Colour.GREEN: (35, 150, 60),
    Colour.YELLOW: (235, 200, 40),
    Colour.WHITE: (242, 242, 242),
    Colour.BLACK: (22, 22, 26),
    Colour.BROWN: (125, 78, 40),
}
SKIN, TROUSERS, TYRE, GLASS, GREY = (226, 178, 148), (62, 62, 80), (16, 16, 18), (150, 190, 212), (120, 122, 128)
ASPECT = {Kind.PERSON: 0.52, Kind.CAR: 2.3, Kind.BICYCLE: 1.0, Kind.DOG: 1.45, Kind.BAG: 0.95}  # width over height
HEIGHT = {Kind.PERSON: 0.31, Kind.CAR: 0.185, Kind.BICYCLE: 0.25, Kind.DOG: 0.135, Kind.BAG: 0.085}  # of the picture
_FINE = 4  # drawn so many times larger, then reduced


@dataclass(frozen=True, slots=True)
class Look:
    """What of a thing shows in its picture. step: 0 stands, 1 and 2 are the legs of a walk."""

    kind: Kind
    colour: Colour
    facing: int = 1
    step: int = 0
    bag: Colour | None = None


@dataclass(frozen=True, slots=True)
class Sprite:
    """paint: float32 [h, w, 3], premultiplied. through: float32 [h, w, 1], what of the ground stays. solid: bool."""

    paint: NDArray[np.float32] = field(repr=False)
    through: NDArray[np.float32] = field(repr=False)
    solid: NDArray[np.bool_] = field(repr=False)


@lru_cache(maxsize=4096)
def sprite(look: Look, height_px: int, aspect: float) -> Sprite:
    """The picture of a look, `height_px` high. aspect: pixels are as wide as high where 1."""
    width_px = max(2, round(height_px * ASPECT[look.kind] * aspect))
    canvas = Picture.new("RGBA", (width_px * _FINE, height_px * _FINE), (0, 0, 0, 0))
    _DRAWN[look.kind](_Pen(ImageDraw.Draw(canvas), canvas.size, mirrored=look.facing < 0), look)
    # premultiplied before it is reduced, or the transparent black bleeds into the edges
    small = np.asarray(canvas.convert("RGBa").reduce(_FINE), np.float32)
    through = 1.0 - small[..., 3:] / 255.0
    return Sprite(small[..., :3].copy(), through, through[..., 0] < 0.5)


class _Pen:
    """Draws in shares of the sprite's box, mirrored where it faces left."""

    def __init__(self, draw: ImageDraw.ImageDraw, size: tuple[int, int], *, mirrored: bool) -> None:
        self._draw, self._size, self._mirrored = draw, size, mirrored

    def _points(self, points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
        w, h = self._size
        return [((1 - x if self._mirrored else x) * w, y * h) for x, y in points]

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb) -> None:
        (a, b), (c, d) = self._points(((x0, y0), (x1, y1)))
        self._draw.rectangle((min(a, c), b, max(a, c), d), fill=fill)

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb | None, line: Rgb | None = None) -> None:
        (a, b), (c, d) = self._points(((x0, y0), (x1, y1)))
        box = (min(a, c), b, max(a, c), d)
        self._draw.ellipse(box, fill=fill, outline=line, width=max(2, round(0.045 * self._size[1])))

    def area(self, *points: tuple[float, float], fill: Rgb) -> None:
        self._draw.polygon(self._points(points), fill=fill)

    def line(self, *points: tuple[float, float], fill: Rgb, width: float) -> None:
        """width: a share of the height."""
        self._draw.line(self._points(points), fill=fill, width=max(2, round(width * self._size[1])), joint="curve")


def _person(pen: _Pen, look: Look) -> None:
    coat = PAINT[look.colour]
    if look.step == 0:
        pen.box(0.32, 0.60, 0.47, 0.97, TROUSERS)
        pen.box(0.53, 0.60, 0.68, 0.97, TROUSERS)
    else:
        reach = 0.22 if look.step == 1 else 0.08
        pen.line((0.5, 0.58), (0.5 - reach, 0.97), fill=TROUSERS, width=0.075)
        pen.line((0.5, 0.58), (0.5 + reach, 0.97), fill=TROUSERS, width=0.075)
        pen.line((0.55, 0.30), (0.55 + 0.28, 0.50), fill=coat, width=0.06)
    pen.box(0.26, 0.21, 0.74, 0.63, coat)
    pen.oval(0.31, 0.0, 0.69, 0.22, SKIN)
    pen.area((0.66, 0.09), (0.80, 0.14), (0.66, 0.17), fill=SKIN)  # the nose tells where it looks
    pen.box(0.31, 0.0, 0.69, 0.06, (70, 50, 40))
    if look.bag is not None:
        pen.line((0.78, 0.32), (0.84, 0.62), fill=coat, width=0.06)
        pen.box(0.70, 0.60, 1.0, 0.82, PAINT[look.bag])


def _car(pen: _Pen, look: Look) -> None:
    coat = PAINT[look.colour]
    pen.area((0.18, 0.45), (0.30, 0.04), (0.66, 0.04), (0.82, 0.45), fill=coat)
    pen.area((0.25, 0.43), (0.335, 0.12), (0.47, 0.12), (0.47, 0.43), fill=GLASS)
    pen.area((0.51, 0.43), (0.51, 0.12), (0.63, 0.12), (0.75, 0.43), fill=GLASS)
    pen.box(0.01, 0.42, 0.99, 0.82, coat)
    pen.box(0.93, 0.48, 0.99, 0.62, (255, 250, 190))
    pen.box(0.01, 0.48, 0.05, 0.62, (150, 10, 15))
    for x in (0.22, 0.77):
        pen.oval(x - 0.10, 0.58, x + 0.10, 1.0, TYRE)
        pen.oval(x - 0.04, 0.71, x + 0.04, 0.88, GREY)


def _bicycle(pen: _Pen, look: Look) -> None:
    coat = PAINT[look.colour]
    pen.line((0.36, 0.30), (0.60, 0.34), fill=GREY, width=0.07)  # the rider, bent over the bar, of no colour
    pen.area((0.30, 0.52), (0.44, 0.20), (0.62, 0.24), (0.46, 0.54), fill=GREY)
    pen.line((0.42, 0.52), (0.54, 0.68), (0.46, 0.84), fill=TROUSERS, width=0.07)
    pen.oval(0.52, 0.04, 0.74, 0.25, SKIN)
    pen.area((0.50, 0.13), (0.56, 0.0), (0.72, 0.0), (0.78, 0.12), fill=coat)  # the helmet
    for x in (0.23, 0.77):
        pen.oval(x - 0.215, 0.57, x + 0.215, 1.0, None, line=TYRE)
    pen.line((0.23, 0.79), (0.34, 0.53), (0.68, 0.53), (0.48, 0.80), (0.23, 0.79), fill=coat, width=0.075)
    pen.line((0.77, 0.79), (0.66, 0.44), fill=coat, width=0.075)


def _dog(pen: _Pen, look: Look) -> None:
    coat = PAINT[look.colour]
    spread = (0.0, 0.07, -0.05)[look.step]
    for x in (0.22, 0.60):
        pen.line((x, 0.55), (x - spread, 0.98), fill=coat, width=0.14)
        pen.line((x + 0.10, 0.55), (x + 0.10 + spread, 0.98), fill=coat, width=0.14)
    pen.box(0.15, 0.34, 0.74, 0.68, coat)
    pen.line((0.16, 0.40), (0.03, 0.12), fill=coat, width=0.12)
    pen.oval(0.62, 0.05, 0.92, 0.50, coat)
    pen.box(0.82, 0.24, 1.0, 0.43, coat)
    pen.area((0.66, 0.14), (0.70, 0.0), (0.78, 0.12), fill=coat)


def _bag(pen: _Pen, look: Look) -> None:
    coat = PAINT[look.colour]
    pen.oval(0.28, 0.02, 0.72, 0.55, None, line=(40, 36, 34))
    pen.box(0.04, 0.30, 0.96, 1.0, coat)
    pen.box(0.04, 0.52, 0.96, 0.60, (40, 36, 34))


_DRAWN: dict[Kind, Callable[[_Pen, Look], None]] = {
    Kind.PERSON: _person,
    Kind.CAR: _car,
    Kind.BICYCLE: _bicycle,
    Kind.DOG: _dog,
    Kind.BAG: _bag,
}
