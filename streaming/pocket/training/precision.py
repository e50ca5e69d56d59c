"""In which precision training multiplies: bfloat16 where the device computes with it, float32 elsewhere."""

from __future__ import annotations

import torch


def mixed(device: torch.device) -> torch.autocast:
    """Inside, products run in bfloat16 where that is no slower. Weights and sums stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_bfloat16(device))


def computes_bfloat16(device: torch.device) -> bool:
    """
    Whether its bfloat16 products are worth having.

    On CPUs torch has fast ones from AVX-512 on; with AVX2 a matrix product takes up to 25 times as long as in float32.
    """
    return device.type == "cuda" or (device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512")
