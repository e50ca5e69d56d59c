"""
`vigild bench ttft`: from a question to the first token of its answer, after 16, 64, 256 and 1024 frames of history.

A question comes between two frames, and every system does what it then has to. Ours reads it on a fork of the memory.
Beside it in the same run, over the last 256 pictures, on the unmodified transformers class: (a) everything is encoded
and read anew; (b) TimeChat-Online's way: the embeddings of the kept tokens are there, and read anew; (c) the last four
pictures are encoded and read, whole. A second row of ours is the worst case: a picture that shows something new comes
with the question, and is encoded and read before it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch

from daemon.config import Config
from daemon.devices import resolve
from memory.kernels.products import one_thread
from streaming import models
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.models.base import Chunk
from streaming.types import Ask, CameraSettings, Frame, StepPlan

from ._footage import Footage, longest
from ._model import dtype_on, loaded
from ._stock import Keeper, Stock
from .form import Options, Report, Row, Say, quantile

SUMMARY: Final = "question to first token after 16 to 1024 frames, beside re-encoding, re-prefilling and last-4-frames"

FPS: Final = 2.0
HISTORIES: Final = (16, 64, 256, 1024)
BASELINE: Final = 256  # frames that the baselines read
LAST: Final = 4
CLIP_S: Final = 128.0  # BASELINE frames
CAMERA: Final = "yard"
QUESTION: Final = "What is the person in front of the table doing?"
BUDGET_TOKENS: Final = Config().camera.budget_tokens
MODEL: Final = "pocket"
CPU_PX, GPU_PX = 128, 448  # the long side; 128: what `pocket` sees


@dataclass(slots=True)
class Way:
    """One way to answer. rows: tokens it had in memory or read; once: answers and gives the ms to the first token."""

    name: str
    frames: int
    rows: int
    once: Callable[[], float]
    times_ms: list[float] = field(default_factory=list)

    def ask(self, *, count: bool) -> None:
        """Answer once more, and note how long it took where that counts."""
        took_ms = self.once()
        if count:
            self.times_ms.append(took_ms)

    @property
    def p50_ms(self) -> float:
        return quantile(self.times_ms, 0.5)

    def row(self) -> Row:
        return {
            "how": self.name,
            "frames": self.frames,
            "tokens": self.rows,
            "p50_ms": self.p50_ms,
            "p95_ms": quantile(self.times_ms, 0.95),
            "times": len(self.times_ms),
        }


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for about a minute in the short form and two minutes in the long one."""
    with one_thread():
        return _measured(options, say)


def _measured(options: Options, say: Say) -> Report:
    device = resolve([options.device])[0]
    side_px = GPU_PX if device.startswith("cuda") else CPU_PX
    times, baseline_times = (5, 1) if options.short else (21, 3)
    say("reading the clip")
    clip = longest(options.clips, fps=FPS, seconds=CLIP_S, long_side_px=side_px)
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        say("loading the model, twice")
        keeper = Keeper(loaded(options.model, device, Path(folder), max_pixels=side_px**2))
        model = cast("VisionLanguageModel", keeper)
        parts = models.stock(options.model, device=device, dtype=dtype_on(device), cache_dir=Path(folder))
        stock = Stock(model, parts.model)
        watched = watch(keeper, clip, side_px, say)
        pictures = [clip.frame(CAMERA, seq).image for seq in range(BASELINE)]
        kept = watched.kept
        others = [
            Way("(a) stock, all encoded anew", BASELINE, 0, lambda: stock.from_pictures(pictures, QUESTION)),
            Way("(b) kept tokens read anew", BASELINE, _rows(kept), lambda: stock.from_embeddings(kept, QUESTION)),
            Way("(c) last 4 pictures whole", LAST, 0, lambda: stock.from_pictures(pictures[-LAST:], QUESTION)),
        ]
        alone = [watched.way("vigild", history) for history in HISTORIES]
        together = [watched.way("vigild, with a new picture", history, picture=True) for history in HISTORIES]
        for turn in range(times + 1):  # in turns, so that all see the same machine; the first one warms
            say(f"asking, turn {turn + 1} of {times + 1}")
            for way in (*alone, *together, *(others if turn <= baseline_times else ())):
                way.ask(count=turn > 0)
    at, at_worst = ({way.frames: way.p50_ms for way in ways} for ways in (alone, together))
    whole, again, last = (way.p50_ms for way in others)
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "dtype": str(model.kv.dtype).removeprefix("torch."),
            "attention": model.attention.kernel.name,
            "decoder": model.decoder.forward.name,
            "products": model.products.name,
            "clip": clip.name,
            "fps": FPS,
            "side_px": side_px,
            "budget_tokens": BUDGET_TOKENS,
            "drop": CameraSettings("").drop,
            "threads": torch.get_num_threads(),
        },
        rows=[way.row() for way in (*alone, *together, *others)],
        figures={
            "ttft_ms_256": at[BASELINE],
            "flatness": at[HISTORIES[-1]] / at[HISTORIES[0]],
            "vs_stock_256": whole / at[BASELINE],
            "vs_reprefill_256": again / at[BASELINE],
            "vs_last4_256": last / at[BASELINE],
            "ttft_with_picture_ms_256": at_worst[BASELINE],
            "flatness_with_picture": at_worst[HISTORIES[-1]] / at_worst[HISTORIES[0]],
        },
        notes=(
            "with a new picture: it is encoded and read before the question, resized too, in the same step",
            "the baselines find their pictures resized; (b) has nothing to encode",
            "every system runs on one CPU thread: a machine's other cores have cameras to decode",
        ),
    )


def _rows(chunks: Sequence[Chunk]) -> int:
    return sum(len(chunk) for chunk in chunks)


@dataclass(slots=True)
class Watched:
    """An engine with a camera for each history. kept: the rows that the frames of the BASELINE one left."""

    engine: Engine
    clip: Footage
    kept: list[Chunk]
    seen: dict[int, int]
    asked: int = 0

    def way(self, name: str, history: int, *, picture: bool = False) -> Way:
        """Ask the camera of that history; with a picture that shows something new, or without one."""
        rows = self.engine.memory(_camera(history)).tokens
        return Way(name, history, rows, lambda: self._first_token_ms(history, picture=picture))

    def _first_token_ms(self, history: int, *, picture: bool) -> float:
        """What the step took, at whose end the host knows the first token."""
        camera = _camera(history)
        self.asked += 1
        frames: tuple[Frame, ...] = ()
        if picture:
            frames = (_cut(self.clip.frame(camera, self.seen[history])),)
            self.seen[history] += 1
        plan = StepPlan(frames=frames, start=(Ask(f"q{self.asked}", camera, QUESTION, max_tokens=1),))
        began = time.perf_counter()
        result = self.engine.step(plan)
        took_ms = 1000 * (time.perf_counter() - began)
        assert [answer.output_tokens for answer in result.answers] == [1]
        assert not picture or result.frames[0].encoded
        return took_ms


def watch(keeper: Keeper, clip: Footage, side_px: int, say: Say) -> Watched:
    """Show each camera as many frames of the clip as its history has. Blocks."""
    engine = Engine(
        cast("VisionLanguageModel", keeper),
        settings=EngineSettings(max_cameras=len(HISTORIES), max_budget_tokens=BUDGET_TOKENS, max_pixels=side_px**2),
    )
    watched = Watched(engine, clip, [], dict.fromkeys(HISTORIES, 0))
    for history in HISTORIES:
        say(f"watching {history} frames")
        engine.open(CameraSettings(_camera(history), fps=FPS, budget_tokens=BUDGET_TOKENS))
        keeper.kept.clear()
        for seq in range(history):
            engine.step(StepPlan(frames=(clip.frame(_camera(history), seq),)))
        watched.seen[history] = history
        if history == BASELINE:
            watched.kept = [*keeper.kept]
    keeper.kept.clear()
    return watched


def _camera(history: int) -> str:
    return f"{CAMERA}{history}"


def _cut(frame: Frame) -> Frame:
    """The frame with its picture turned over, every other one the other way, so that each shows something new."""
    return replace(frame, image=np.ascontiguousarray(np.flip(frame.image, axis=frame.seq % 2)))
