"""
`synthetic:yard?fps=10&size=448x336&seed=1`: drawn scenes whose truth is known at every moment, live or as a video file.

A scene is a pure function of the time since it began, so the same second always shows the same picture.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image as Pillow
from PIL import ImageDraw

from ..clock import NS_PER_S
from ..types import Image
from .address import number, parse_local
from .base import Opening, Picture, Rendered
from .errors import SourceRefused
from .timing import Pacer

SCHEMES = ("synthetic",)

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Truth:
    """
    What the picture shows. person, car: horizontal place of its middle, 0..1, or None when absent.
    shot: counts hard cuts.  covered: the lens shows nothing.
    """

    person: float | None = None
    door_open: bool = False
    lamp_on: bool = False
    car: float | None = None
    shot: int = 0
    covered: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """
    One scene at one size. `render` allocates uint8 [height, width, 3]; `truth` tells what that picture shows.

    width, height: pixels.  seed: varies noise and textures, never the course of events.
    """

    name: str
    width: int = 448
    height: int = 336
    seed: int = 0
    _ground: Image = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name not in SCENES:
            raise ValueError(f"no scene {self.name!r}; there are {', '.join(SCENES)}")
        object.__setattr__(self, "_ground", _ground(self.width, self.height))

    def truth(self, t_s: float) -> Truth:
        """What is to be seen `t_s` seconds after the beginning."""
        return SCENES[self.name].truth(t_s)

    def render(self, t_s: float) -> Image:
        """The picture `t_s` seconds after the beginning; about 1 ms."""
        return SCENES[self.name].draw(self, self.truth(t_s), t_s)

    @property
    def ground(self) -> Image:
        """The empty yard; not to be written to."""
        return self._ground


def render_file(
    path: Path,
    scene: Scene,
    *,
    seconds: float,
    fps: float = 10.0,
    start_s: float = 0.0,
    codec: str = "libx264",
    gop: int = 10,
    container_format: str | None = None,
) -> None:
    """
    Write a scene as a video file.

    seconds: its length.  start_s: where in the scene it begins.  gop: frames from key frame to key frame.
    codec: any encoder of FFmpeg that takes yuv420p (or mjpeg).  container_format: by the file's name if None.
    """
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = scene.width, scene.height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "tune": "zerolatency"}
        for index in range(round(seconds * fps)):
            frame = VideoFrame.from_ndarray(scene.render(start_s + index / fps), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class SyntheticSource:
    """A scene that plays live, drawn only where a picture is used."""

    def __init__(self, url: str, opening: Opening) -> None:
        local = parse_local(url, known={"fps", "size", "seed"})
        if local.name not in SCENES:
            raise SourceRefused(f"no synthetic scene {local.name!r}; there are {', '.join(SCENES)}")
        size = _SIZE.fullmatch(local.options.get("size", "448x336"))
        if size is None or not (64 <= int(size[1]) <= 4096 and 64 <= int(size[2]) <= 4096):
            raise SourceRefused(
                f"option size must look like 448x336, each side 64 to 4096, not {local.options['size']!r}"
            )
        self._fps = number(local.options, "fps", 10.0, least=0.1, most=opening.limits.max_input_fps)
        seed = int(number(local.options, "seed", 0, least=0, most=2**31))
        self._scene = Scene(local.name, int(size[1]), int(size[2]), seed)
        self._clock = opening.clock
        self._closing = threading.Event()

    def frames(self) -> Generator[Picture, None, None]:
        pacer = Pacer()
        size = (self._scene.width, self._scene.height)
        index = 0
        while True:
            pts_ns = round(index * NS_PER_S / self._fps)
            if self._closing.wait(pacer.wait_ns(pts_ns, self._clock.monotonic_ns()) / NS_PER_S):
                return
            yield Rendered(pts_ns, size, partial(self._scene.render, index / self._fps))
            index += 1

    def close(self) -> None:
        self._closing.set()


open_url = SyntheticSource


# --- the scenes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Play:
    """truth: time in seconds to what is seen.  draw: that, as a picture."""

    truth: Callable[[float], Truth]
    draw: Callable[[Scene, Truth, float], Image]


YARD_CYCLE_S = 30.0
_COVERED_CYCLE_S = 20.0
_SHOT_S = 4.0


def _yard_truth(t_s: float) -> Truth:
    """A person comes from the left (4 s), stands at the door (9 to 14 s), leaves to the right (19 s); then a car."""
    at_s = t_s % YARD_CYCLE_S
    person: float | None = None
    if 4 <= at_s < 9:
        person = _between(at_s, 4, 9, -0.1, 0.6)
    elif 9 <= at_s < 14:
        person = 0.6
    elif 14 <= at_s < 19:
        person = _between(at_s, 14, 19, 0.6, 1.1)
    car = _between(at_s, 20, 25, -0.2, 1.2) if 20 <= at_s < 25 else None
    return Truth(
        person=person if person is not None and 0 <= person <= 1 else None,
        door_open=9.5 <= at_s < 13.5,
        lamp_on=at_s >= 15,
        car=car if car is not None and 0 <= car <= 1 else None,
    )


def _between(at: float, begin: float, end: float, low: float, high: float) -> float:
    return low + (high - low) * (at - begin) / (end - begin)


def _draw_yard(scene: Scene, truth: Truth, _t_s: float) -> Image:
    width, height = scene.width, scene.height
    canvas = Pillow.fromarray(scene.ground)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle(_box(scene, 0.56, 0.30, 0.66, 0.62), fill=(25, 20, 18) if truth.door_open else (110, 62, 35))
    draw.ellipse(_box(scene, 0.20, 0.12, 0.25, 0.19), fill=(255, 236, 150) if truth.lamp_on else (70, 70, 70))
    if truth.car is not None:
        draw.rectangle(_box(scene, truth.car - 0.13, 0.82, truth.car + 0.13, 0.93), fill=(190, 30, 35))
        draw.rectangle(_box(scene, truth.car - 0.07, 0.76, truth.car + 0.07, 0.83), fill=(150, 190, 210))
        for wheel in (-0.08, 0.08):
            draw.ellipse(
                _box(scene, truth.car + wheel - 0.025, 0.90, truth.car + wheel + 0.025, 0.96), fill=(15, 15, 15)
            )
    if truth.person is not None:
        head = min(width, height) * 0.035
        x, y = truth.person * width, 0.40 * height
        draw.ellipse((x - head, y - head, x + head, y + head), fill=(224, 172, 140))
        draw.rectangle(_box(scene, truth.person - 0.03, 0.44, truth.person + 0.03, 0.58), fill=(30, 60, 170))
        draw.rectangle(_box(scene, truth.person - 0.025, 0.58, truth.person + 0.025, 0.72), fill=(40, 40, 50))
    return np.array(canvas)


def _box(scene: Scene, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    return x0 * scene.width, y0 * scene.height, x1 * scene.width, y1 * scene.height


def _ground(width: int, height: int) -> Image:
    """Sky over a wall over a yard over a road, with a fixed texture so that an encoder has something to hold on to."""
    canvas = Pillow.new("RGB", (width, height), (150, 180, 205))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0.22 * height, width, 0.62 * height), fill=(178, 160, 140))
    draw.rectangle((0, 0.62 * height, width, 0.75 * height), fill=(120, 135, 95))
    draw.rectangle((0, 0.75 * height, width, height), fill=(85, 85, 88))
    for x in np.arange(0.05, 1.0, 0.2):
        draw.rectangle((x * width, 0.86 * height, (x + 0.1) * width, 0.875 * height), fill=(215, 215, 205))
    draw.rectangle((0.22 * width, 0.18 * height, 0.23 * width, 0.75 * height), fill=(60, 60, 60))
    grain = np.random.default_rng(7).normal(0, 3, (height, width, 1))
    return np.clip(np.asarray(canvas) + grain, 0, 255).astype(np.uint8)


def _draw_noise(scene: Scene, _truth: Truth, t_s: float) -> Image:
    grain = np.random.default_rng((scene.seed, round(t_s * 1000))).normal(0, 12, scene.ground.shape)
    return np.clip(scene.ground * 0.25 + grain, 0, 255).astype(np.uint8)


def _draw_cut(scene: Scene, truth: Truth, _t_s: float) -> Image:
    random = np.random.default_rng((scene.seed, truth.shot))
    tiles = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.array(Pillow.fromarray(tiles).resize((scene.width, scene.height), Pillow.Resampling.BICUBIC))


def _draw_covered(scene: Scene, truth: Truth, _t_s: float) -> Image:
    return np.full_like(scene.ground, 6) if truth.covered else scene.ground.copy()


SCENES: Mapping[str, _Play] = {
    "yard": _Play(_yard_truth, _draw_yard),
    "static": _Play(lambda _t_s: Truth(), lambda scene, _truth, _t_s: scene.ground.copy()),
    "noise": _Play(lambda _t_s: Truth(), _draw_noise),
    "cuts": _Play(lambda t_s: Truth(shot=int(t_s // _SHOT_S)), _draw_cut),
    "covered": _Play(lambda t_s: Truth(covered=t_s % _COVERED_CYCLE_S >= _COVERED_CYCLE_S / 2), _draw_covered),
}
