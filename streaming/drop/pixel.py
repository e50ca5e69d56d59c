"""The gate before the encoder: cells whose brightness moved more than their noise. Without one, no encoder call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .base import Cameras, Cells, Kept, Stage

UNSEEN, SEEN_ONCE = 0.0, -1.0  # a noise of 0 or below is none yet
LEAST_NOISE = 0.05  # luma levels; a drawn picture has none at all, and logarithms want more


@dataclass(frozen=True, slots=True)
class Pixel:
    """
    d[p] = mean |Y − Yref − median(Y − Yref)| over a cell, in luma levels; it has moved iff d > times * noise + least.

    The median takes out what brightens or darkens a cell as a whole (exposure, passing clouds). The noise of a cell is
    the running 0.9-quantile of the same measure between neighbouring frames, so it holds sensor noise, infrared grain
    and compression flicker, and not drift; Yref moves only where a cell was let through, so drift adds up until it is
    seen. A frame opens iff one cell moved clearly (`clear` times its threshold), and then all moved cells pass: a
    single cell that trembles around its threshold costs no encoder call.

    times: how often its noise a cell must move. least: luma levels it must move besides.
    shade: luma levels beyond which a cell that grew brighter or darker than the picture as a whole has moved too, once
        the frame is open: the flat side of a van between its edges.
    clear: how often its threshold the strongest cell must move.
    rate: of the running noise, per frame. slow: how much slower it learns where something moves.
    most_noise: luma levels that are believed to be noise at most, so that a busy road stays visible.
    cut: the share of moved cells, and uncut: the correlation of the cells' brightness with the frame before, between
        which a picture is another scene: many cells, little correlation.
    key_s: seconds after which a frame is let through whole; 0 is never.
    Source: the gate of Eventful Transformers (a reference that moves where it is read), the threshold ours.
    """

    kind: ClassVar[str] = "pixel"
    stage: ClassVar[Stage] = Stage.PIXELS
    times: float = 2.5
    least: float = 1.5
    shade: float = 20.0
    clear: float = 1.5
    rate: float = 0.1
    slow: float = 8.0
    quantile: float = 0.9
    most_noise: float = 4.0
    cut: float = 0.5
    uncut: float = 0.6
    key_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("times", "least", "rate", "key_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative")
        for name in ("clear", "slow"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        for name in ("quantile", "cut", "uncut"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: {getattr(self, name)} is outside 0..1")
        if self.most_noise < LEAST_NOISE:
            raise ValueError(f"most_noise: {self.most_noise} is below {LEAST_NOISE}")

    def blank(self, now: Tensor) -> Tensor:
        """[n, 2 * d + 1]: the reference, the frame before, the noise. Half precision holds luma exactly."""
        return now.new_zeros(now.shape[0], 2 * now.shape[1] + 1, dtype=torch.float16)

    def keep(self, cells: Cells) -> Kept:
        now, cameras = cells.now.float(), cells.cameras
        d = now.shape[1]
        reference, before, noise = torch.split(cells.reference.float(), [d, d, 1], dim=1)
        noise = noise[:, 0]
        unseen = noise == UNSEEN
        (change, offset), (flicker, _) = moved(now - reference), moved(now - before)
        guess = (1.5 * cameras.per_cell(cameras.median(flicker))).clamp(LEAST_NOISE, self.most_noise)
        known = torch.where(noise > 0, noise, guess)
        level = cameras.per_cell(cameras.median(offset))
        shade = (offset - level).abs() - level.abs()
        ratio = change / (self.times * known + self.least)
        beyond = (ratio > 1) | (shade > self.shade)
        cut = (cells.share(beyond) >= self.cut) & (correlation(now.mean(1), before.mean(1), cameras) < self.uncut)
        heard = ratio if cells.candidates is None else torch.where(cells.candidates, ratio, 0.0)
        opened = cameras.largest_of(heard) > self.clear
        mask = cells.among((beyond & cameras.per_cell(opened)) | cameras.per_cell(cut) | unseen)
        learnt = torch.where(unseen, SEEN_ONCE, self._learn(known, flicker, moving=beyond))
        remembered = torch.cat((torch.where(mask[:, None], now, reference), now, learnt[:, None]), dim=1)
        # as a share of white: comparable with other cameras, whatever their noise
        return Kept(mask, torch.where(unseen, 1.0, change / 255.0), remembered.to(cells.reference.dtype), cut)

    def _learn(self, noise: Tensor, flicker: Tensor, *, moving: Tensor) -> Tensor:
        """One step of the running quantile, in the logarithm."""
        step = torch.where(flicker > noise, self.quantile, self.quantile - 1.0)
        rate = torch.where(moving, self.rate / self.slow, self.rate)
        return (noise * torch.exp(rate * step)).clamp(LEAST_NOISE, self.most_noise)


def moved(difference: Tensor) -> tuple[Tensor, Tensor]:
    """mean |x − median(x)| and median(x) of each row of [n, d], float32 [n] each."""  # noqa: D403  # a formula
    offset = difference.median(dim=1).values
    return (difference - offset[:, None]).abs().mean(dim=1), offset


def correlation(a: Tensor, b: Tensor, cameras: Cameras) -> Tensor:
    """Of two values per cell [n], over the cells of each camera, [cameras] in -1..1; 1 where one of them is flat."""
    a = a - cameras.per_cell(cameras.mean(a))
    b = b - cameras.per_cell(cameras.mean(b))
    spread = (cameras.total(a * a) * cameras.total(b * b)).sqrt()
    return torch.where(spread > 1.0, cameras.total(a * b) / spread.clamp(min=1.0), 1.0)


DROP = Pixel
