"""Differential token drop on features: a token that looks like the one before it in its cell is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .base import Cells, Kept, Stage


@dataclass(frozen=True, slots=True)
class Feature:
    """
    Paper-exact DTD: s = cos(h[t-1, p], h[t, p]); drop iff s > threshold. The first frame of a camera is kept whole.

    threshold: 0.25 keeps the least, 1.0 everything. Published: 0.5 for evaluation, 0.25 in the demo.
    Known flaws, kept on purpose: slow drift is invisible, there is no floor, no cap and no key frame.
    Source: TimeChat-Online, differential token drop, feature variant.
    """

    kind: ClassVar[str] = "feature"
    stage: ClassVar[Stage] = Stage.FEATURES
    key_s: ClassVar[float] = 0.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold: {self.threshold} is outside 0..1")

    def blank(self, now: Tensor) -> Tensor:
        return torch.zeros_like(now)

    def keep(self, cells: Cells) -> Kept:
        # zeros, the missing reference, have a cosine of 0 with everything and so are never above the threshold
        similarity = torch.nn.functional.cosine_similarity(cells.now.float(), cells.reference.float(), dim=-1)
        similarity = similarity.clamp(max=1.0)  # rounding must not push equal tokens over a threshold of 1
        return Kept(cells.among(similarity <= self.threshold), 1.0 - similarity, cells.now)


DROP = Feature
