"""
`vigild bench age`: whether a frame costs after days what it costs at first.

One camera watched by an engine, without waiting between frames: a frame and a rule every step, a question every tenth.
The memory is small, so that it is full long before frame 200 and every policy works all the time. After the run another
engine is brought to frame 100, and then old and young take turns, frame by frame, over the same 200 pictures: whatever
else the machine does meets both alike. At 2 fps, 20,000 frames are 2.8 hours of video, in which ids are moved back some
seventy times; what a week of ids does to the logits, tests/streaming/test_positions.py tells.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from daemon.devices import resolve
from memory import policies
from streaming import models
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.sources.synthetic import Scene
from streaming.types import Ask, AskStatus, CameraSettings, Check, Frame, Image, StepPlan

from .form import Options, Report, Row, Say, quantile

SUMMARY: Final = "step time at frame 20,000 over that at frame 200, growth of the process, rows that leak"

FPS: Final = 2.0
CAMERA: Final = "yard"
RULE: Final = "Is there a person in the yard?"
QUESTION: Final = "What did just change?"
ASK_TOKENS: Final = 8
START_NS: Final = 1_790_000_000_000_000_000
PICTURES: Final = 100  # the scene repeats after so many frames
WINDOW: Final = 2 * PICTURES
EARLY: Final = 100  # "frame 200" is the median over frames 100 to 300
ASK_EVERY: Final = 10
RSS_EVERY: Final = 20
BUDGET_TOKENS: Final = 512
ARCHIVE_BYTES: Final = 64 << 20
REBASE_AT: Final = 8192
DEFAULT_POLICY: Final = CameraSettings("").policy


@dataclass(frozen=True, slots=True)
class Aged:
    """What one run of `frames` frames measured; early_ms, late_ms: step times of the young and of the old engine."""

    policy: str
    frames: int
    early_ms: Sequence[float]
    late_ms: Sequence[float]
    rss_mb: Sequence[float]
    memory_tokens: int
    archived_tokens: int
    answers: int
    leaked_tokens: int

    @property
    def step_ratio(self) -> float:
        """The median step after `frames` frames over that around frame 200."""
        return quantile(self.late_ms, 0.5) / quantile(self.early_ms, 0.5)

    @property
    def rss_mb_per_h(self) -> float:
        """Growth an hour of video, from the second quarter of the run to the last, each by its median."""
        quarter = len(self.rss_mb) // 4
        before, after = self.rss_mb[quarter : 2 * quarter], self.rss_mb[-quarter:]
        frames_between = (len(self.rss_mb) - 2 * quarter) * RSS_EVERY
        return (quantile(after, 0.5) - quantile(before, 0.5)) / (frames_between / FPS / 3600)

    def row(self) -> Row:
        return {
            "policy": self.policy,
            "frames": self.frames,
            "p50_ms_early": quantile(self.early_ms, 0.5),
            "p50_ms_late": quantile(self.late_ms, 0.5),
            "p99_ms_early": quantile(self.early_ms, 0.99),
            "p99_ms_late": quantile(self.late_ms, 0.99),
            "step_ratio": self.step_ratio,
            "rss_mb": self.rss_mb[-1],
            "rss_mb_per_h": self.rss_mb_per_h,
            "memory_tokens": self.memory_tokens,
            "archived_tokens": self.archived_tokens,
            "answers": self.answers,
            "pool_leak_tokens": self.leaked_tokens,
        }


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for about half a minute in the short form and some minutes in the long one."""
    frames, others = (1000, 600) if options.short else (20_000, 3000)
    device = resolve([options.device])[0]
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        model = models.load(options.model, device=device, cache_dir=Path(folder))
        pictures = [Scene("yard", 160, 128, options.seed).render(i / FPS) for i in range(PICTURES)]
        order = sorted(policies.kinds(), key=lambda policy: policy != DEFAULT_POLICY)
        frames_of = {policy: frames if policy == DEFAULT_POLICY else others for policy in order}
        done = {policy: age(model, pictures, policy, count, say) for policy, count in frames_of.items()}
    default = done[DEFAULT_POLICY]
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "fps": FPS,
            "frames": frames,
            "budget_tokens": BUDGET_TOKENS,
            "rebase_at": REBASE_AT,
            "policy": DEFAULT_POLICY,
        },
        rows=[aged.row() for aged in done.values()],
        figures={
            "step_ratio": default.step_ratio,
            "rss_mb_per_h": default.rss_mb_per_h,
            "pool_leak_tokens": float(sum(aged.leaked_tokens for aged in done.values())),
            "step_ratio_worst_policy": max(aged.step_ratio for aged in done.values()),
        },
        notes=("step: one frame, one rule, a tenth of a question",),
    )


def age(model: VisionLanguageModel, pictures: Sequence[Image], policy: str, frames: int, say: Say) -> Aged:
    """Run one camera for so many frames, then in turns with a young one, and close both."""
    old = Life(model, pictures, policy)
    process = psutil.Process()
    rss_mb = []
    for seq in range(frames):
        old.step()
        if seq % 500 == 0:
            say(f"{policy}: frame {seq:,} of {frames:,}")
        if seq % RSS_EVERY == 0:
            rss_mb.append(process.memory_info().rss / 2**20)
            old.engine.check()
    held = old.engine.memory(CAMERA)
    young = Life(model, pictures, policy)
    for _ in range(EARLY):
        young.step()
    early_ms, late_ms = [], []
    for _ in range(WINDOW):
        early_ms.append(young.step())
        late_ms.append(old.step())
    return Aged(
        policy=policy,
        frames=frames,
        early_ms=early_ms,
        late_ms=late_ms,
        rss_mb=rss_mb,
        memory_tokens=held.tokens,
        archived_tokens=held.archived_tokens,
        answers=old.answers,
        leaked_tokens=old.close() + young.close(),
    )


class Life:
    """One camera and its engine, fed frame by frame."""

    def __init__(self, model: VisionLanguageModel, pictures: Sequence[Image], policy: str) -> None:
        self.engine = Engine(
            model,
            settings=EngineSettings(
                max_cameras=1,
                max_asks=2,
                max_budget_tokens=BUDGET_TOKENS,
                archive_bytes=ARCHIVE_BYTES if policies.create(policy).archives else 0,
                rebase_at=REBASE_AT,
            ),
        )
        self.engine.open(CameraSettings(CAMERA, fps=FPS, budget_tokens=BUDGET_TOKENS, drop="feature", policy=policy))
        self.answers = 0
        self._pictures = pictures
        self._asked: set[str] = set()
        self._seq = 0

    def step(self) -> float:
        """The next frame with all that goes with it; milliseconds."""
        seq, self._seq = self._seq, self._seq + 1
        ask = Ask(f"q{seq}", CAMERA, QUESTION, max_tokens=ASK_TOKENS)
        plan = StepPlan(
            frames=(_frame(seq, self._pictures[seq % len(self._pictures)]),),
            checks=(Check(CAMERA, (("r", RULE),)),),
            start=(ask,) if seq % ASK_EVERY == 0 else (),
            advance=tuple(self._asked),
        )
        began = time.perf_counter()
        result = self.engine.step(plan)
        took_ms = 1000 * (time.perf_counter() - began)
        for answer in result.answers:
            running = answer.status is AskStatus.RUNNING
            (self._asked.add if running else self._asked.discard)(answer.ask)
            self.answers += answer.status is AskStatus.COMPLETED
        return took_ms

    def close(self) -> int:
        """Close the camera; the rows that are still taken then."""
        self.engine.close(CAMERA)
        self.engine.check()
        return self.engine.rows_taken


def _frame(seq: int, picture: Image) -> Frame:
    pts_ns = START_NS + round(seq / FPS * 1e9)
    return Frame(camera=CAMERA, seq=seq, pts_ns=pts_ns, seen_ns=pts_ns, image=picture)
