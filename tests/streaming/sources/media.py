"""Good and bad video files for the tests of sources, made in code."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image as Pillow

from streaming.sources import Limits
from streaming.sources.synthetic import Scene, render_file

QUICK = Limits(
    open_timeout_s=3, read_timeout_s=1.5, stale_s=0.5, retry_first_s=0.05, retry_max_s=0.2, retry_failed_s=0.3
)


def video(path: Path, *, seconds: float = 1.0, fps: float = 10, size: tuple[int, int] = (160, 120), **how) -> Path:
    """A few seconds of the yard, from where a person is on the way."""
    render_file(path, Scene("yard", *size), seconds=seconds, fps=fps, start_s=how.pop("start_s", 6.0), **how)
    return path


def sound(path: Path) -> Path:
    """A file with an audio track and nothing else."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, index * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def huge_jpegs(path: Path) -> Path:
    """Motion JPEG whose headers say 16384x16384, in a few kilobytes."""
    small = io.BytesIO()
    Pillow.new("RGB", (64, 64), (90, 90, 90)).save(small, "JPEG")
    data = bytearray(small.getvalue())
    at = data.index(b"\xff\xc0") + 5  # SOF0: length 2, precision 1, height 2, width 2
    data[at : at + 4] = (16384).to_bytes(2, "big") * 2
    path.write_bytes(bytes(data) * 5)
    return path


def joined(path: Path, *parts: Path) -> Path:
    """MPEG-TS files one after the other, as a stream whose size or codec changes midway."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def truncated(path: Path, whole: Path, share: float) -> Path:
    """The first part of a file."""
    data = whole.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def shifted(path: Path, whole: Path, shift_s: float) -> Path:
    """The same MPEG-TS with all its timestamps moved."""
    with av.open(str(whole)) as source, av.open(str(path), "w", format="mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            move = round(Fraction(shift_s) / packet.time_base)
            packet.pts, packet.dts = packet.pts + move, packet.dts + move
            packet.stream = stream
            target.mux(packet)
    return path
