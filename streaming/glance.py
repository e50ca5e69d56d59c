"""A glance at a picture: the brightness of its cells at low resolution, before anything is scaled for the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from .types import Image

ACROSS = 8  # points across a cell; averaging over so many pixels of the camera takes out most of its sensor's noise


def glance(images: Sequence[Image], hw: tuple[int, int]) -> NDArray[np.uint8]:
    """
    The luma of the cells of a grid (h, w), uint8 [h * w, pictures * ACROSS**2], row-major; 2.5 ms at 1080p.

    images: the pictures of one temporal patch, without repeats; none where nobody looks at brightness.
    """
    h, w = hw
    size = (w * ACROSS, h * ACROSS)
    found = [np.empty((h * w, 0), np.uint8)]
    for image in images:
        small = Picture.fromarray(image).resize(size, Picture.Resampling.BOX, reducing_gap=2.0).convert("L")
        found.append(np.asarray(small).reshape(h, ACROSS, w, ACROSS).transpose(0, 2, 1, 3).reshape(h * w, ACROSS**2))
    return np.concatenate(found, axis=1)
