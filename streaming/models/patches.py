"""
From a picture of any size to the patches of a vision encoder: resize and patchify, without torchvision.

The arithmetic is that of the Qwen-VL processors in transformers (smart_resize, bicubic, rescale and normalise, patch
order by merge blocks); tests compare with it. Patches stay uint8 until they are on the device: a quarter of the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor

from streaming.types import Image

MAX_ASPECT = 200  # the published limit of width over height and back


@dataclass(frozen=True, slots=True)
class VisionShape:
    """
    How a family cuts a picture.

    patch_px: side of a patch; merge: patches per token side; temporal: pictures per patch.
    min_pixels, max_pixels: bounds of the resized picture's area.
    mean, std: normalisation per channel, of values in 0..1.
    """

    patch_px: int
    merge: int
    temporal: int
    min_pixels: int
    max_pixels: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def cell_px(self) -> int:
        """Side of the square that becomes one token."""
        return self.patch_px * self.merge

    @property
    def max_tokens(self) -> int:
        """The most tokens that one picture can become."""
        return max(1, self.max_pixels // self.cell_px**2)


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """
    One temporal patch, ready for the encoder.

    patches: uint8 [h * merge * w * merge, channels * pictures * patch_px**2], in the order of the merge blocks; as many
        pictures as the temporal size, or one that stands still for so long.
    hw: the grid in tokens.
    cells: int64, ascending: where not None, `patches` are those of these cells alone.
    """

    patches: NDArray[np.uint8] = field(repr=False)
    hw: tuple[int, int]
    cells: NDArray[np.int64] | None = field(default=None, repr=False)


def smart_resize(height: int, width: int, *, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """
    The size (height, width) to resize to: multiples of `factor`, area within bounds, aspect kept as well as may be.

    Raises: ValueError: no area, or an aspect ratio above 200.
    Source: transformers, `smart_resize` of Qwen2-VL (images) and Qwen3-VL (video, one temporal patch).
    """
    if min(height, width) < 1:
        raise ValueError(f"a picture of {width}x{height} has no area")
    if max(height, width) / min(height, width) > MAX_ASPECT:
        raise ValueError(f"the aspect ratio of {width}x{height} is above {MAX_ASPECT}")
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    h_bar = max(factor, round(height / factor) * factor)
    w_bar = max(factor, round(width / factor) * factor)
    if h_bar * w_bar > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        h_bar = max(factor, math.floor(height / beta / factor) * factor)
        w_bar = max(factor, math.floor(width / beta / factor) * factor)
    elif h_bar * w_bar < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        h_bar = math.ceil(height * beta / factor) * factor
        w_bar = math.ceil(width * beta / factor) * factor
    return h_bar, w_bar


def grid(image: Image, shape: VisionShape) -> tuple[int, int]:
    """The grid in tokens that `image` becomes. Raises: ValueError: not a usable RGB picture."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError("a picture must be uint8 [height, width, 3]")
    height, width = smart_resize(
        image.shape[0],
        image.shape[1],
        factor=shape.cell_px,
        min_pixels=shape.min_pixels,
        max_pixels=shape.max_pixels,
    )
    return height // shape.cell_px, width // shape.cell_px


def patchify(images: Sequence[Image], shape: VisionShape, *, cells: NDArray[np.int64] | None = None) -> PatchGrid:
    """
    The patches of `temporal` pictures, or of one that stands for all of them, on the newest picture's grid.

    cells: ascending; only these, None is all.
    Raises: ValueError: not a usable RGB picture, or another number of pictures.
    """
    if len(images) not in (1, shape.temporal):
        raise ValueError(f"{len(images)} pictures for a temporal patch of {shape.temporal}")
    h, w = grid(images[-1], shape)
    px, m = shape.patch_px, shape.merge
    size = (w * shape.cell_px, h * shape.cell_px)
    stack: list[NDArray[np.uint8]] = []
    for index, image in enumerate(images):
        if index and image is images[index - 1]:
            stack.append(stack[-1])
            continue
        grid(image, shape)  # the older picture must be usable too
        stack.append(np.asarray(Picture.fromarray(image).resize(size, Picture.Resampling.BICUBIC)))
    pixels = np.stack(stack)  # [temporal, height, width, channels]
    blocks = pixels.reshape(len(images), h, m, px, w, m, px, 3)
    ordered = blocks.transpose(1, 4, 2, 5, 7, 0, 3, 6)  # h, w, in_row, in_col, channel, time, y, x
    if cells is not None:
        return PatchGrid(ordered[cells // w, cells % w].reshape(len(cells) * m * m, -1), (h, w), cells)
    return PatchGrid(np.ascontiguousarray(ordered).reshape(h * w * m * m, -1), (h, w))


def normalise(patches: Tensor, shape: VisionShape) -> Tensor:
    """
    uint8 patches [n, channels * temporal * patch_px**2] as float32, rescaled to 0..1 and normalised per channel.

    What stock classes want; the families here have folded it into their patch embedding.
    """
    mean = torch.tensor(shape.mean, device=patches.device).view(1, 3, 1)
    std = torch.tensor(shape.std, device=patches.device).view(1, 3, 1)
    pixels = patches.view(patches.shape[0], 3, -1).float() / 255.0
    return ((pixels - mean) / std).view(patches.shape[0], -1)
