"""DTD-R: a token that looks like one we kept, in its cell or beside it, is dropped; nothing drifts away unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .base import Cells, Kept, Stage


@dataclass(frozen=True, slots=True)
class Reference:
    """
    s[p] = max over q in 3 x 3 of p of cos(h[t, p], r[q]), r the token last *kept* of a cell; drop iff s > threshold.

    Against its ancestor (`feature`): slow drift adds up until it is seen, a shift by one cell is no change, every frame
    that comes this far leaves a trace, none takes all of the memory but a key frame or a cut.

    threshold: as in `feature`.
    floor: candidates kept of a frame at least, those that changed most.
    cap: share of a frame kept at most, those that changed most; a forced cell is kept besides.
    cut: share of a frame that is unlike everything around it from which the whole of it is kept.
    key_s: seconds after which a frame is kept whole; 0 is never.
    Source: ours, after TimeChat-Online's differential token drop.
    """

    kind: ClassVar[str] = "dtdr"
    stage: ClassVar[Stage] = Stage.FEATURES
    threshold: float = 0.5
    floor: int = 4
    cap: float = 0.5
    cut: float = 0.8
    key_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("threshold", "cap", "cut"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: {getattr(self, name)} is outside 0..1")
        for name in ("floor", "key_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative")

    def blank(self, now: Tensor) -> Tensor:
        return torch.zeros_like(now)

    def keep(self, cells: Cells) -> Kept:
        cameras = cells.cameras
        change = 1.0 - _likeness(cells.now, cells.reference, cameras.around)
        candidates = torch.ones_like(change, dtype=torch.bool) if cells.candidates is None else cells.candidates
        unlike = candidates & (change >= 1.0 - self.threshold)
        rank = cameras.rank(torch.where(candidates, change, -1.0))  # no cosine distance is below 0
        most = cameras.per_cell((self.cap * cameras.counts).ceil())
        whole = cameras.per_cell(cameras.mean(unlike) >= self.cut)
        mask = cells.among(whole | (unlike & (rank < most)) | (rank < self.floor))
        return Kept(mask, change, torch.where(mask[:, None], cells.now, cells.reference))


def _likeness(now: Tensor, reference: Tensor, around: Tensor) -> Tensor:
    """The largest cosine of each token [n, d] with the references around it, float32 [n]; 0 with a missing one."""
    here = torch.nn.functional.normalize(now.float(), dim=-1)
    there = torch.nn.functional.normalize(reference.float(), dim=-1)
    best = (here * there).sum(dim=-1)
    for neighbours in around:  # nine products of [n, d] rather than one of nine times the memory
        best = torch.maximum(best, (here * there[neighbours]).sum(dim=-1))
    return best.clamp(max=1.0)


DROP = Reference
