"""
What the cameras of a benchmark see: clips sampled to a rate and kept, so that what is measured is the engine alone.

Cameras share the pictures and differ in where in the endless loop they begin.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import numpy as np
from PIL import Image as Picture

from daemon.errors import DaemonError
from streaming.types import Frame, Image

from ._clips import Clip, generate_clips, pictures, read_clips

START_NS: Final = 1_790_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Footage:
    """One clip as a camera would sample it. images: uint8 [height, width, 3], read-only, `fps` of them a second."""

    name: str
    fps: float
    images: Sequence[Image] = field(repr=False)

    def frame(self, camera: str, seq: int, *, begin: int = 0) -> Frame:
        """The camera's frame of that number, when it began at picture `begin` of the endless loop."""
        pts_ns = START_NS + round(seq * 1e9 / self.fps)
        return Frame(camera, seq, pts_ns, pts_ns, self.images[(begin + seq) % len(self.images)])


def footage(clips: Path | None, *, fps: float, seconds: float, long_side_px: int) -> list[Footage]:
    """
    Every clip of the folder, or generated ones without one: up to `seconds` of each.

    Blocks while it decodes. Raises: DaemonError: not a folder of clips, or a clip that cannot be read.
    """
    if clips is not None:
        return [_sampled(clip, fps, seconds, long_side_px) for clip in read_clips(clips)]
    with tempfile.TemporaryDirectory(prefix="vigild-clips-") as folder:
        return [_sampled(clip, fps, seconds, long_side_px) for clip in generate_clips(Path(folder), seconds=seconds)]


def longest(clips: Path | None, *, fps: float, seconds: float, long_side_px: int) -> Footage:
    """Of the clips of fixed cameras the longest, up to `seconds` of it. Blocks and raises as `footage`."""
    if clips is None:
        return footage(None, fps=fps, seconds=seconds, long_side_px=long_side_px)[0]
    fixed = [clip for clip in read_clips(clips) if clip.fixed] or read_clips(clips)
    chosen = max(fixed, key=lambda clip: max((event.end_s for event in clip.events), default=0.0))
    return _sampled(chosen, fps, seconds, long_side_px)


def _sampled(clip: Clip, fps: float, seconds: float, long_side_px: int) -> Footage:
    try:
        images = list(_scaled(clip.path, fps, seconds, long_side_px))
    except av.FFmpegError as error:
        raise DaemonError(f"the clip {clip.path.name} cannot be read: {error}") from error
    if not images:
        raise DaemonError(f"the clip {clip.path.name} holds no picture")
    return Footage(clip.name, fps, images)


def _scaled(path: Path, fps: float, seconds: float, long_side_px: int) -> Iterator[Image]:
    """The clip's pictures, no larger than the encoder takes them: hundreds of cameras fit into memory."""
    for t_s, image in pictures(path, fps=fps):
        if t_s >= seconds:
            return
        height, width = image.shape[:2]
        scale = min(1.0, long_side_px / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.array(Picture.fromarray(image).resize(size, Picture.Resampling.BOX), np.uint8)
        small.flags.writeable = False
        yield small
