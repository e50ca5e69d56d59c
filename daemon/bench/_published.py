"""What the published benchmarks of video understanding share: their options, their data, their report."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.devices import resolve
from daemon.errors import DaemonError
from memory import policies
from streaming import drop
from streaming.engine import Engine, EngineSettings
from streaming.errors import StreamingError
from streaming.models import VisionLanguageModel
from streaming.types import CameraSettings

from ._model import loaded
from ._showing import MAX_ASKS, Question, Watched, show_all
from ._tally import Tally
from .form import Options, Report, Say

FPS: Final = 2.0
MAX_PIXELS: Final = 448 * 448
MAX_QUESTION_TOKENS: Final = 2048  # a prompt that tells four questions and answers before its own
MAX_ANSWER_TOKENS: Final = 256
ARCHIVE_BYTES: Final = 256 << 20  # of host memory, for policies that archive
SHORT_EACH: Final = 20  # questions of every task, in the short form


@dataclass(frozen=True, slots=True)
class Benchmark:
    """
    One published benchmark.

    read: the questions of a folder. figures: what they publish, from the tallies by group and task.
    """

    name: str
    read: Callable[[Path], Sequence[Question]]
    figures: Callable[[Mapping[tuple[str, str], Tally]], Mapping[str, float]]
    notes: tuple[str, ...]


def measure(benchmark: Benchmark, options: Options, say: Say) -> Report:
    """Run it; blocks for as long as the videos take. Raises: DaemonError: no data, or options that cannot be."""
    if options.data is None:
        raise DaemonError(f"bench {benchmark.name} needs --data, the folder with its annotations and videos")
    watched = [Watched(camera) for camera in cameras(options)]
    questions = list(benchmark.read(options.data))
    if options.short:
        questions = first_of_each_task(questions, SHORT_EACH)
    present = [question for question in questions if question.video.is_file()]
    missing = sorted({str(question.video) for question in questions} - {str(question.video) for question in present})
    if missing and not options.skip_missing:
        raise DaemonError(
            f"--data: {len(missing)} videos are missing, the first is {missing[0]}; "
            "put them there, or leave their questions out with --skip-missing"
        )
    if not present:
        raise DaemonError(f"--data: not one of the {len(missing)} videos is there, the first is {missing[0]}")
    fps = watched[0].camera.fps
    device = resolve([options.device])[0]
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        say("loading the model")
        model = loaded(options.model, device, Path(folder), max_pixels=MAX_PIXELS)
        show_all(engine_for(model, watched), watched, present, fps=fps, say=say)
    first = watched[0]
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "dtype": str(model.kv.dtype).removeprefix("torch."),
            "data": options.data.resolve().name,
            "short": options.short,
            "fps": fps,
            "max_pixels": MAX_PIXELS,
            "drops": [each.drop for each in watched],
            "policy": first.camera.policy,
            "budget_tokens": first.camera.budget_tokens,
        },
        rows=[row for each in watched for row in each.rows()],
        figures={
            f"{'' if each is first else each.drop + '.'}{name}": value
            for each in watched
            for name, value in {**benchmark.figures(each.tallies), **each.costs()}.items()
        }
        | {
            "questions": float(len(present)),
            "questions_skipped": float(len(questions) - len(present)),
            "videos_missing": float(len(missing)),
        },
        notes=(
            *benchmark.notes,
            *((f"the first {SHORT_EACH} questions of every task",) if options.short else ()),
            *((f"{len(missing)} videos are missing; their questions are left out",) if missing else ()),
        ),
    )


def cameras(options: Options) -> list[CameraSettings]:
    """A camera for each --drop. Raises: DaemonError: no such drop rule or policy, a budget or rate that cannot be."""
    default = CameraSettings("")
    policy = options.policy or default.policy
    budget = default.budget_tokens if options.budget_tokens is None else options.budget_tokens
    fps = FPS if options.fps is None else options.fps
    for flag, value in (("--budget", budget), ("--fps", fps)):
        if not 0 < value < math.inf:
            raise DaemonError(f"{flag}: {value} is not above 0")
    try:
        policies.create(policy)
    except ValueError as error:
        raise DaemonError(f"--policy: {error}") from None
    rules = tuple(dict.fromkeys(options.drops or (default.drop,)))
    for rule in rules:
        try:
            drop.stages(rule)
        except ValueError as error:
            raise DaemonError(f"--drop: {error}") from None
    return [CameraSettings(rule, fps=fps, budget_tokens=budget, drop=rule, policy=policy) for rule in rules]


def engine_for(model: VisionLanguageModel, watched: Sequence[Watched]) -> Engine:
    """An engine with room for one showing. Raises: DaemonError: the budget is too small or too large for it."""
    camera = watched[0].camera
    try:
        engine = Engine(
            model,
            settings=EngineSettings(
                max_cameras=len(watched),
                max_asks=MAX_ASKS,
                max_budget_tokens=camera.budget_tokens,
                max_question_tokens=MAX_QUESTION_TOKENS,
                max_answer_tokens=MAX_ANSWER_TOKENS,
                max_pixels=MAX_PIXELS,
                archive_bytes=ARCHIVE_BYTES if policies.create(camera.policy).archives else 0,
            ),
        )
        engine.open(camera)  # a budget that is too small is told before the first video
        engine.close(camera.camera)
    except StreamingError as error:
        raise DaemonError(f"--budget {camera.budget_tokens}: {error}") from error
    return engine


def first_of_each_task(questions: Sequence[Question], count: int) -> list[Question]:
    """The first `count` of every task, in their order."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for question in questions:
        key = question.group, question.task
        seen[key] += 1
        if seen[key] <= count:
            kept.append(question)
    return kept
