"""Training pictures without end: random moments of random scenes through random lenses, with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from streaming.pocket.lens import Lens, compressed
from streaming.pocket.script import PACES
from streaming.pocket.seeds import TRAINING_SEEDS
from streaming.pocket.world import HEIGHT_PX, WIDTH, World, world
from streaming.types import Image

from .labels import CELL_HEADS, PICTURE_HEADS, cells, picture
from .shape import GRID, MERGE, PATCH_PX

_LARGE = (448, 336)


@dataclass(frozen=True, slots=True)
class Batch:
    """images: uint8 [n, 96, 128, 3]. cells: int64 [n, cells, heads]. pictures: int64 [n, heads]."""

    images: NDArray[np.uint8] = field(repr=False)
    cells: NDArray[np.int64] = field(repr=False)
    pictures: NDArray[np.int64] = field(repr=False)


def batches(seed: int, *, size: int, scenes: int = 8) -> Iterator[Batch]:
    """Endless batches of `size` pictures from `scenes` scenes each; the same for the same seed."""
    random = np.random.default_rng((seed, 31))
    while True:
        images, by_cell, by_picture = [], [], []
        for _ in range(scenes):
            scene = any_world(random, int(random.integers(TRAINING_SEEDS)))
            for t_s in random.uniform(0, scene.script.seconds, size // scenes):
                images.append(shot(scene, float(t_s), random))
                by_cell.append(cells(scene, float(t_s), GRID))
                by_picture.append(picture(scene.truth(float(t_s))))
        yield Batch(np.stack(images), np.stack(by_cell), np.stack(by_picture))


def any_world(
    random: np.random.Generator, seed: int, *, seconds: float = 60.0, paces: Sequence[float] = (0.1, 0.2, 0.7)
) -> World:
    """A scene at the model's size through a lens of its own."""
    lens = Lens(
        noise=float(random.choice([random.uniform(0.3, 3.0), random.uniform(3.0, 12.0)], p=[0.65, 0.35])),
        gain=float(random.uniform(0.65, 1.25)),
        steps_s=float(random.choice([0.0, 6.0])),
        sway=float(random.choice([0.0, random.uniform(0.0, 0.04)])),
        quality=int(random.integers(35, 92)) if random.random() < 0.3 else 0,
    )
    pace = tuple(PACES)[int(random.choice(len(PACES), p=list(paces)))]
    return world(seed, seconds=seconds, pace=pace, lens=lens, mirror=bool(random.random() < 0.5))


def shot(scene: World, t_s: float, random: np.random.Generator, *, large: float = 0.15) -> Image:
    """
    The picture at the model's size, uint8 [96, 128, 3].

    large: how often it is drawn at a camera's size, compressed and scaled down as the daemon does it.
    """
    if random.random() >= large:
        return scene.render(t_s)
    taken = replace(scene, width=_LARGE[0], height=_LARGE[1], lens=replace(scene.lens, quality=0)).render(t_s)
    taken = compressed(taken, int(random.integers(40, 92)))
    return np.asarray(Picture.fromarray(taken).resize((WIDTH, HEIGHT_PX), Picture.Resampling.BICUBIC))


def patches(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Patches [n * h * w * merge**2, 3 * patch**2] of pictures [n, 96, 128, 3], in the order of the merge blocks."""
    n, (h, w) = len(images), GRID
    blocks = images.reshape(n, h, MERGE, PATCH_PX, w, MERGE, PATCH_PX, 3)
    ordered = blocks.transpose(0, 1, 4, 2, 5, 7, 3, 6)
    return np.ascontiguousarray(ordered).reshape(n * h * w * MERGE * MERGE, -1)


HEADS = {**{f"cell_{name}": n for name, n in CELL_HEADS.items()}, **PICTURE_HEADS}
