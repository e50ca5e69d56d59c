"""
`vigild bench drop`: what the drop rules keep, what they save, and whether they miss anything.

Every clip goes through the real engine at 2 fps, once per way of dropping, all ways side by side in the same steps:
nothing dropped, the paper's rule, the gate alone, and the default. With --clips a folder of real video, else generated
video of known truth.

An event is seen when the gate opened (something was kept, other than a key frame that was due) within 1 s of the time a
person wrote down, which is right to about 0.5 s. A clip is quiet when by far most of its cells stay as they were from
one sample to the next. With random weights the figures tell of the pixels alone: the features mean nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from daemon.config import Camera
from daemon.devices import resolve
from streaming import models
from streaming.drop.base import Grid
from streaming.engine import Engine, EngineSettings
from streaming.glance import glance
from streaming.types import CameraSettings, Frame, FrameResult, Image, StepPlan

from ._clips import Clip, generate_clips, pictures, read_clips
from .form import Options, Report, Row, Say

SUMMARY: Final = "what each way of dropping keeps of every clip, and whether it sees every event"

FPS: Final = 2.0
MAX_PIXELS: Final = 448 * 448
WITHIN_S: Final = 1.0  # of an event's beginning
EARLY_S: Final = 0.5  # how much too late a person may have written it down
MARGIN_S: Final = 1.0  # of a quiet stretch, at both ends: shadows, closing doors, a late eye
STILL: Final = 10.0  # luma levels, mean difference of a cell to the sample before
QUIET_FROM: Final = 0.85  # share of still cells
SHORT_S: Final = 12.0  # of each clip, in the short form
DEFAULT: Final = Camera().drop
WAYS: Final = ("none", "feature", "pixel", DEFAULT)


@dataclass(slots=True)
class Seen:
    """What one way of dropping did with one clip; a `tick` is a sampled picture: when, and what became of it."""

    clip: Clip
    way: str
    ticks: list[tuple[float, FrameResult]] = field(default_factory=list)

    @property
    def tokens_in(self) -> int:
        return sum(result.tokens_in for _, result in self.ticks)

    @property
    def tokens_kept(self) -> int:
        return sum(result.tokens_kept for _, result in self.ticks)

    @property
    def calls(self) -> int:
        return sum(result.encoded for _, result in self.ticks)

    @property
    def openings_s(self) -> list[float]:
        """When something was kept because it had changed."""
        return [t_s for t_s, result in self.ticks if result.tokens_kept and not result.key]

    @property
    def events_seen(self) -> int:
        """How many beginnings found the gate opening in time."""
        openings = self.openings_s
        return sum(any(at - EARLY_S <= t <= at + WITHIN_S for t in openings) for at in self._begins_s)

    @property
    def events(self) -> int:
        return len(self._begins_s)

    @property
    def quiet(self) -> tuple[int, int]:
        """Tokens in, and tokens kept though no key frame was due, while nothing happened."""
        still = [result for t_s, result in self.ticks[1:] if self.clip.quiet_at(t_s, margin_s=MARGIN_S)]
        return sum(r.tokens_in for r in still), sum(r.tokens_kept for r in still if not r.key)

    @property
    def _begins_s(self) -> list[float]:
        last_s = self.ticks[-1][0]
        return [at for at in self.clip.begins_s if at <= last_s]

    def row(self, still: float) -> Row:
        quiet_in, quiet_kept = self.quiet
        return {
            "clip": self.clip.name,
            "how": self.way,
            "fixed": "yes" if self.clip.fixed else "no",
            "still": still,
            "frames": len(self.ticks),
            "tokens_in": self.tokens_in,
            "tokens_kept": self.tokens_kept,
            "dropped": 1 - self.tokens_kept / self.tokens_in,
            "encoder_calls": self.calls,
            "calls_saved": 1 - self.calls / len(self.ticks),
            "key_frames": sum(result.key for _, result in self.ticks),
            "events": self.events,
            "events_seen": self.events_seen,
            "noise_kept": quiet_kept / quiet_in if quiet_in else None,
        }


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for about two minutes with the real clips on two cores."""
    device = resolve([options.device])[0]
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        model = load(options.model, device, Path(folder))
        clips = read_clips(options.clips) if options.clips else generate_clips(Path(folder))
        found: list[tuple[float, list[Seen]]] = []
        began = time.perf_counter()
        for clip in clips:
            say(clip.name)
            found.append(watch(clip, model, until_s=SHORT_S if options.short and options.clips else None))
        took_s = time.perf_counter() - began
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "clips": "real" if options.clips else "generated",
            "fps": FPS,
            "max_pixels": MAX_PIXELS,
            "default": DEFAULT,
            "took_s": round(took_s, 1),
        },
        rows=[seen.row(still) for still, ways in found for seen in ways],
        figures=figures([(still, seen) for still, ways in found for seen in ways if seen.way == DEFAULT]),
        notes=(
            f"the figures are those of {DEFAULT}; dropped_quiet is that of the worst quiet clip",
            f"quiet: a fixed camera, and {QUIET_FROM:.0%} of the cells still from sample to sample",
            "noise_kept: tokens kept while nothing happened, key frames that were due aside",
        ),
    )


def load(name: str, device: str, cache_dir: Path) -> models.VisionLanguageModel:
    """The model, at the size of picture that is measured: the built-in ones ask for postage stamps."""
    model = models.load(name, device=device, cache_dir=cache_dir)
    if name in models.built_in():
        model.vision = replace(model.vision, max_pixels=MAX_PIXELS)
    return model


def watch(clip: Clip, model: models.VisionLanguageModel, *, until_s: float | None = None) -> tuple[float, list[Seen]]:
    """One clip through every way at once: the share of its cells that stay still, and what each way did."""
    engine = Engine(model, settings=EngineSettings(max_cameras=len(WAYS), max_asks=1, max_pixels=MAX_PIXELS))
    seen = {way: Seen(clip, way) for way in WAYS}
    for way in WAYS:
        engine.open(CameraSettings(way, fps=FPS, drop=way))
    stillness = Stillness()
    for number, (t_s, image) in enumerate(pictures(clip.path, fps=FPS)):
        if until_s is not None and t_s > until_s:
            break
        at_ns = round(t_s * 1e9)
        frames = tuple(Frame(way, number, at_ns, at_ns, image) for way in WAYS)
        for result in engine.step(StepPlan(frames=frames)).frames:
            seen[result.camera].ticks.append((t_s, result))
            stillness.hw = result.hw
        stillness.add(image)
    return stillness.share, list(seen.values())


@dataclass(slots=True)
class Stillness:
    """The share of cells whose brightness stays within STILL of the sample before."""

    hw: Grid = (1, 1)
    share: float = 1.0
    _before: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None
    _count: int = 0

    def add(self, image: Image) -> None:
        luma = glance([image], self.hw).astype(np.float32)
        if self._before is not None and self._before.shape == luma.shape:
            still = float((np.abs(luma - self._before).mean(axis=1) < STILL).mean())
            self.share = (self.share * self._count + still) / (self._count + 1)
            self._count += 1
        self._before = luma


def figures(found: Sequence[tuple[float, Seen]]) -> dict[str, float]:
    """
    The figures of one way of dropping, from (share of still cells, what it did) of every clip.

    A share of nothing (no event, no quiet clip) is left out.
    """
    fixed = [seen for _, seen in found if seen.clip.fixed]
    quiet = [seen for still, seen in found if seen.clip.fixed and still >= QUIET_FROM]
    noise_in, noise_kept = (sum(seen.quiet[at] for seen in fixed) for at in (0, 1))
    out: dict[str, float] = {}
    if events := sum(seen.events for seen in fixed):
        out["event_recall_fixed"] = sum(seen.events_seen for seen in fixed) / events
    if quiet:
        out["dropped_quiet"] = min(1 - seen.tokens_kept / seen.tokens_in for seen in quiet)
        out["encoder_calls_saved_quiet"] = 1 - sum(seen.calls for seen in quiet) / sum(len(s.ticks) for s in quiet)
    if noise_in:
        out["noise_kept"] = noise_kept / noise_in
    return out
