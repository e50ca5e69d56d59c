"""
What the next engine step does: a pure decision over what waits.

Frames first and fairly (the camera served longest ago goes first), questions interleaved so that neither starves: every
step that carries frames also advances every running answer by a few tokens and starts at most one waiting question.
Nothing queues but questions, and those are bounded. A background question (a note) is read only in steps that have
neither a frame nor another question, one at a time, in pieces so short that a frame hardly waits for them; it is
cancelled when another needs its place.

A frame's deadline is kept by keeping steps short: it waits at most for the step in flight and then takes one, so a step
gets no more frames than fit into `step_ms`. When not every camera can be served in time, those that were left out go
first next time, and what their mailboxes replaced meanwhile lowers the rate of all of them alike; nothing is caught up.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .admission import Cost, Load
from .types import Ask, Check, Frame, StepPlan


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """
    max_frames: frames in one step. step_ms: what a step's frames should take; half of the time from a frame to its
    decision. max_running, max_waiting: questions being answered, questions queued.
    decode_tokens_busy, decode_tokens_idle: tokens that each running answer gets in a step with and without frames.
    decode_tokens_background: those of a background question in a step of its own; a frame may wait for that long.
    """

    max_frames: int = 16
    step_ms: float = 250.0
    max_running: int = 8
    max_waiting: int = 64
    decode_tokens_busy: int = 4
    decode_tokens_idle: int = 8
    decode_tokens_background: int = 1


class Scheduler:
    """
    Holds the questions and the order of service; frames stay in their mailboxes until a plan names their camera.

    The way of a step: `choose` cameras with a waiting frame, take those frames, `plan`, run it, `finished` the answers
    that ended.
    """

    def __init__(self, settings: SchedulerSettings | None = None) -> None:
        self._settings = settings or SchedulerSettings()
        self._served: OrderedDict[str, None] = OrderedDict()  # cameras, served longest ago first
        self._waiting: deque[Ask] = deque()
        self._behind: deque[Ask] = deque()  # background questions that wait
        self._running: dict[str, Ask] = {}
        self._cancel: set[str] = set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> Mapping[str, Ask]:
        return self._running

    @property
    def asks_pending(self) -> bool:
        """Is there anything to do without a frame?"""
        return bool(self._waiting or self._behind or self._running or self._cancel)

    def ask(self, ask: Ask) -> bool:
        """Queue a question; False when the queue is full or the question is known already."""
        queue = self._behind if ask.background else self._waiting
        if ask.id in self._running or any(ask.id == other.id for other in queue):
            return False
        if len(queue) >= self._settings.max_waiting:
            return False
        queue.append(ask)
        return True

    def cancel(self, ask: str) -> Ask | None:
        """
        Stop a question. Returns it when it had not started, so that the caller closes it; a running one ends in the
        next step with its own AnswerDelta.
        """
        for waiting in self._waiting:
            if waiting.id == ask:
                self._waiting.remove(waiting)
                return waiting
        if ask in self._running:
            self._cancel.add(ask)
        return None

    def drop_camera(self, camera: str) -> list[Ask]:
        """Forget a camera; its questions, waiting and running, come back to be closed by the caller."""
        self._served.pop(camera, None)
        gone = [ask for ask in (*self._waiting, *self._behind, *self._running.values()) if ask.camera == camera]
        self._waiting = deque(ask for ask in self._waiting if ask.camera != camera)
        self._behind = deque(ask for ask in self._behind if ask.camera != camera)
        for ask in gone:
            self._running.pop(ask.id, None)
            self._cancel.discard(ask.id)
        return gone

    def choose(
        self, cameras: Collection[str], *, cost: Cost | None = None, loads: Mapping[str, Load] | None = None
    ) -> list[str]:
        """
        Of the cameras with a waiting frame, those to serve now, served longest ago first. Mutates the order.

        cost, loads: what steps cost and what a frame of each camera weighs, where that is known; then no more are
        chosen than fit into `step_ms`, but one.
        """
        waiting = set(cameras)
        new = [camera for camera in cameras if camera not in self._served]
        order = new + [camera for camera in self._served if camera in waiting]
        chosen = order[: self._settings.max_frames]
        if cost is not None and loads is not None:
            takes_ms = itertools.accumulate((cost.frame_ms(loads[camera]) for camera in chosen), initial=cost.step_ms)
            next(takes_ms)
            chosen = [
                camera
                for place, (camera, ms) in enumerate(zip(chosen, takes_ms, strict=True))
                if place == 0 or ms <= self._settings.step_ms
            ]
        for camera in chosen:
            self._served[camera] = None
            self._served.move_to_end(camera)
        return chosen

    def plan(self, frames: tuple[Frame, ...], checks: tuple[Check, ...] = ()) -> StepPlan:
        """
        The whole step: the given frames and checks (at most one of each a camera), with the questions' share added.

        Mutates: moves at most one waiting question to running (any number while no frame is due).
        """
        settings = self._settings
        busy = bool(frames)
        if self._waiting and len(self._going()) >= settings.max_running:
            self._cancel.update(ask.id for ask in self._going() if ask.background)
        going, cancel = self._going(), tuple(self._cancel)
        self._cancel.clear()
        room = settings.max_running - len(going)
        start: list[Ask] = []
        while self._waiting and len(start) < min(room, 1 if busy else settings.max_running):
            start.append(self._waiting.popleft())
        advance = [ask for ask in going if not ask.background]
        tokens = settings.decode_tokens_busy if busy else settings.decode_tokens_idle
        if not (busy or start or advance or checks):
            advance, tokens = going, settings.decode_tokens_background
            if self._behind and not going:
                start.append(self._behind.popleft())
        self._running |= {ask.id: ask for ask in start}
        return StepPlan(
            frames=frames,
            checks=checks,
            start=tuple(start),
            advance=tuple(ask.id for ask in advance),
            cancel=cancel,
            decode_tokens=tokens,
        )

    def finished(self, ask: str) -> None:
        """The answer has ended, in whatever way."""
        self._running.pop(ask, None)
        self._cancel.discard(ask)

    def _going(self) -> list[Ask]:
        """The running questions but those about to be cancelled, whose place is free in the next step."""
        return [ask for ask in self._running.values() if ask.id not in self._cancel]
