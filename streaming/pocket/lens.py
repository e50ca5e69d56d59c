"""What a camera does to a picture: sensor noise, exposure steps, slow drift, compression."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from streaming.types import Image

_GRAINS = 24  # fields of noise that take turns, each shifted anew
_GRAIN_PIXELS = 1_000_000  # of all fields of a size: of a large picture there are fewer


@dataclass(frozen=True, slots=True)
class Lens:
    """
    noise: standard deviation in levels of 0..255. gain: of the brightness, 1 is as drawn. steps_s: mean seconds between
    two exposure steps, each up to `step` of the brightness; 0 is none. sway: how far the picture wanders, as a share of
    its width, once in `sway_s`. quality: of JPEG, 0 is uncompressed.
    """

    noise: float = 1.2
    gain: float = 1.0
    steps_s: float = 0.0
    step: float = 0.25
    sway: float = 0.0
    sway_s: float = 90.0
    quality: int = 0

    def brightness(self, t_s: float, seed: int) -> float:
        """The gain at a time: a step lasts until the next."""
        if not self.steps_s:
            return self.gain
        draw = np.random.default_rng((seed, 23, int(t_s // self.steps_s)))
        return self.gain * (1.0 + float(draw.uniform(-self.step, self.step)))

    def shift(self, t_s: float) -> tuple[float, float]:
        """Where the picture has wandered, shares of the width."""
        angle = 2 * math.pi * t_s / self.sway_s
        return self.sway * math.sin(angle), 0.5 * self.sway * math.sin(1.7 * angle)

    def take(self, drawn: NDArray[np.float32], t_s: float, seed: int) -> Image:
        """What the camera hands over, uint8; may write into `drawn` [h, w, 3]."""
        gain = self.brightness(t_s, seed)
        if gain != 1.0:
            drawn *= gain
        if self.noise:
            drawn += self.noise * _grain(drawn.shape[0], drawn.shape[1], seed, round(t_s * 1000))
        taken = np.clip(drawn, 0, 255, out=drawn).astype(np.uint8)
        return compressed(taken, self.quality) if self.quality else taken


LENSES = {
    "clean": Lens(),
    "noisy": Lens(noise=9.0, gain=0.75),
    "exposure": Lens(steps_s=7.0),
    "drift": Lens(sway=0.03),
}


def compressed(image: Image, quality: int) -> Image:
    """The picture after JPEG. quality: 1..95."""
    held = io.BytesIO()
    Picture.fromarray(image).save(held, "JPEG", quality=quality)
    taken: Image = np.asarray(Picture.open(held))
    return taken


def _grain(height: int, width: int, seed: int, moment: int) -> NDArray[np.float32]:
    """A field of noise of its own for every moment: one of a few, shifted; its standard deviation is 1."""
    h = (seed * 7919 + moment * 104729) & 0x7FFFFFFF
    fields = _fields(height, width)
    field = fields[h % len(fields)]
    dy, dx = (h // 31) % 32, (h // 1033) % 32
    part: NDArray[np.float32] = field[dy : dy + height, dx : dx + width]
    return part


@lru_cache(maxsize=8)
def _fields(height: int, width: int) -> NDArray[np.float32]:
    count = max(1, min(_GRAINS, _GRAIN_PIXELS // (height * width)))
    return np.random.default_rng(5).standard_normal((count, height + 32, width + 32, 1), np.float32).repeat(3, -1)
