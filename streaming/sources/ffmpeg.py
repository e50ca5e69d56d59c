"""
One way into FFmpeg for every kind of source: bounded, allow-listed, and with errors that a person understands.

Decoding runs on the caller's thread alone (no codec threads: many cameras share few cores), and only what is asked for
is converted to RGB. Colour conversion and scaling down are one pass.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..clock import NS_PER_S
from ..types import Image
from .base import Limits
from .errors import SourceError, SourceLost, SourceRefused
from .redact import redact


@dataclass(frozen=True, slots=True)
class Target:
    """
    What to open and what FFmpeg may touch for it.

    url: as FFmpeg takes it.  shown: as a person wrote it.
    protocols: FFmpeg protocols that may be used, redirects and playlists included.
    formats: container formats that may be read; None for any.
    remote: whether the far side is a network, so that a failure may pass by itself.
    """

    url: str
    shown: str
    protocols: tuple[str, ...]
    formats: tuple[str, ...] | None = None
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    remote: bool = True


@dataclass(frozen=True, slots=True)
class Opened:
    """An open container and the one video stream in it that is read."""

    container: InputContainer
    stream: VideoStream


@contextmanager
def opened(target: Target, limits: Limits) -> Iterator[Opened]:
    """
    Open a container and its best video stream; closes both. Blocks for up to `open_timeout_s`.

    Every read of the container is interrupted after `read_timeout_s`.

    Raises: SourceError.
    """
    try:
        container = av.open(
            target.url,
            format=target.format,
            options=_options(target, limits),
            timeout=(limits.open_timeout_s, limits.read_timeout_s),
        )
    except UnicodeDecodeError as error:
        raise SourceRefused(f"{redact(target.shown)}: its metadata is not text; it is damaged") from error
    except av.error.FFmpegError as error:
        raise explain(error, target, limits) from error
    try:
        yield Opened(container, _video(container, target, limits))
    except av.error.FFmpegError as error:
        raise explain(error, target, limits, while_reading=True) from error
    finally:
        container.close()


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded picture that keeps its pixels as the decoder left them until `image()` is called."""

    pts_ns: int | None
    frame: VideoFrame = field(repr=False, compare=False)
    convert: Convert = field(repr=False, compare=False)
    age_ns: int = 0
    skipped: int = 0

    @property
    def keyframe(self) -> bool:
        return bool(self.frame.key_frame)

    @property
    def size(self) -> tuple[int, int]:
        return self.frame.width, self.frame.height

    def image(self) -> Image:
        return self.convert(self.frame)


class Convert:
    """Decoder pixels to RGB of bounded size; keeps its scaler between calls. One thread."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Image:
        """Returns: uint8 [height, width, 3], newly allocated, turned upright where the file says how."""
        width, height = fit(frame.width, frame.height, self._max_pixels)
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
        image = cast("Image", rgb.to_ndarray())
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def fit(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """The largest even size of the same shape within max_pixels; unchanged when it fits already."""
    if width * height <= max_pixels:
        return width, height
    scale = math.sqrt(max_pixels / (width * height))
    even_width, even_height = (max(2, int(side * scale) // 2 * 2) for side in (width, height))
    return min(even_width, max_pixels // 2), min(even_height, max(2, max_pixels // even_width))


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises: SourceRefused: the picture has more than max_pixels."""
    if width * height > limits.max_pixels:
        raise SourceRefused(
            f"its pictures are {width}x{height}; the limit is {limits.max_pixels / 1e6:.1f} megapixels (max_pixels)"
        )


def pts_ns(frame: VideoFrame) -> int | None:
    """A frame's presentation time in nanoseconds, or None."""
    if frame.pts is None or frame.time_base is None:
        return None
    base = frame.time_base
    return int(frame.pts * base.numerator * NS_PER_S // base.denominator)


def explain(error: av.error.FFmpegError, target: Target, limits: Limits, *, while_reading: bool = False) -> SourceError:
    """Turn an FFmpeg error into one sentence, and into whether a person must act."""
    shown = redact(target.shown)
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return SourceRefused(f"{shown} refuses the user name or password (401)")
    if isinstance(error, av.error.HTTPForbiddenError):
        return SourceRefused(f"{shown} refuses access (403)")
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceLost(f"{shown}: the server answers but has no such stream (404)")
    if isinstance(error, av.error.HTTPClientError | av.error.HTTPError):
        return SourceLost(f"{shown}: the server answers with an error ({error.strerror})")
    if isinstance(error, av.error.ExitError) or error.errno == errno.ETIMEDOUT:
        if while_reading:
            return SourceLost(f"{shown} sent no picture for {limits.read_timeout_s:g} s")
        return SourceLost(f"{shown} did not answer with video within {limits.open_timeout_s:g} s")
    if error.errno == errno.ECONNREFUSED:
        return SourceLost(f"{shown}: nothing listens there (connection refused)")
    if error.errno in _UNREACHABLE:
        return SourceLost(f"{shown} is unreachable ({error.strerror})")
    if while_reading and target.remote:
        return SourceLost(f"{shown}: the connection broke ({error.strerror})")
    if target.remote and error.errno in {errno.EIO, errno.EPIPE, errno.ECONNRESET}:
        return SourceLost(f"{shown}: the host name is unknown or the connection broke while opening")
    if isinstance(error, av.error.FileNotFoundError):
        return SourceRefused(f"{shown} does not exist")
    if isinstance(error, av.error.PermissionError):
        return SourceRefused(f"{shown} may not be read by this user")
    if isinstance(error, av.error.DecoderNotFoundError):
        return SourceRefused(f"{shown}: no decoder for its codec")
    if isinstance(error, av.error.InvalidDataError) and target.format == "rtsp":
        return SourceLost(f"{shown} answers, but not with RTSP video")
    if isinstance(error, av.error.InvalidDataError):
        return SourceRefused(f"{shown} is not a video, or is damaged or truncated")
    if error.errno == errno.EINVAL:
        return SourceRefused(
            f"{shown} is not a video of a permitted format, or leads to a protocol that is not permitted"
        )
    kind = SourceLost if target.remote else SourceRefused
    return kind(f"{shown} cannot be opened ({error.strerror})")


_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL})


# FFmpeg's defaults watch a stream for up to 5 s to guess its frame rate, which nothing here needs
_QUICK = {"fpsprobesize": "0", "analyzeduration": "1000000"}


def _options(target: Target, limits: Limits) -> dict[str, str]:
    options = {
        "protocol_whitelist": ",".join(target.protocols),
        "max_pixels": str(limits.max_pixels),  # reaches the decoders that FFmpeg opens to learn the format
        "threads": "1",
        **(_QUICK if target.remote else {}),
        **target.options,
    }
    if target.formats is not None:
        options["format_whitelist"] = ",".join(target.formats)
    return options


def _video(container: InputContainer, target: Target, limits: Limits) -> VideoStream:
    shown = redact(target.shown)
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams if stream not in container.streams.video})
        has = f"only {' and '.join(kinds)}" if kinds else "nothing readable"
        raise SourceRefused(f"{shown} has no video in it, {has}")
    best = container.streams.best("video")
    stream: VideoStream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    codec = stream.codec_context
    if codec is None:
        raise SourceRefused(f"{shown}: no decoder for its codec")
    check_size(codec.width, codec.height, limits)
    codec.thread_count = 1
    codec.thread_type = "NONE"
    codec.options = {**codec.options, "max_pixels": str(limits.max_pixels)}
    return stream


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)
