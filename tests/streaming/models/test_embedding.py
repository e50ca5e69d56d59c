from __future__ import annotations

import pytest
import torch
from torch import nn

from streaming.models.embedding import CACHED, PatchEmbedding
from streaming.models.patches import VisionShape, normalise

SHAPE = VisionShape(
    patch_px=14, merge=2, temporal=2, min_pixels=1, max_pixels=1, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28)
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_it_embeds_as_the_published_convolution(bias: bool, dtype: torch.dtype, near: float) -> None:
    """Rescale, normalise per channel and convolve, in one product, of any pixels: as near as the dtype allows."""
    random = torch.Generator().manual_seed(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        convolution = nn.Conv3d(3, 40, (2, 14, 14), (2, 14, 14), bias=bias)
    patches = torch.randint(0, 256, (50, 3 * 2 * 14 * 14), dtype=torch.uint8, generator=random)
    patches[:10], patches[10:20] = 0, 255
    exact = convolution.double()(normalise(patches, SHAPE).double().view(50, 3, 2, 14, 14)).view(50, 40)
    folded = PatchEmbedding(convolution.to(dtype), SHAPE)
    got = folded(patches)
    assert got.dtype is dtype
    assert (got.double() - exact).abs().max() <= near * exact.abs().max()
    stock = convolution(normalise(patches, SHAPE).to(dtype).view(50, 3, 2, 14, 14)).view(50, 40)
    assert (got.double() - exact).abs().mean() <= 2 * (stock.double() - exact).abs().mean()


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_one_picture_stands_for_all_of_its_temporal_patch(dtype: torch.dtype, near: float) -> None:
    """Carried once, it becomes what it becomes when it is repeated; in pieces, as a whole."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        convolution = nn.Conv3d(3, 40, (2, 14, 14), (2, 14, 14))
    folded = PatchEmbedding(convolution.to(dtype), SHAPE)
    random = torch.Generator().manual_seed(4)
    once = torch.randint(0, 256, (3 * CACHED // (3 * 14 * 14), 3, 1, 14 * 14), dtype=torch.uint8, generator=random)
    repeated = folded(once.repeat(1, 1, 2, 1).flatten(1)).double()
    got = folded(once.flatten(1)).double()
    assert (got - repeated).abs().max() <= near * repeated.abs().max()
