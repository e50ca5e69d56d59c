"""
What a drop rule is: one batched decision on the device about which tokens of a step's frames are worth keeping.

One file per rule; the module's name is its configuration `kind`, and it names its class as `DROP`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor


class Stage(enum.StrEnum):
    """Where a rule looks: at pixels before the encoder, or at features behind it. Rules of both stages compose."""

    PIXELS = "pixels"
    FEATURES = "features"


@dataclass(frozen=True, slots=True)
class Cells:
    """
    The cells of several cameras' frames, one after another.

    now: [n, d], this frame; reference: [n, d], what the rule asked to remember of a camera, zeros where there is none.
    grids: (h, w) per camera, row-major; n is the sum of h * w.
    """

    now: Tensor
    reference: Tensor
    grids: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Kept:
    """
    The decision, on the device.

    mask: bool [n], True = keep. change: float32 [n], how much a cell changed, 0 = not at all.
    reference: [n, d], to be handed in with the next frame of each camera.
    """

    mask: Tensor
    change: Tensor
    reference: Tensor


class Drop(Protocol):
    """Holds settings only; what it remembers of a camera is its `reference`."""

    kind: ClassVar[str]
    stage: ClassVar[Stage]

    def keep(self, cells: Cells) -> Kept:
        """Decide over all cameras at once. Does not synchronise."""
        ...
