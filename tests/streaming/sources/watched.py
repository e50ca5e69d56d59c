"""A capture whose statuses and frames a test can wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from streaming.clock import SystemClock
from streaming.mailbox import Mailbox
from streaming.sources import Capture, Limits, Status
from streaming.types import CameraState, Frame

from .media import QUICK


class Watched:
    """Runs a capture, keeps all it says; `until` waits for a condition, at most a given time."""

    def __init__(
        self, url: str, fps: float = 10.0, *, limits: Limits = QUICK, media_dir: Path | None = None, keep: bool = True
    ) -> None:
        """keep: hold on to every frame; False counts them only, for tests of memory."""
        self.statuses: list[Status] = []
        self.frames: list[Frame] = []
        self._news = threading.Condition()
        self._keep = keep
        self._mailbox = Mailbox()
        self.capture = Capture(
            "cam",
            url,
            fps,
            limits=limits,
            media_dir=media_dir,
            mailbox=self._mailbox,
            clock=SystemClock(),
            on_status=self._on_status,
            on_frame=self._on_frame,
        )

    @property
    def states(self) -> list[CameraState]:
        """Every state entered, without repetition of the same one for another reason."""
        states = [status.state for status in self.statuses]
        return [state for index, state in enumerate(states) if index == 0 or states[index - 1] is not state]

    def until(self, what: Callable[[], bool], within_s: float = 15.0) -> None:
        deadline = time.monotonic() + within_s
        with self._news:
            while not what():  # counters change without news, so look now and then too
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"waited {within_s} s; {self.capture.counters}; {self.statuses}"
                self._news.wait(min(left_s, 0.05))

    def until_state(self, state: CameraState, within_s: float = 15.0) -> Status:
        """Wait until this is the newest state."""
        self.until(lambda: bool(self.statuses) and self.statuses[-1].state is state, within_s)
        return self.statuses[-1]

    def until_frames(self, more: int, within_s: float = 15.0) -> list[Frame]:
        """Wait for so many frames more; they alone."""
        have = len(self.frames)
        self.until(lambda: len(self.frames) >= have + more, within_s)
        return self.frames[have:]

    def __enter__(self) -> Watched:
        self.capture.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        began = time.monotonic()
        self.capture.stop()
        assert time.monotonic() - began < 2.3, "stop must return within 2 s"

    def _on_status(self, status: Status) -> None:
        with self._news:
            self.statuses.append(status)
            self._news.notify_all()

    def _on_frame(self) -> None:
        frame = self._mailbox.take()
        assert frame is not None
        with self._news:
            if self._keep:
                self.frames.append(frame)
            self._news.notify_all()
