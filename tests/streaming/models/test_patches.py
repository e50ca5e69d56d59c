"""Our resize and patchify against the arithmetic that transformers publishes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as image_resize
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as video_resize

from streaming.models.patches import PatchGrid, VisionShape, grid, normalise, patchify, smart_resize

SHAPE = VisionShape(patch_px=16, merge=2, temporal=2, min_pixels=64 * 64, max_pixels=256 * 192)
sides = st.integers(1, 3000)


def picture(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Smooth colours with some noise: what a resize filter shows its taps on."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack((x * 255 / width, y * 255 / height, (x + y) % 256), axis=-1)
    return np.clip(smooth + np.random.default_rng(seed).normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)


@given(sides, sides)
def test_sizes_equal_the_published_video_arithmetic(height: int, width: int) -> None:
    """One temporal patch of the Qwen3-VL video processor, bounds per picture."""
    bounds = {"min_pixels": SHAPE.min_pixels, "max_pixels": SHAPE.max_pixels}
    per_patch = {name: 2 * pixels for name, pixels in bounds.items()}
    try:
        want = video_resize(2, height, width, temporal_factor=2, factor=32, **per_patch)
    except ValueError:
        with pytest.raises(ValueError, match="aspect"):
            smart_resize(height, width, factor=32, **bounds)
        return
    if min(height, width) * 200 < max(height, width):
        return  # the video arithmetic scales tiny sides up first and so lets a few thin slivers in; we refuse them
    assert smart_resize(height, width, factor=32, **bounds) == want


@given(st.integers(32, 3000), st.integers(32, 3000))
def test_sizes_equal_the_published_image_arithmetic(height: int, width: int) -> None:
    bounds = {"min_pixels": 256 * 256, "max_pixels": 1280 * 720}
    assert smart_resize(height, width, factor=32, **bounds) == image_resize(height, width, factor=32, **bounds)


@given(sides, sides)
def test_any_size_becomes_whole_cells_within_the_bounds(height: int, width: int) -> None:
    """Unless it is refused for its aspect; a sliver may need more than the largest area to keep one cell of height."""
    if max(height, width) / min(height, width) > 200:
        return
    h, w = smart_resize(height, width, factor=32, min_pixels=SHAPE.min_pixels, max_pixels=SHAPE.max_pixels)
    assert h % 32 == w % 32 == 0
    assert min(h, w) >= 32
    if min(h, w) > 32:
        assert h * w <= SHAPE.max_pixels
    assert h * w >= SHAPE.min_pixels


@pytest.mark.parametrize("size", [(96, 160), (360, 640), (50, 70), (480, 200)])
def test_pixels_equal_the_published_image_processor(size: tuple[int, int]) -> None:
    """Resize, rescale, normalise and patch order of a repeated frame, on transformers' own PIL path."""
    image = picture(*size)
    published = Qwen2VLImageProcessorPil(
        size={"shortest_edge": SHAPE.min_pixels, "longest_edge": SHAPE.max_pixels},
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        image_mean=list(SHAPE.mean),
        image_std=list(SHAPE.std),
    )(images=[image], return_tensors="np")
    ours = patchify([image, image], SHAPE)
    assert [1, ours.hw[0] * 2, ours.hw[1] * 2] == published["image_grid_thw"][0].tolist()
    assert np.allclose(normalise(torch.from_numpy(ours.patches), SHAPE), published["pixel_values"], atol=1e-5)


def test_two_frames_fold_as_the_published_video_processor_folds_them() -> None:
    """Patch order of two different pictures in one temporal patch; the size is left as it is."""
    pair = [picture(96, 160, seed=1), picture(96, 160, seed=2)]
    video = torch.from_numpy(np.stack(pair)).permute(0, 3, 1, 2)[None]
    want, t, h, w = Qwen3VLVideoProcessor.patchify(None, video, patch_size=16, merge_size=2, temporal_patch_size=2)
    ours = patchify(pair, SHAPE)
    assert (t, h, w) == (1, ours.hw[0] * 2, ours.hw[1] * 2)
    assert torch.equal(torch.from_numpy(ours.patches), want[0])


def test_an_older_picture_of_another_size_takes_the_newer_ones_grid() -> None:
    grids = patchify([picture(200, 300), picture(96, 160)], SHAPE)
    assert isinstance(grids, PatchGrid)
    assert grids.hw == grid(picture(96, 160), SHAPE)


def test_a_wrong_number_of_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="3 pictures for a temporal patch of 2"):
        patchify([picture(96, 160)] * 3, SHAPE)


def test_one_picture_is_carried_once() -> None:
    """It stands for the whole temporal patch: half the bytes, the same pixels in the same order."""
    image = picture(96, 160)
    once, repeated = patchify([image], SHAPE), patchify([image, image], SHAPE)
    n = len(once.patches)
    assert once.hw == repeated.hw
    both = repeated.patches.reshape(n, 3, 2, -1)
    assert np.array_equal(both, np.repeat(once.patches.reshape(n, 3, 1, -1), 2, axis=2))


def test_the_bounds_give_the_most_tokens() -> None:
    assert SHAPE.max_tokens == 256 * 192 // 1024
    assert SHAPE.cell_px == 32
