"""
Keeps one camera running for ever: open, decode, sample, hand over; and again, whatever happens to the connection.

Two threads a camera. The *capture* thread owns the decoder and may be blocked inside FFmpeg for as long as the
time-outs allow. The *watch* thread never blocks: it notices that no picture comes while the other cannot.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..clock import NS_PER_S, Clock
from ..mailbox import Mailbox
from ..privacy import Privacy
from ..types import Frame, Polygon
from .base import Limits, Picture, Source
from .errors import SourceEnded, SourceError, SourceRefused
from .health import Change, Health, Status
from .redact import redact
from .registry import open_source
from .timing import Backoff, BackoffSettings, Rate, Sampler

log = logging.getLogger(__name__)

_SETTLED_NS = 5 * NS_PER_S  # a connection that gave pictures this long was a good one: the next loss starts over


@dataclass(frozen=True, slots=True)
class CaptureCounters:
    """
    decoded, sampled: pictures since the start.  skipped: passed over undecoded, to catch up.
    connections: openings that gave a picture.  failures: attempts that ended in an error.
    fps_in: pictures a second that the source sends, 0 while unknown.  width, height: of the newest picture.
    """

    decoded: int = 0
    sampled: int = 0
    skipped: int = 0
    connections: int = 0
    failures: int = 0
    fps_in: float = 0.0
    width: int = 0
    height: int = 0


class Capture:
    """
    Runs one source and puts frames, sampled to `fps`, into `mailbox`.

    masks: what is painted over in every picture before anybody sees it.
    on_status: told every change of state, in order.  on_frame: told that the mailbox holds a new frame.
    Both run on this object's threads under its lock, one at a time: they must be quick and must not call `stop`.
    None runs after `stop` has returned.
    """

    def __init__(
        self,
        camera: str,
        url: str,
        fps: float,
        *,
        limits: Limits,
        media_dir: Path | None,
        mailbox: Mailbox,
        clock: Clock,
        on_status: Callable[[Status], None],
        on_frame: Callable[[], None],
        masks: Sequence[Polygon] = (),
        rng: random.Random | None = None,
    ) -> None:
        self._camera = camera
        self._url = url
        self._fps = fps
        self._limits = limits
        self._media_dir = media_dir
        self._mailbox = mailbox
        self._clock = clock
        self._on_status = on_status
        self._on_frame = on_frame
        self._privacy = Privacy(masks)
        rng = rng or random.Random()  # noqa: S311  (spreads load, guards nothing)
        self._lost_backoff = Backoff(BackoffSettings(limits.retry_first_s, limits.retry_max_s), rng)
        self._failed_backoff = Backoff(BackoffSettings(limits.retry_failed_s, limits.retry_failed_s), rng)
        self._lock = threading.RLock()
        self._health = Health(stale_s=limits.stale_s)
        self._counters = CaptureCounters()
        self._source: Source | None = None
        self._last_ts_ns = 0
        self._stopping = threading.Event()
        self._over = threading.Event()  # stopping, or the source ended
        self._threads = (
            threading.Thread(target=self._run, name=f"capture-{camera}", daemon=True),
            threading.Thread(target=self._watch, name=f"watch-{camera}", daemon=True),
        )

    def start(self) -> None:
        """Begin; returns at once. Raises: RuntimeError: it was started before."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """
        End it; returns within `timeout_s`. No callback runs afterwards, and the mailbox is left alone.

        A capture thread that waits, paces or decodes ends at once. One that is blocked inside FFmpeg cannot be called
        back safely; it is left to itself and ends, closing everything, when FFmpeg's own interrupt fires: after
        `open_timeout_s` or `read_timeout_s` at the latest. The threads are daemons and hold up no exit.

        Returns: True when the threads are gone.
        """
        deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self._over.set()
        with self._lock:  # whatever callback was running has returned
            if self._source is not None:
                self._source.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def counters(self) -> CaptureCounters:
        """A consistent snapshot."""
        with self._lock:
            return self._counters

    @property
    def status(self) -> Status:
        """How the camera stands now, without the reason and gap of the last change."""
        with self._lock:
            return self._status(Change(self._health.state))

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait_s = self._attempt()
            if wait_s is None:
                self._over.set()
                return
            self._stopping.wait(wait_s)

    def _attempt(self) -> float | None:
        """One connection, from opening to its end. Returns: seconds until the next one, or None when it is over."""
        try:
            source = open_source(
                self._url, fps=self._fps, limits=self._limits, media_dir=self._media_dir, clock=self._clock
            )
            with self._lock:
                self._source = source
                if self._stopping.is_set():
                    return None
            with closing(source.frames()) as frames:
                self._drain(frames)
        except SourceEnded as end:
            self._tell(partial(self._health.ended, end.reason))
            return None
        except SourceError as error:
            return self._lost(redact(error.reason), retryable=error.retryable)
        except Exception as error:  # noqa: BLE001  (a defect of ours must not end this camera without a word)
            log.error("camera %s: capture failed\n%s", self._camera, redact(traceback.format_exc()))  # noqa: TRY400
            return self._lost(f"internal error while reading ({type(error).__name__}); see the log", retryable=False)
        self._tell(self._health.ended)
        return None

    def _lost(self, reason: str, *, retryable: bool) -> float:
        with self._lock:
            self._counters = replace(self._counters, failures=self._counters.failures + 1)
            self._tell(partial(self._health.lost, reason, retryable=retryable))
        return (self._lost_backoff if retryable else self._failed_backoff).next_s()

    def _drain(self, frames: Iterable[Picture]) -> None:
        sampler, rate = Sampler(self._fps), Rate()
        began_ns: int | None = None
        for picture in frames:
            if self._stopping.is_set():
                return
            seen_ns, now_ns = self._clock.now_ns(), self._clock.monotonic_ns()
            ts_ns = self._stamp(seen_ns - picture.age_ns)
            fps_in = rate.add(ts_ns)
            if fps_in > self._limits.max_input_fps:
                raise SourceRefused(
                    f"{redact(self._url)} sends {fps_in:.0f} pictures a second, over the limit of "
                    f"{self._limits.max_input_fps:g} (max_input_fps)"
                )
            if began_ns is None:
                began_ns = now_ns
            elif now_ns - began_ns > _SETTLED_NS:
                self._lost_backoff.reset()
            self._count(picture, fps_in, first=began_ns == now_ns)
            self._tell(partial(self._health.picture, ts_ns, now_ns))
            if sampler.take(ts_ns):
                self._deliver(picture, ts_ns, seen_ns)

    def _stamp(self, ts_ns: int) -> int:
        """Keep time going forward through jitter of under a second; a greater step back is the wall clock's own."""
        if 0 <= self._last_ts_ns - ts_ns < NS_PER_S:
            ts_ns = self._last_ts_ns + 1
        self._last_ts_ns = ts_ns
        return ts_ns

    def _count(self, picture: Picture, fps_in: float, *, first: bool) -> None:
        width, height = picture.size
        with self._lock:
            count = self._counters
            self._counters = replace(
                count,
                decoded=count.decoded + 1,
                skipped=count.skipped + picture.skipped,
                connections=count.connections + first,
                fps_in=fps_in or count.fps_in,
                width=width,
                height=height,
            )

    def _deliver(self, picture: Picture, ts_ns: int, seen_ns: int) -> None:
        image = self._privacy.paint(picture.image())
        image.flags.writeable = False
        with self._lock:
            if self._stopping.is_set():
                return
            seq = self._counters.sampled
            self._counters = replace(self._counters, sampled=seq + 1)
            self._mailbox.put(Frame(self._camera, seq, ts_ns, seen_ns, image))
            self._on_frame()

    def _watch(self) -> None:
        step_s = min(1.0, self._limits.stale_s / 4)
        while not self._over.wait(step_s):
            self._tell(lambda: self._health.check(self._clock.monotonic_ns()))

    def _tell(self, decide: Callable[[], Change | None]) -> None:
        with self._lock:
            change = decide()
            if change is not None and not self._stopping.is_set():
                self._on_status(self._status(change))

    def _status(self, change: Change) -> Status:
        count = self._counters
        return Status(self._camera, change.state, change.reason, change.gap, count.fps_in, count.width, count.height)
