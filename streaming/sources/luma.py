"""How bright and how varied a picture is, cheaply: enough to tell a covered lens from a dark scene."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..privacy import covered
from ..types import Image, Polygon

_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def luma(image: Image, *, masks: tuple[Polygon, ...] = (), across: int = 64) -> tuple[float, float]:
    """
    Mean and standard deviation of the brightness, 0..255, on a grid of about `across` x `across` points (20 µs).

    image: uint8 [height, width, 3] RGB. masks: what is painted over in it does not count; where that is everything, the
    picture is as flat as it looks.
    """
    height, width = image.shape[:2]
    grid = image[:: max(1, height // across), :: max(1, width // across)]
    if masks and not (hidden := _hidden(masks, (grid.shape[0], grid.shape[1]))).all():
        grid = grid[~hidden]
    bright = grid.astype(np.float32) @ _WEIGHTS  # [h, w] or [points]
    return float(bright.mean()), float(bright.std())


@lru_cache(maxsize=256)
def _hidden(masks: tuple[Polygon, ...], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The points of the grid that the masks may reach; not to be written to."""
    return covered(masks, size)
