"""How bright and how varied a picture is, cheaply: enough to tell a covered lens from a dark scene."""

from __future__ import annotations

import numpy as np

from ..types import Image

_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def luma(image: Image, *, across: int = 64) -> tuple[float, float]:
    """
    Mean and standard deviation of the brightness, 0..255, on a grid of about `across` x `across` points (20 µs).

    image: uint8 [height, width, 3] RGB.
    """
    height, width = image.shape[:2]
    grid = image[:: max(1, height // across), :: max(1, width // across)]
    bright = grid.astype(np.float32) @ _WEIGHTS  # [h, w]
    return float(bright.mean()), float(bright.std())
