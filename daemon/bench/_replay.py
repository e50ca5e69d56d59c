"""
Cameras played to an engine in virtual time: what happens on a clock that only steps and the frames' own times move.

A frame is there at its time, waits in its camera's mailbox until a step takes it, and is decided when that step ends; a
step moves the clock by what it really took. So nothing waits for wall time, and decoding, sockets and the store, which
`vigild bench pipeline` measures, take no part of the processor from the engine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from streaming.admission import CostMeter, Load
from streaming.engine import Engine, EngineSettings
from streaming.mailbox import Mailbox
from streaming.models import VisionLanguageModel
from streaming.rules import Recheck
from streaming.scheduler import Scheduler, SchedulerSettings
from streaming.types import CameraSettings, Check, Frame, StepPlan, StepResult

from ._footage import Footage
from ._rules import ANYWHERE

DEADLINE_MS: Final = 500.0
RECHECK_S: Final = 10.0
BUDGET_TOKENS: Final = 1024
LATE: Final = 0.05  # p95 within the deadline is this share late


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played: so many cameras with so many rules each, one drop rule, so many cameras in a step."""

    cameras: int
    rules: int = 1
    drop: str = CameraSettings("").drop
    max_frames: int = 128


@dataclass(slots=True)
class Played:
    """
    What came of it.

    latencies_ms: of the frames that were decided, from their time to the end of their step. replaced: frames that a
    newer one of their camera replaced before a step took them; such a frame counts as late.
    """

    setting: Setting
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    replaced: int = 0
    steps: int = 0
    busy_ms: float = 0.0
    tokens_in: int = 0
    tokens_kept: int = 0
    encoded: int = 0
    checks: int = 0
    given_up: bool = False

    @property
    def frames(self) -> int:
        """Decided and replaced."""
        return len(self.latencies_ms) + self.replaced

    def at(self, q: float) -> float | None:
        """The q-quantile of the latency over all frames; None where that frame was never decided."""
        if not self.frames:
            return None
        everything = [*self.latencies_ms, *[float("inf")] * self.replaced]
        ordered = sorted(everything)
        value = ordered[min(len(ordered) - 1, int(q * len(ordered)))]
        return None if value == float("inf") else value

    @property
    def in_time(self) -> bool:
        """Were 95 of 100 frames decided within the deadline?"""
        p95_ms = self.at(0.95)
        return not self.given_up and p95_ms is not None and p95_ms <= DEADLINE_MS

    def add(self, result: StepResult, took_ms: float, latencies_ms: Sequence[float]) -> None:
        """Count a step and how long its frames took."""
        self.steps += 1
        self.busy_ms += took_ms
        self.checks += len(result.checks)
        self.latencies_ms += latencies_ms
        self.tokens_in += sum(done.tokens_in for done in result.frames)
        self.tokens_kept += sum(done.tokens_kept for done in result.frames)
        self.encoded += sum(done.encoded for done in result.frames)

    def row(self, how: str) -> dict[str, str | int | float | None]:
        frames = max(1, len(self.latencies_ms))
        return {
            "how": how,
            "drop": self.setting.drop,
            "rules": self.setting.rules,
            "cameras": self.setting.cameras,
            "p50_ms": self.at(0.5),
            "p95_ms": self.at(0.95),
            "in_time": "yes" if self.in_time else "no",
            "frames": self.frames,
            "replaced": self.replaced,
            "kept": self.tokens_kept / self.tokens_in if self.tokens_in else None,
            "encoded": self.encoded / frames,
            "checks_per_frame": self.checks / frames,
            "busy": self.busy_ms / (1000 * self.seconds) if self.seconds else None,
            "ms_per_frame": self.busy_ms / frames,
            "frames_per_step": frames / max(1, self.steps),
        }


class Cast:
    """The cameras of one engine: what each sees, and when its rules are due. Closes nothing: the engine is its own."""

    def __init__(
        self,
        model: VisionLanguageModel,
        footage: Sequence[Footage],
        setting: Setting,
        *,
        max_pixels: int,
        rules: Sequence[str] = ANYWHERE,
    ) -> None:
        """rules: what is asked, as many as the setting has of them; from the first again when there are fewer."""
        self.setting = setting
        self._footage = footage
        self.engine = Engine(
            model,
            settings=EngineSettings(
                max_cameras=setting.cameras,
                max_asks=1,
                spare_slabs=1,
                max_budget_tokens=BUDGET_TOKENS,
                max_pixels=max_pixels,
            ),
        )
        self.names = [f"camera{number:03d}" for number in range(setting.cameras)]
        self._rules = tuple((f"r{number}", rules[number % len(rules)]) for number in range(setting.rules))
        self._recheck = {name: Recheck(RECHECK_S) for name in self.names}
        for name in self.names:
            self.engine.open(CameraSettings(name, fps=footage[0].fps, budget_tokens=BUDGET_TOKENS, drop=setting.drop))

    def frame(self, number: int, seq: int) -> Frame:
        """Frame `seq` of the camera of that number; cameras of one clip begin elsewhere in it."""
        clip = self._footage[number % len(self._footage)]
        return clip.frame(self.names[number], seq, begin=7 * (number // len(self._footage)))

    def step(self, frames: Sequence[Frame]) -> tuple[StepResult, float]:
        """Run one step as the worker would; the result, and what it took in milliseconds."""
        checks = [
            Check(frame.camera, self._rules, only_if_changed=not self._recheck[frame.camera].due(frame.pts_ns))
            for frame in frames
            if self._rules
        ]
        plan = StepPlan(frames=tuple(frames), checks=tuple(checks))
        began = time.perf_counter()
        result = self.engine.step(plan)
        took_ms = 1000 * (time.perf_counter() - began)
        at_ns = {frame.camera: frame.pts_ns for frame in frames}
        for check in result.checks:
            self._recheck[check.camera].done(at_ns[check.camera])
        return result, took_ms


def play(cast: Cast, *, warm_s: float, measure_s: float, fps: float) -> Played:
    """
    Play the cameras, staggered over a sampling period, and measure the frames that come after `warm_s`.

    Gives up, in the result, as soon as too many frames are late for the 95th percentile to be in time.
    """
    count = cast.setting.cameras
    end_ms = 1000 * (warm_s + measure_s)
    expected = count * measure_s * fps
    played = Played(cast.setting, measure_s)
    scheduler = Scheduler(SchedulerSettings(max_frames=cast.setting.max_frames, step_ms=DEADLINE_MS / 2))
    meter = CostMeter()
    loads: dict[str, Load] = {}
    mailboxes = {name: Mailbox() for name in cast.names}
    arrivals = _arrivals(count, fps)
    due_ms, number, seq = next(arrivals)
    now_ms, began_ms = 0.0, dict[str, float]()
    while now_ms < end_ms:
        while due_ms <= now_ms and due_ms < end_ms:
            fresh = mailboxes[cast.names[number]].put(cast.frame(number, seq))
            played.replaced += not fresh and due_ms > 1000 * warm_s
            began_ms[cast.names[number]] = due_ms
            due_ms, number, seq = next(arrivals)
        ready = [name for name, mailbox in mailboxes.items() if mailbox.peek_pts_ns() is not None]
        if not ready:
            now_ms = due_ms
            continue
        known = loads if len(loads) == count else None
        taken = [mailboxes[name].take() for name in scheduler.choose(ready, cost=meter.cost, loads=known)]
        frames = [frame for frame in taken if frame is not None]
        result, took_ms = cast.step(frames)
        now_ms += took_ms
        meter.add(took_ms, cells=sum(_cells(done.hw) for done in result.frames), rules=len(result.checks))
        for done in result.frames:
            loads[done.camera] = Load(fps, _cells(done.hw), len(result.checks) / len(frames))
        ages_ms = [now_ms - at for done in result.frames if (at := began_ms[done.camera]) >= 1000 * warm_s]
        if ages_ms:
            played.add(result, took_ms, ages_ms)
        late = played.replaced + sum(ms > DEADLINE_MS for ms in played.latencies_ms)
        if late > LATE * expected + 1:
            played.given_up = True
            break
    return played


def _arrivals(cameras: int, fps: float) -> Iterator[tuple[float, int, int]]:
    """When (ms) which camera has which frame, in order, for ever."""
    seq = 0
    while True:
        for number in range(cameras):
            yield 1000 * (seq + number / cameras) / fps, number, seq
        seq += 1


def _cells(hw: tuple[int, int]) -> int:
    return hw[0] * hw[1]
