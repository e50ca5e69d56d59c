"""From an open container to pictures: `live` as they come and never behind, `Playback` at the recording's speed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.error
from av.video.frame import VideoFrame

from ..clock import NS_PER_S, Clock
from .base import Limits, Picture
from .errors import SourceEnded, SourceLost, SourceRefused
from .ffmpeg import Convert, Decoded, Opened, Target, check_size, pts_ns
from .redact import redact
from .timing import Backlog, Pacer, PtsMap, Verdict


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read works with; `closing` ends it from any thread."""

    target: Target
    limits: Limits
    clock: Clock
    closing: threading.Event


def live(source: Opened, reading: Reading) -> Iterator[Picture]:
    """
    Yield every picture of a source that goes on whether or not anyone looks; blocks in reads of at most the time-out.

    Reads without decoding to catch up when it is more than `max_lag_s` behind.

    Raises: SourceLost: the connection ended, fell silent, or delivers nothing that decodes. SourceRefused: too large.
    """
    limits, clock = reading.limits, reading.clock
    shown = redact(reading.target.shown)
    convert = Convert(limits.convert_max_pixels)
    decoder = _Decoder(source, limits, shown)
    times = PtsMap()
    backlog = Backlog(max_lag_s=limits.max_lag_s)
    dropped = 0
    timestamps = source.container.format.name not in WITHOUT_PTS
    silent_since_ns = ready_ns = clock.monotonic_ns()
    for packet in source.container.demux():
        if reading.closing.is_set():
            return
        now_ns = clock.monotonic_ns()
        if now_ns - silent_since_ns > limits.read_timeout_s * NS_PER_S:
            why = f", though it sends: {decoder.suspicion}" if decoder.broken else ""
            raise SourceLost(f"{shown} sent no picture for {limits.read_timeout_s:g} s{why}")
        if packet.stream_index != source.stream.index or not packet.size:
            continue
        age_ns = times.observe(_packet_ns(packet) if timestamps else None, now_ns, waited_ns=now_ns - ready_ns)
        verdict = backlog.packet(age_ns, now_ns, keyframe=packet.is_keyframe)
        if verdict is Verdict.DROP:
            silent_since_ns = now_ns  # catching up is life too; Backlog bounds it
            ready_ns = clock.monotonic_ns()
            continue
        if verdict is Verdict.RECONNECT:
            raise SourceLost(f"{shown} is {age_ns / NS_PER_S:.1f} s behind and sends no key frame; reconnecting")
        if verdict is Verdict.RESTART:
            times.restart()
        for frame in decoder.decode(packet):
            pts = pts_ns(frame) if timestamps else None
            skipped, dropped = backlog.dropped - dropped, backlog.dropped
            yield Decoded(pts, frame, convert, times.age_ns(pts, now_ns), skipped)
            silent_since_ns = clock.monotonic_ns()  # whoever took the picture may have taken its time
        ready_ns = clock.monotonic_ns()
    raise SourceLost(f"{shown}: the far side closed the connection")


class Playback:
    """
    Plays a recording once or many times over at its own speed; media time goes on over the seam. Nobody waits for the
    next picture of a time lapse: what is more than ten seconds later is shown at once.

    The end of a pass is where its last picture's time is over, so a loop shows every picture as long as the file says.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._pacer = Pacer()
        self._end_ns = 0

    def once(self, source: Opened) -> Iterator[Picture]:
        """
        Yield each picture when it is due.

        Raises: SourceRefused: nothing in it decodes, or it is too large. SourceEnded: it stops well before its stated
        end. SourceLost: a remote recording broke off.
        """
        reading, limits = self._reading, self._reading.limits
        shown = redact(reading.target.shown)
        convert = Convert(limits.convert_max_pixels)
        decoder = _Decoder(source, limits, shown)
        step_ns = _step_ns(source)
        base_ns = self._end_ns
        first_ns: int | None = None
        for packet in source.container.demux():
            if reading.closing.is_set():
                return
            if packet.stream_index != source.stream.index:
                continue
            for frame in decoder.decode(packet):
                pts = pts_ns(frame)
                if pts is None:
                    at_ns = self._end_ns
                else:
                    first_ns = pts if first_ns is None else first_ns
                    at_ns = base_ns + pts - first_ns
                self._end_ns = at_ns + step_ns
                wait_ns = self._pacer.wait_ns(at_ns, reading.clock.monotonic_ns())
                if reading.closing.wait(wait_ns / NS_PER_S):
                    return
                yield Decoded(at_ns, frame, convert)
        if not decoder.pictures:
            raise SourceRefused(f"{shown}: no picture in it can be decoded; {decoder.suspicion}")
        spent_s = (self._end_ns - base_ns) / NS_PER_S
        stated_s = (source.container.duration or 0) / av.time_base
        if spent_s < stated_s * 0.95 - 1.0:
            raise SourceEnded(f"{shown} is truncated: it ends after {spent_s:.1f} of {stated_s:.1f} s")


# mpjpeg and mjpeg make timestamps up from an assumed frame rate: worse than the time of arrival
WITHOUT_PTS = frozenset({"mjpeg", "mpjpeg"})


class _Decoder:
    """Decodes packets of one stream, forgiving single broken ones."""

    def __init__(self, source: Opened, limits: Limits, shown: str) -> None:
        self._codec = source.stream.codec_context
        self._limits = limits
        self._shown = shown
        self.broken = 0  # packets in a row
        self.pictures = 0

    @property
    def suspicion(self) -> str:
        """Why packets may not decode, as far as the decoder knows."""
        too_large = f"larger than the limit of {self._limits.max_pixels / 1e6:.1f} megapixels"
        if self._codec.width:
            return f"it is damaged, its codec changed, or its pictures are {too_large} now"
        return f"it is damaged, truncated, or {too_large}"

    def decode(self, packet: Any) -> Iterator[VideoFrame]:
        """
        Decode one packet to zero or more frames; the packet without data at the end flushes.

        Raises: SourceRefused: the pictures are too large. SourceLost: too many broken packets in a row.
        """
        try:
            frames = packet.decode()
        except (av.error.EOFError, StopIteration):
            return  # flushed already
        except av.error.FFmpegError as error:
            check_size(self._codec.width, self._codec.height, self._limits)
            self.broken += 1
            if self.broken >= self._limits.max_decode_errors:
                raise SourceLost(
                    f"{self._shown}: {self.broken} packets in a row cannot be decoded; {self.suspicion}"
                ) from error
            return
        for frame in frames:
            check_size(frame.width, frame.height, self._limits)
            self.broken = 0
            self.pictures += 1
            yield frame


def _packet_ns(packet: Any) -> int | None:
    """Decode time where there is one, because it never goes back under B-frames; else presentation time."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    if ticks is None or packet.time_base is None:
        return None
    return int(ticks * packet.time_base.numerator * NS_PER_S // packet.time_base.denominator)


def _step_ns(source: Opened) -> int:
    """How long a picture lasts: as the rate says, where it is believable (one in five minutes is), else 1/25 s."""
    rate = source.stream.average_rate or source.stream.guessed_rate
    fps = float(rate) if rate else 25.0
    return round(NS_PER_S / (fps if 1 / 300 <= fps <= 240 else 25.0))
