"""
The loop around the engine: take frames, plan a step, run it on the accelerator thread, hand the results out.

Runs on the event loop; only `Engine.step` runs on the accelerator thread, one step at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from streaming.admission import AdmissionSettings, CostMeter
from streaming.clock import Clock
from streaming.mailbox import Mailbox
from streaming.scheduler import Scheduler
from streaming.sources import luma
from streaming.types import AnswerDelta, Ask, AskStatus, Check, CheckResult, Frame, Note, StepPlan, StepResult

from .answered import answer_draft
from .scribe import as_lines
from .session import Emission, Session

CLOSED_REMEMBERED = 4096


class Steps(Protocol):
    """The part of the engine that the loop needs."""

    def step(self, plan: StepPlan) -> StepResult: ...


class Watched(Protocol):
    """What the loop needs of a camera that this worker owns."""

    @property
    def session(self) -> Session: ...
    @property
    def mailbox(self) -> Mailbox: ...
    @property
    def behind(self) -> bool: ...
    def emit(self, emission: Emission) -> None: ...


@dataclass(slots=True)
class _Progress:
    """notes: what the question was given to read; for_note: its answer is itself a note."""

    asked_ns: int
    notes: list[Note] = field(default_factory=list)
    for_note: bool = False
    first_ns: int | None = None
    text: list[str] = field(default_factory=list)


@dataclass(slots=True)
class StepCounters:
    steps: int = 0
    busy_ms: float = 0.0


class Stepper:
    """
    cameras: the cameras of this worker by id; read anew in every step.
    publish: takes one lossy message; must not block.
    new_id: a fresh id for a prefix.
    """

    def __init__(
        self,
        engine: Steps,
        scheduler: Scheduler,
        cameras: Mapping[str, Watched],
        *,
        executor: Executor,
        publish: Callable[[dict[str, Any]], None],
        new_id: Callable[[str], str],
        clock: Clock,
        admission: AdmissionSettings | None = None,
    ) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._cameras = cameras
        self._executor = executor
        self._publish = publish
        self._new_id = new_id
        self._clock = clock
        self._answers: dict[str, _Progress] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()  # answered; the store may still list them as pending
        self._wake = asyncio.Event()
        self.counters = StepCounters()
        self.cost = CostMeter(admission)

    def wake(self) -> None:
        """There may be something to do: a frame or a question. From the event loop only."""
        self._wake.set()

    async def run(self) -> None:
        """Step whenever there is something to do; cancel to stop, after the step in flight."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self.step():
                pass

    def knows(self, ask_id: str) -> bool:
        """Is the question taken up already, or answered?"""
        return ask_id in self._answers or ask_id in self._closed

    def ask(self, ask: Ask) -> None:
        """Take in a question; one that finds no room is answered `failed` at once."""
        if self.knows(ask.id):
            return
        watched = self._cameras.get(ask.camera)
        notes = [] if watched is None else watched.session.scribe.fitting(ask.text, ask.asked_ns)
        self._answers[ask.id] = _Progress(ask.asked_ns, notes)
        if not self._scheduler.ask(replace(ask, notes=as_lines(notes, ask.asked_ns))):
            self.refuse(ask, "too many questions are waiting; ask again in a moment")
        self.wake()

    def cancel(self, ask_id: str) -> None:
        waiting = self._scheduler.cancel(ask_id)
        if waiting is not None:
            self.drop(waiting)
        self.wake()

    def refuse(self, ask: Ask, reason: str) -> None:
        """Answer a question `failed` without asking the model."""
        self._close(ask, AskStatus.FAILED, reason)

    def drop(self, ask: Ask) -> None:
        """Answer `cancelled` a question that was cancelled before anyone took it up."""
        self._close(ask, AskStatus.CANCELLED, None)

    def drop_camera(self, camera: str, reason: str) -> None:
        """Close the questions of a camera that goes."""
        for ask in self._scheduler.drop_camera(camera):
            self.refuse(ask, reason)

    async def step(self) -> bool:
        """One step; False when there was nothing to do."""
        frames = self._take_frames()
        plan = self._scheduler.plan(tuple(frames.values()), self._checks(frames))
        if plan.empty:
            return False
        started = time.perf_counter()
        result = await asyncio.get_running_loop().run_in_executor(self._executor, self._engine.step, plan)
        self.counters.steps += 1
        took_ms = 1000 * (time.perf_counter() - started)
        self.counters.busy_ms += took_ms
        if result.frames:
            cells = sum(frame.hw[0] * frame.hw[1] for frame in result.frames)
            self.cost.add(took_ms, cells=cells, rules=len(result.checks))
        self._apply(frames, result)
        return True

    def _take_frames(self) -> dict[str, Frame]:
        ready = {
            camera: watched for camera, watched in self._cameras.items() if watched.mailbox.peek_pts_ns() is not None
        }
        loads = {camera: watched.session.load for camera, watched in ready.items()}
        chosen = self._scheduler.choose(ready, cost=self.cost.cost, loads=loads)
        taken = ((camera, ready[camera].mailbox.take()) for camera in chosen)
        return {camera: frame for camera, frame in taken if frame is not None}

    def _checks(self, frames: Mapping[str, Frame]) -> tuple[Check, ...]:
        found = []
        for camera, frame in frames.items():
            session = self._cameras[camera].session
            check = session.check_for(frame, luma(frame.image, masks=session.spec.masks))
            if check is not None:
                found.append(check)
        return tuple(found)

    def _apply(self, frames: Mapping[str, Frame], result: StepResult) -> None:
        now_ns = self._clock.now_ns()
        checks: dict[str, dict[str, CheckResult]] = {}
        for check in result.checks:
            checks.setdefault(check.camera, {})[check.rule] = check
        for camera, reason in result.failed:
            if (watched := self._cameras.get(camera)) is not None:
                for emission in watched.session.on_rejected(reason, now_ns):
                    watched.emit(emission)
        for done in result.frames:
            watched = self._cameras.get(done.camera)
            if watched is None:  # removed while the step ran
                continue
            emissions, lossy = watched.session.on_frame(frames[done.camera], done, checks.get(done.camera, {}), now_ns)
            for emission in emissions:
                watched.emit(emission)
            for message in lossy:
                self._publish(message)
            if not watched.behind and (ask := watched.session.note_due(now_ns)) is not None:
                self._note(ask)
        for delta in result.answers:
            self._answer(delta)

    def _note(self, ask: Ask) -> None:
        """Queue a note behind everything that somebody waits for."""
        self._answers[ask.id] = _Progress(ask.asked_ns, for_note=True)
        if not self._scheduler.ask(ask):
            self.refuse(ask, "too many notes are waiting")

    def _close(self, ask: Ask, status: AskStatus, reason: str | None) -> None:
        if ask.id in self._closed:
            return
        self._answers.setdefault(ask.id, _Progress(ask.asked_ns))
        self._answer(AnswerDelta(ask.id, ask.camera, "", status, reason=reason))

    def _answer(self, delta: AnswerDelta) -> None:
        """Pass on what an answer gained; its end is a durable event of its camera."""
        now_ns = self._clock.now_ns()
        progress = self._answers.get(delta.ask)
        if progress is None:  # closed meanwhile, as when its camera went
            return
        if progress.for_note:
            self._note_gained(delta, progress, now_ns)
            return
        if delta.output_tokens and progress.first_ns is None:
            progress.first_ns = now_ns
        if delta.text:
            progress.text.append(delta.text)
            self._publish({"topic": "delta", "camera": delta.camera, "ask": delta.ask, "text": delta.text})
        if delta.status is AskStatus.RUNNING:
            return
        del self._answers[delta.ask]
        self._closed[delta.ask] = None
        if len(self._closed) > CLOSED_REMEMBERED:
            self._closed.popitem(last=False)
        self._scheduler.finished(delta.ask)
        if (watched := self._cameras.get(delta.camera)) is not None:
            text = "".join(progress.text)
            draft = answer_draft(
                delta,
                text,
                progress.asked_ns,
                progress.first_ns,
                now_ns,
                self._new_id("e"),
                notes=progress.notes[: delta.notes_read],
                seen=watched.session.seen,
            )
            watched.emit(Emission(draft))

    def _note_gained(self, delta: AnswerDelta, progress: _Progress, now_ns: int) -> None:
        """What a note gained is nobody's answer; at its end it is an event of its camera."""
        watched = self._cameras.get(delta.camera)
        if progress.first_ns is None and watched is not None:
            watched.session.scribe.begun(delta.frame_ns)
            progress.first_ns = now_ns
        progress.text.append(delta.text)
        if delta.status is AskStatus.RUNNING:
            return
        del self._answers[delta.ask]
        self._scheduler.finished(delta.ask)
        if watched is not None:
            for emission in watched.session.on_note(delta, "".join(progress.text), now_ns):
                watched.emit(emission)
