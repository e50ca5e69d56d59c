"""Keep everything: the yardstick for what the others lose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from .base import Cells, Kept, Stage


@dataclass(frozen=True, slots=True)
class Everything:
    kind: ClassVar[str] = "none"
    stage: ClassVar[Stage] = Stage.FEATURES

    def keep(self, cells: Cells) -> Kept:
        n, device = cells.now.shape[0], cells.now.device
        mask = torch.ones(n, dtype=torch.bool, device=device)
        return Kept(mask, torch.ones(n, device=device), cells.reference)


DROP = Everything
