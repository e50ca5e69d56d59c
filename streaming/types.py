"""
The types that travel through streaming: frames in, numbers and text out.

Everything here is frozen and holds no device tensor, so that a plan or a result can cross a thread, be logged by its
counts, or be replayed in a test.

Words: a *frame* is an image; a *patch* a cell before the encoder; a *token* a position in the language model; a *check*
one evaluation of one rule; an *ask* one question of one client.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # [height, width, 3], RGB
Polygon = tuple[tuple[float, float], ...]  # corners (x, y) in 0..1 of the picture's width and height


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One sampled picture of one camera.

    camera: the camera's id.
    seq: counts the sampled frames of this camera since the worker started, from 0; holes are mailbox drops.
    pts_ns: when the picture was taken, Unix epoch nanoseconds (the media clock mapped to the wall clock).
    seen_ns: when the decoder handed it over, Unix epoch nanoseconds.
    image: uint8 [height, width, 3] RGB, never written to again.
    dropped_before: frames lost between the previous frame of this camera and this one.
    """

    camera: str
    seq: int
    pts_ns: int
    seen_ns: int
    image: Image = field(repr=False, compare=False)
    dropped_before: int = 0


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """
    What the engine must know to open a camera's memory.

    budget_tokens, budget_bytes: the memory's bound in tokens and in bytes of keys and values; the smaller holds, and
        0 bytes is no bound.
    archive_bytes: of the host memory for what policy "retrieve" sends away; 0 is no bound but the engine's.
    drop: rules of streaming/drop, one of each stage, joined by "+".
    zones: polygons outside of which changes do not matter: there, cells are kept of key frames alone; none is
        everywhere.
    never_drop: polygons whose cells are kept in every frame; each frame is encoded then.
    """

    camera: str
    fps: float = 2.0
    budget_tokens: int = 2048
    drop: str = "pixel+dtdr"
    policy: str = "salience"
    zones: tuple[Polygon, ...] = ()
    never_drop: tuple[Polygon, ...] = ()
    budget_bytes: int = 0
    archive_bytes: int = 0


class CameraState(enum.StrEnum):
    """Where a camera stands; the values are the wire's `camera.state`."""

    CONNECTING = "connecting"
    LIVE = "live"
    LAGGING = "lagging"
    STALE = "stale"
    BLIND = "blind"
    OFFLINE = "offline"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rule:
    """
    A standing yes/no question on one camera.

    on, off: probabilities; the alert starts when p >= on for hold_s and ends when p <= off for hold_s; off < on.
    cooldown_s: no new alert within this long of the last delivered `alert.started`.
    zone: the part of the picture that it looks at, or None for the whole.
    """

    id: str
    camera: str
    ask: str
    on: float = 0.8
    off: float = 0.5
    hold_s: float = 1.0
    cooldown_s: float = 30.0
    zone: Polygon | None = None
    say: str | None = None
    enabled: bool = True

    def asks_like(self, other: Rule) -> bool:
        """Whether the p of one is the p of the other."""
        return (self.ask, self.zone) == (other.ask, other.zone)


@dataclass(frozen=True, slots=True)
class Check:
    """
    Evaluate these rules of one camera in one batch, on a fork of its memory as it stands after this step's frames.

    zones: by rule id, the polygon of those that look at a part of the picture alone: they read the memory's tokens of
        the cells that it touches, and no other picture's token.
    only_if_changed: skip a rule (no CheckResult) when this step wrote no token that it reads to the camera's memory:
        the model is deterministic, so an unchanged memory gives the same p.
    """

    camera: str
    rules: tuple[tuple[str, str], ...]  # (rule id, question)
    only_if_changed: bool = False
    zones: tuple[tuple[str, Polygon], ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """
    One sentence about what a camera saw, written at one of its frames.

    id, seq: of its durable event. t_ns: when its frame was taken, Unix epoch nanoseconds.
    jpg: wire path of that frame; None where it was not stored.
    """

    id: str
    seq: int
    t_ns: int
    text: str
    jpg: str | None = None


@dataclass(frozen=True, slots=True)
class NoteLine:
    """A note as a question shows it to the model: `t_ns` for the order, `line` with its time in words."""

    t_ns: int
    line: str


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One question to one camera, decoded on a fork of its memory.

    asked_ns: Unix epoch nanoseconds, for ttft.
    notes: what to put before the question, the most fitting first; as many as there is room for are read.
    background: nobody waits for it; it gives way to frames and to every other question.
    """

    id: str
    camera: str
    text: str
    max_tokens: int = 128
    asked_ns: int = 0
    notes: tuple[NoteLine, ...] = ()
    background: bool = False


@dataclass(frozen=True, slots=True)
class StepPlan:
    """
    What one engine step does, in this order: cancel, frames, checks, start, advance.

    frames: at most one a camera.
    checks: at most one a camera; they see the frames of this step.
    start: asks to fork and prefill now; each yields its first token in this step.
    advance: ids of running asks that each decode `decode_tokens` more tokens.
    """

    frames: tuple[Frame, ...] = ()
    checks: tuple[Check, ...] = ()
    start: tuple[Ask, ...] = ()
    advance: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()
    decode_tokens: int = 4

    @property
    def empty(self) -> bool:
        return not (self.frames or self.checks or self.start or self.advance or self.cancel)


@dataclass(frozen=True, slots=True)
class FrameResult:
    """
    What became of one frame.

    tokens_in, tokens_kept: visual tokens before and after the drop.
    kept: uint8 bytes, one bit a cell, row-major (numpy.packbits), for `heat`; hw its grid in tokens.
    memory_tokens: rows in the camera's KV after the frame; memory_bytes what its slab holds on the device.
    paired: False when the frame waits for its temporal neighbour and nothing was encoded yet.
    encoded: False when it did not go through the vision encoder: it waits, or nothing in it had changed.
    tokens_encoded: how many of its tokens went through it; the others are those of the last time.
    key: it was kept whole because that was due, whatever it shows.
    """

    camera: str
    seq: int
    pts_ns: int
    tokens_in: int
    tokens_kept: int
    hw: tuple[int, int]
    kept: bytes = field(repr=False)
    memory_tokens: int
    memory_bytes: int
    paired: bool = True
    encoded: bool = True
    key: bool = False
    tokens_encoded: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """p = sigmoid(l_yes - l_no) of one rule at the camera's newest frame; None is "unknown" (nothing was seen yet)."""

    camera: str
    rule: str
    p: float | None
    frame_seq: int
    frame_ns: int


class AskStatus(enum.StrEnum):
    """How an answer stands; all but RUNNING are the wire's `status`."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """
    What one step added to one answer.

    text: only whole characters; a split multi-byte character waits for the next delta.
    frame_ns: the newest frame in the fork the answer is made on; t0_ns, t1_ns the span of time its memory holds.
    recalled: stretches of older time (t0_ns, t1_ns) that were brought back from the archive for this question.
    notes_read: so many of the ask's notes, from the first on, stood before the question.
    origin_ns: the time from which the model counts its seconds.
    reason: one sentence when status is FAILED or UNKNOWN.
    """

    ask: str
    camera: str
    text: str
    status: AskStatus
    frame_ns: int | None = None
    memory_tokens: int = 0
    output_tokens: int = 0
    t0_ns: int | None = None
    t1_ns: int | None = None
    reason: str | None = None
    recalled: tuple[tuple[int, int], ...] = ()
    notes_read: int = 0
    origin_ns: int | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """
    What one step did.

    failed: cameras whose frame could not be used, with the reason; their memory is as before the step.
    gpu_ms: time the accelerator thread spent, wall-clock milliseconds.
    """

    frames: tuple[FrameResult, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    answers: tuple[AnswerDelta, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    gpu_ms: float = 0.0
