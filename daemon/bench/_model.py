"""The model of a benchmark: its published input size, and on a GPU the type it runs in there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from streaming import models
from streaming.models import VisionLanguageModel


def loaded(name: str, device: str, cache_dir: Path, *, max_pixels: int) -> VisionLanguageModel:
    """
    The model on the device, in bfloat16 on a GPU.

    max_pixels: what the built-in ones see: their checkpoints ask for postage stamps, a benchmark for real pictures.
    """
    model = models.load(name, device=device, dtype=dtype_on(device), cache_dir=cache_dir)
    if name in models.built_in():
        model.vision = replace(model.vision, max_pixels=max_pixels)
    return model


def dtype_on(device: str) -> torch.dtype | None:
    """What models run in there; None is the checkpoint's own type."""
    return torch.bfloat16 if device.startswith("cuda") else None
