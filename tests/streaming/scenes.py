"""Pictures for the engine's tests: a still yard, and the same yard with a block that moves now and then."""

from __future__ import annotations

import numpy as np

from streaming.types import Frame, Image

START_NS = 1_790_000_000_000_000_000
HEIGHT, WIDTH = 96, 160  # the tiny model keeps this size: 3 x 5 tokens


def yard(*, noise: int = 0, light: float = 1.0) -> Image:
    """The yard with sensor noise of the given seed."""
    image = np.empty((HEIGHT, WIDTH, 3), np.float32)
    image[:] = (90, 120, 90)
    image[:48] = (150, 170, 200)
    image[30:80, 16:40] = (120, 70, 40)
    image *= light
    image += np.random.default_rng(noise).normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def visited(cell: int, *, noise: int = 0, colour: tuple[int, int, int] = (200, 30, 30)) -> Image:
    """The yard with a block of one token's size in `cell` of the 3 x 5 grid."""
    image = yard(noise=noise)
    y, x = 32 * (cell // 5), 32 * (cell % 5)
    image[y : y + 32, x : x + 32] = colour
    return image


def walk(n: int) -> list[Image]:
    """n pictures: every third shows a new cell visited, those between show no change but noise."""
    return [visited(7 * (i // 3) % 15, noise=i) for i in range(n)]


def frame(camera: str, seq: int, image: Image, *, fps: float = 2.0) -> Frame:
    pts_ns = START_NS + int(seq * 1e9 / fps)
    return Frame(camera=camera, seq=seq, pts_ns=pts_ns, seen_ns=pts_ns, image=image)
