"""
What a drop rule is: one batched decision on the device about which cells of a step's frames are worth keeping.

One file per rule; the module's name is its configuration `kind`, and it names its class as `DROP`. A rule of each stage
may stand behind the other: what the pixels leave over are the features' candidates.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Grid = tuple[int, int]  # height, width in cells


class Stage(enum.StrEnum):
    """Where a rule looks: at pixels before the encoder, or at features behind it. Rules of both stages compose."""

    PIXELS = "pixels"
    FEATURES = "features"


@dataclass(frozen=True)
class Cells:
    """
    The cells of several cameras' frames, one after another.

    now: [n, d], this frame: luma 0..255 for PIXELS, embeddings for FEATURES.
    reference: [n, k], what the rule asked to remember of a camera; its own `blank` where there is nothing yet.
    grids: (h, w) per camera, row-major; n is the sum of h * w.
    candidates: bool [n], the cells where changes matter, or that an earlier stage left over; None is all.
    forced: bool [n], cells that must be kept: of a key frame, or in a zone that is never dropped; None is none.
    """

    now: Tensor
    reference: Tensor
    grids: Sequence[Grid]
    candidates: Tensor | None = None
    forced: Tensor | None = None

    @cached_property
    def cameras(self) -> Cameras:
        """Which cell belongs to which camera. Does not synchronise."""
        return cameras_of(tuple(self.grids), self.now.device)

    def among(self, mask: Tensor) -> Tensor:
        """The mask without what is no candidate and with what is forced."""
        if self.candidates is not None:
            mask = mask & self.candidates
        return mask if self.forced is None else mask | self.forced

    def share(self, mask: Tensor) -> Tensor:
        """How many of a camera's candidates are in a mask [n], as a share of them, float32 [cameras]."""
        if self.candidates is None:
            return self.cameras.mean(mask)
        return self.cameras.total(mask & self.candidates) / self.cameras.total(self.candidates).clamp(min=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """
    The decision, on the device.

    mask: bool [n], True = keep. change: float32 [n], how much a cell changed, 0 = not at all.
    reference: [n, k], to be handed in with the next frame of each camera.
    cut: bool [cameras], True where the picture is another scene than before; None where the rule cannot tell.
    """

    mask: Tensor
    change: Tensor
    reference: Tensor
    cut: Tensor | None = None


class Drop(Protocol):
    """
    Holds settings only; what it remembers of a camera is its `reference`.

    key_s: seconds after which a camera's next frame is forced whole; 0 is never.
    """

    kind: ClassVar[str]
    stage: ClassVar[Stage]

    @property
    def key_s(self) -> float: ...

    def blank(self, now: Tensor) -> Tensor:
        """The reference [n, k] of cells [n, d] of which nothing was seen yet. Allocates."""
        ...

    def keep(self, cells: Cells) -> Kept:
        """Decide over all cameras at once. Does not synchronise."""
        ...


@dataclass(frozen=True, slots=True)
class Cameras:
    """
    Cells by camera, as indices on the device, for reductions without a loop over cameras.

    camera, slot: int64 [n], the camera of a cell and its number inside it. counts: int64 [cameras].
    around: int64 [9, n], the cells of the 3 x 3 around each, itself where the picture ends.
    """

    camera: Tensor
    slot: Tensor
    counts: Tensor
    around: Tensor
    largest: int

    def per_cell(self, values: Tensor) -> Tensor:
        """[cameras] to [n]."""
        return values[self.camera]

    def total(self, values: Tensor) -> Tensor:
        """The sum of [n] per camera, float32 [cameras]."""
        return torch.zeros(len(self.counts), device=values.device).index_add_(0, self.camera, values.float())

    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.counts

    def largest_of(self, values: Tensor) -> Tensor:
        """The maximum of [n] per camera, float32 [cameras]."""
        return self._padded(values, -torch.inf).amax(dim=1)

    def median(self, values: Tensor) -> Tensor:
        """The lower median of [n] per camera, float32 [cameras]."""
        return self._padded(values, torch.nan).nanmedian(dim=1).values

    def rank(self, values: Tensor) -> Tensor:
        """The place of each cell in its camera by falling value, int64 [n], 0 = largest; ties in cell order."""
        order = torch.argsort(self._padded(values, -torch.inf), dim=1, descending=True, stable=True)
        places = torch.arange(self.largest, device=values.device).expand_as(order)
        return torch.empty_like(order).scatter_(1, order, places)[self.camera, self.slot]

    def _padded(self, values: Tensor, empty: float) -> Tensor:
        """[n] as float32 [cameras, largest]."""
        padded = torch.full((len(self.counts), self.largest), empty, device=values.device)
        padded[self.camera, self.slot] = values.float()
        return padded


@lru_cache(maxsize=64)
def cameras_of(grids: tuple[Grid, ...], device: torch.device) -> Cameras:
    """The indices of these grids; made on the host, once per set of grids."""
    sizes = np.array([h * w for h, w in grids], np.int64)
    starts = np.cumsum(sizes) - sizes
    around = np.concatenate([_around(hw) + start for hw, start in zip(grids, starts, strict=True)], axis=1)
    return Cameras(
        camera=torch.from_numpy(np.repeat(np.arange(len(grids)), sizes)).to(device),
        slot=torch.from_numpy(np.concatenate([np.arange(size) for size in sizes])).to(device),
        counts=torch.from_numpy(sizes).to(device),
        around=torch.from_numpy(around).to(device),
        largest=int(sizes.max()),
    )


def _around(hw: Grid) -> NDArray[np.int64]:
    """The cells of the 3 x 3 around each, [9, h * w], itself where the picture ends."""
    h, w = hw
    rows, columns = np.repeat(np.arange(h), w), np.tile(np.arange(w), h)
    found = []
    for up in (-1, 0, 1):
        for left in (-1, 0, 1):
            row, column = rows + up, columns + left
            inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
            found.append(np.where(inside, row * w + column, rows * w + columns))
    return np.stack(found).astype(np.int64)
