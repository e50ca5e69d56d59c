"""Keep everything, or all that the pixels left over: the yardstick for what the other rules lose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .base import Cells, Kept, Stage


@dataclass(frozen=True, slots=True)
class Everything:
    kind: ClassVar[str] = "none"
    stage: ClassVar[Stage] = Stage.FEATURES
    key_s: ClassVar[float] = 0.0

    def blank(self, now: Tensor) -> Tensor:
        return now.new_zeros(now.shape[0], 0)

    def keep(self, cells: Cells) -> Kept:
        n, device = cells.now.shape[0], cells.now.device
        mask = torch.ones(n, dtype=torch.bool, device=device)
        return Kept(cells.among(mask), torch.ones(n, device=device), cells.reference)


DROP = Everything
