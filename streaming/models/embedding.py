"""From pixels to a vision encoder's first layer in one matrix product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .patches import VisionShape

MIDDLE = 128.0  # pixels around it are whole numbers that bfloat16 holds exactly
CACHED = 1 << 18  # pixels a CPU core keeps at hand while it multiplies them, as numbers of four bytes


class PatchEmbedding(nn.Module):
    """
    Patches as they come from the camera, uint8, embedded as the published convolution embeds them normalised.

    The convolution's kernel is its stride, so it is a matrix product; rescaling and normalising before it are linear:
    all three fold into one weight and one bias, and for a picture that stands still, so do its weights over time. Takes
    the place of a tower's `patch_embed`, as a quantised layer does.
    """

    def __init__(self, convolution: nn.Conv3d, shape: VisionShape) -> None:
        super().__init__()
        weight = convolution.weight.detach()
        device = weight.device
        mean = torch.tensor(shape.mean, dtype=torch.float64, device=device)[:, None]
        std = torch.tensor(shape.std, dtype=torch.float64, device=device)[:, None]
        folded = weight.double().reshape(weight.shape[0], 3, -1) / (255.0 * std)  # [embed, channel, time * y * x]
        bias = (folded * (MIDDLE - 255.0 * mean)).sum(dim=(1, 2))
        if convolution.bias is not None:
            bias += convolution.bias.detach().double()
        self.weight = nn.Parameter(folded.flatten(1).to(weight.dtype), requires_grad=False)
        still = folded.reshape(len(folded), 3, shape.temporal, -1).sum(dim=2)  # [embed, channel, y * x]
        self.still: Tensor  # follows from the weight: no parameter of its own
        self.register_buffer("still", still.flatten(1).to(weight.dtype), persistent=False)
        self.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)

    def forward(self, patches: Tensor) -> Tensor:
        """uint8 [n, channels * pictures * patch_px**2], as in a PatchGrid, to [n, embed] in the weight's dtype."""
        weight = self.still if patches.shape[1] == self.still.shape[1] else self.weight
        rows = max(1, CACHED // patches.shape[1]) if patches.device.type == "cpu" else len(patches)
        return torch.cat([self._product(part, weight) for part in torch.split(patches, rows)])

    def _product(self, patches: Tensor, weight: Tensor) -> Tensor:
        return nn.functional.linear(patches.to(weight.dtype).sub_(MIDDLE), weight, self.bias)
