"""From pixels to a vision encoder's first layer in one matrix product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .patches import VisionShape

MIDDLE = 128.0  # pixels around it are whole numbers that bfloat16 holds exactly


class PatchEmbedding(nn.Module):
    """
    Patches as they come from the camera, uint8, embedded as the published convolution embeds them normalised.

    The convolution's kernel is its stride, so it is a matrix product; rescaling and normalising before it are linear:
    all three fold into one weight and one bias. Takes the place of a tower's `patch_embed`, as a quantised layer does.
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
        self.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)

    def forward(self, patches: Tensor) -> Tensor:
        """uint8 [n, channels * time * patch_px**2] to [n, embed] in the weight's dtype."""
        return nn.functional.linear(patches.to(self.weight.dtype).sub_(MIDDLE), self.weight, self.bias)
