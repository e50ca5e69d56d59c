"""
`synthetic:yard?fps=10&size=448x336&seed=1`: scenes of the pocket world, live or as a video file, whose truth is known.

`yard` is always the same half minute; `synthetic:pocket?seed=3&pace=busy&lens=noisy&mirror=1` never repeats. A scene is
a pure function of the time since it began, so the same second always shows the same picture.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image as Pillow

from streaming.pocket.chapters import CHAPTER_S, Serial
from streaming.pocket.lens import LENSES, Lens
from streaming.pocket.script import PACES, Layout, Script, mirrored, yard
from streaming.pocket.types import Event, Truth
from streaming.pocket.world import World

from ..clock import NS_PER_S
from ..types import Image
from .address import choice, flag, number, parse_local
from .base import Opening, Picture, Rendered
from .errors import SourceRefused
from .timing import Pacer

SCHEMES = ("synthetic",)

YARD_CYCLE_S = 30.0
COVERED_CYCLE_S = 20.0  # the second half of it is covered
SHOT_S = 4.0  # from cut to cut
MAX_SIDE_PX = 2048

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_NOISE = Lens(noise=12.0, gain=0.25)
_ALWAYS = ("fps", "seed", "size")


@dataclass(frozen=True, slots=True)
class Scene:
    """
    One scene at one size. `render` allocates uint8 [height, width, 3]; `truth` tells what that picture shows.

    Args:
        name: a key of SCENES.
        width, height: pixels.
        seed: varies the noise, of `pocket` the course of events too, of `cuts` the pictures.
        pace: how much happens in `pocket`, a key of PACES.
        lens: what the camera does to the picture; None: what belongs to the scene.
        mirror: left is right.
    Raises: ValueError: no such scene or pace.
    """

    name: str
    width: int = 448
    height: int = 336
    seed: int = 0
    pace: str = "normal"
    lens: Lens | None = None
    mirror: bool = False
    _still: Script = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name not in SCENES:
            raise ValueError(f"no scene {self.name!r}; there are {', '.join(SCENES)}")
        if self.pace not in PACES:
            raise ValueError(f"no pace {self.pace!r}; there are {', '.join(PACES)}")
        script = SCENES[self.name].script()
        object.__setattr__(self, "_still", mirrored(script) if self.mirror else script)

    def render(self, t_s: float) -> Image:
        """The picture `t_s` seconds after the beginning; about 1 ms."""
        draw = SCENES[self.name].draw
        return self.world(t_s).render(t_s) if draw is None else draw(self, t_s)

    def truth(self, t_s: float) -> Truth:
        """What is to be seen `t_s` seconds after the beginning; nothing of the world in `cuts` and under a cover."""
        return self.world(t_s).truth(t_s)

    def events(self, begin_s: float, end_s: float) -> Iterator[Event]:
        """What changes from `begin_s` up to, not including, `end_s`; in the order of time."""
        round_s = CHAPTER_S if self.name == "pocket" else self._still.seconds
        for index in range(max(0, int(begin_s // round_s) - 1), int(end_s // round_s) + 1):
            script = self.script(index * round_s)
            late_s = index * round_s if script.again else 0.0
            for event in script.events():
                if begin_s <= event.t_s + late_s < end_s:
                    yield replace(event, t_s=event.t_s + late_s)

    def script(self, t_s: float) -> Script:
        """Who comes and goes around that time."""
        return Serial(self.seed, self.pace, self.mirror).script(t_s) if self.name == "pocket" else self._still

    def world(self, t_s: float) -> World:
        """The world that is drawn then."""
        lens = self.lens or SCENES[self.name].lens
        return World(self.script(t_s), lens, self.width, self.height, self.seed)


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
    told: Callable[[float], None] | None = None,
) -> None:
    """
    Write a scene as a video file.

    seconds: its length.  start_s: where in the scene it begins.  gop: frames from key frame to key frame.
    codec: any encoder of FFmpeg that takes yuv420p (or mjpeg).  container_format: by the file's name if None.
    told: called with the time in the scene of every picture written, in seconds.
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
            t_s = start_s + index / fps
            container.mux(stream.encode(VideoFrame.from_ndarray(scene.render(t_s), format="rgb24")))
            if told is not None:
                told(t_s)
        container.mux(stream.encode(None))


class SyntheticSource:
    """A scene that plays live, drawn only where a picture is used."""

    def __init__(self, url: str, opening: Opening) -> None:
        local = parse_local(url, known={*_ALWAYS, "pace", "lens", "mirror"})
        if local.name not in SCENES:
            raise SourceRefused(f"no synthetic scene {local.name!r}; there are {', '.join(SCENES)}")
        takes = (*_ALWAYS, *SCENES[local.name].takes)
        if idle := sorted(local.options.keys() - takes):
            raise SourceRefused(f"scene {local.name} takes no option {idle[0]!r}; it takes {', '.join(takes)}")
        width, height = read_size(local.options.get("size", "448x336"))
        self._fps = number(local.options, "fps", 10.0, least=0.1, most=opening.limits.max_input_fps)
        self._scene = Scene(
            local.name,
            width,
            height,
            seed=int(number(local.options, "seed", 0, least=0, most=2**31)),
            pace=choice(local.options, "pace", "normal", among=PACES),
            lens=LENSES[choice(local.options, "lens", "clean", among=LENSES)] if "lens" in local.options else None,
            mirror=flag(local.options, "mirror"),
        )
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


def read_size(text: str) -> tuple[int, int]:
    """(width, height) of "448x336". Raises: SourceRefused: written otherwise, or a side that is not drawn."""
    size = _SIZE.fullmatch(text)
    if size is None or not all(64 <= int(side) <= MAX_SIDE_PX for side in size.groups()):
        raise SourceRefused(f"option size must look like 448x336, each side 64 to {MAX_SIDE_PX}, not {text!r}")
    return int(size[1]), int(size[2])


# --- the scenes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Play:
    """
    script: who comes and goes, unless the scene writes it as it goes. lens: its camera. takes: options of its own.
    draw: the picture at a time, where it is not the world's.
    """

    script: Callable[[], Script]
    lens: Lens = field(default_factory=Lens)
    takes: tuple[str, ...] = ()
    draw: Callable[[Scene, float], Image] | None = None


def _nobody() -> Script:
    return Script(YARD_CYCLE_S, Layout(), (), again=True)


def _cut(scene: Scene, t_s: float) -> Image:
    """Another picture from shot to shot; none has anything in common with the one before."""
    random = np.random.default_rng((scene.seed, int(t_s // SHOT_S)))
    tiles = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.array(Pillow.fromarray(tiles).resize((scene.width, scene.height), Pillow.Resampling.BICUBIC))


def _covered(scene: Scene, t_s: float) -> Image:
    if t_s % COVERED_CYCLE_S >= COVERED_CYCLE_S / 2:
        return np.full((scene.height, scene.width, 3), 6, np.uint8)
    return scene.world(t_s).render(t_s)


SCENES: Mapping[str, _Play] = {
    "yard": _Play(yard, takes=("lens", "mirror")),
    "pocket": _Play(_nobody, takes=("pace", "lens", "mirror")),
    "static": _Play(_nobody, takes=("lens", "mirror")),
    "noise": _Play(_nobody, lens=_NOISE),
    "cuts": _Play(_nobody, draw=_cut),
    "covered": _Play(_nobody, draw=_covered),
}
