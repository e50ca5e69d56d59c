"""
Scenes played to the engine, frame by frame, as the worker would: many cameras in a step, questions on forks of their
memories, standing questions as probabilities that the rules turn into alerts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np

from daemon.config import Config
from daemon.errors import DaemonError
from streaming.engine import Engine
from streaming.errors import StreamingError
from streaming.models import VisionLanguageModel
from streaming.models.patches import grid
from streaming.perceive import shape_within
from streaming.rules import Recheck, RuleState, Started
from streaming.types import Ask, AskStatus, CameraSettings, Check, CheckResult, Frame, FrameResult, Rule, StepPlan

from ._pocket_scenes import FPS, Query, Scene
from ._ways import LOOK_BACK, Sight, Way

START_NS: Final = 1_790_000_000_000_000_000
ASKS: Final = 32  # questions answered side by side
ANSWER_TOKENS: Final = 8
DECODE_TOKENS: Final = 2  # a step: most answers are one word and the end
GREY: Final = 128
RECHECK_S: Final = Config().rules.recheck_s
MAX_PIXELS: Final = Config().engine.max_pixels


@dataclass(slots=True)
class Played:
    """
    What one way made of some scenes.

    texts: answers by question. memory_tokens: what each question read, text included.
    tokens_in, tokens_kept: visual tokens shown and kept; where a memory is made anew for every question, shown until
    then and read, summed over the questions. tokens_encoded: those that went through the encoder.
    alerts_s: when alerts started, by standing question.
    """

    way: Way
    texts: dict[str, str] = field(default_factory=dict)
    memory_tokens: list[int] = field(default_factory=list)
    tokens_in: int = 0
    tokens_kept: int = 0
    tokens_encoded: int = 0
    alerts_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def kept(self) -> float:
        return self.tokens_kept / max(1, self.tokens_in)

    @property
    def encoded(self) -> float | None:
        """Share of the tokens that went through the encoder; None where a memory is made anew for every question."""
        return None if self.way.sight is Sight.LAST else self.tokens_encoded / max(1, self.tokens_in)

    @property
    def memory(self) -> float:
        """Tokens that a question read, on average."""
        return sum(self.memory_tokens) / max(1, len(self.memory_tokens))

    def saw(self, frames: Sequence[FrameResult]) -> None:
        self.tokens_in += sum(frame.tokens_in for frame in frames)
        self.tokens_kept += sum(frame.tokens_kept for frame in frames)
        self.tokens_encoded += sum(frame.tokens_encoded for frame in frames)

    def add(self, other: Played) -> None:
        """Take in what the same way made of other scenes."""
        self.texts |= other.texts
        self.memory_tokens += other.memory_tokens
        self.tokens_in += other.tokens_in
        self.tokens_kept += other.tokens_kept
        self.tokens_encoded += other.tokens_encoded
        self.alerts_s |= other.alerts_s


def play(model: VisionLanguageModel, way: Way, scenes: Sequence[Scene]) -> Played:
    """
    Play the scenes side by side, each on a camera of its own. Blocks.

    Raises: DaemonError: the way asks for a memory that cannot be.
    """
    shown = [_unseen(scenes)] if way.sight is Sight.BLIND else list(scenes)
    engine = _engine(model, way, shown)
    played = Played(way)
    if way.sight is Sight.LAST:
        _look_back(engine, shown, played)
    else:
        _stream(engine, shown, played)
    return played


def try_out(model: VisionLanguageModel, way: Way, size: tuple[int, int]) -> None:
    """Show a way one grey picture of (width, height), before minutes are spent. Raises: DaemonError, as `play`."""
    grey = np.full((size[1], size[0], 3), GREY, np.uint8)
    play(model, way, [Scene("trial", "", 1, [grey], [Query("trial/0", "trial", 0, "", "", "Is it?", "")])])


def _stream(engine: Engine, scenes: Sequence[Scene], played: Played) -> None:
    """Every frame goes into its camera's memory, and questions come behind it in the same step."""
    guards = [Guard(scene) for scene in scenes] if played.way.ruled else []
    due = {scene.name: _by_tick(scene.queries) for scene in scenes}
    for tick in range(max(scene.ticks for scene in scenes)):
        on_air = [scene for scene in scenes if tick < scene.ticks]
        frames = tuple(_frame(scene, tick) for scene in on_air)
        checks = tuple(guard.check(tick) for guard in guards if tick < guard.scene.ticks)
        asked = [(scene.name, query) for scene in on_air for query in due[scene.name].get(tick, ())]
        first, *rest = list(_batches(asked)) or [[]]
        answers, frame_results, found = _step(engine, frames, checks, first, played)
        played.saw(frame_results)
        for guard in guards:
            guard.observe(tick, [result for result in found if result.camera == guard.scene.name])
        for batch in rest:
            answers |= _step(engine, (), (), batch, played)[0]
        played.texts |= answers
    for guard in guards:
        played.alerts_s |= guard.alerts_s


def _look_back(engine: Engine, scenes: Sequence[Scene], played: Played) -> None:
    """For every question an empty memory and the newest frames, whole; questions of a moment share it."""
    due = {scene.name: _by_tick(scene.queries) for scene in scenes}
    for tick in range(max(scene.ticks for scene in scenes)):
        asking = [scene for scene in scenes if tick in due[scene.name]]
        for scene in asking:
            engine.forget(scene.name)
        read: dict[str, int] = defaultdict(int)
        cells: dict[str, int] = {}
        for back in range(max(0, tick - LOOK_BACK + 1), tick + 1 if asking else 0):
            frames = engine.step(StepPlan(frames=tuple(_frame(scene, back) for scene in asking))).frames
            for frame in frames:
                read[frame.camera] += frame.tokens_kept
                cells[frame.camera] = frame.tokens_in
        for scene in asking:
            questions = len(due[scene.name][tick])
            played.tokens_in += questions * cells[scene.name] * (tick + 1)
            played.tokens_kept += questions * read[scene.name]
        for batch in _batches([(scene.name, query) for scene in asking for query in due[scene.name][tick]]):
            played.texts |= _step(engine, (), (), batch, played)[0]


class Guard:
    """The standing questions on one scene: what the worker's session does with their probabilities."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.alerts_s: dict[str, list[float]] = {watching.id: [] for watching in scene.watching}
        self._recheck = Recheck(RECHECK_S)
        number = count()
        self._states = [
            RuleState(
                Rule(watching.id, scene.name, watching.text, cooldown_s=0.0), new_alert=lambda: f"a{next(number)}"
            )
            for watching in scene.watching
        ]

    def check(self, tick: int) -> Check:
        rules = tuple((state.rule.id, state.rule.ask) for state in self._states)
        return Check(self.scene.name, rules, only_if_changed=not self._recheck.due(_time_ns(tick)))

    def observe(self, tick: int, results: Sequence[CheckResult]) -> None:
        """Results of this frame; none where nothing changed, then the last probabilities stand."""
        at_ns = _time_ns(tick)
        if tick >= self.scene.ticks:
            return
        if results:
            self._recheck.done(at_ns)
        fresh = {result.rule: result.p for result in results}
        for state in self._states:
            p = fresh.get(state.rule.id, state.p)
            if isinstance(state.observe(p, at_ns, at_ns), Started):
                self.alerts_s[state.rule.id].append(tick / FPS)


def _step(
    engine: Engine,
    frames: tuple[Frame, ...],
    checks: tuple[Check, ...],
    asked: Sequence[tuple[str, Query]],
    played: Played,
) -> tuple[dict[str, str], tuple[FrameResult, ...], tuple[CheckResult, ...]]:
    """One step with everything, and further ones until the questions are answered."""
    asks = tuple(Ask(query.id, camera, query.text, ANSWER_TOKENS) for camera, query in asked)
    texts = {ask.id: "" for ask in asks}
    first = result = engine.step(StepPlan(frames=frames, checks=checks, start=asks))
    if first.failed:
        raise DaemonError(f"a frame of {first.failed[0][0]} cannot be used: {first.failed[0][1]}")
    going = set(texts)
    while going:
        for delta in result.answers:
            texts[delta.ask] += delta.text
            if delta.status is not AskStatus.RUNNING:
                going.discard(delta.ask)
                played.memory_tokens.append(delta.memory_tokens)
            if delta.status is AskStatus.FAILED:
                raise DaemonError(f"a question cannot be asked: {delta.reason}")
        if going:
            result = engine.step(StepPlan(advance=tuple(sorted(going)), decode_tokens=DECODE_TOKENS))
    return texts, first.frames, first.checks


def _engine(model: VisionLanguageModel, way: Way, scenes: Sequence[Scene]) -> Engine:
    """An engine with a camera for each scene. Raises: DaemonError: a memory that cannot be."""
    shape = shape_within(model.vision, MAX_PIXELS)
    overhead, head = model.frame_overhead(), len(model.dialogue.head)
    h, w = grid(scenes[0].images[0], shape)
    everything = head + max(scene.ticks for scene in scenes) * (h * w + overhead)
    budget = max(everything, head + shape.max_tokens + overhead) if way.budget_tokens is None else way.budget_tokens
    try:
        engine = Engine(model, settings=way.engine(cameras=len(scenes), asks=ASKS, budget_tokens=budget))
        for scene in scenes:
            engine.open(CameraSettings(scene.name, fps=FPS, budget_tokens=budget, drop=way.drop, policy=way.policy))
    except StreamingError as error:
        raise DaemonError(f"setting '{way.name}': {error}") from error
    return engine


def _unseen(scenes: Sequence[Scene]) -> Scene:
    """One camera that sees nothing but grey, for the questions of all: their memories would be the same."""
    longest = max(scenes, key=lambda scene: scene.ticks)
    grey = np.full_like(longest.images[0], GREY)
    queries = [query for scene in scenes for query in scene.queries]
    return Scene("blind", longest.group, longest.ticks, [grey] * longest.ticks, queries)


def _batches(asked: Sequence[tuple[str, Query]]) -> Iterator[Sequence[tuple[str, Query]]]:
    for begin in range(0, len(asked), ASKS):
        yield asked[begin : begin + ASKS]


def _by_tick(queries: Sequence[Query]) -> dict[int, list[Query]]:
    found: dict[int, list[Query]] = defaultdict(list)
    for query in queries:
        found[query.tick].append(query)
    return dict(found)


def _frame(scene: Scene, tick: int) -> Frame:
    return Frame(scene.name, tick, _time_ns(tick), _time_ns(tick), scene.images[tick])


def _time_ns(tick: int) -> int:
    return START_NS + round(tick * 1e9 / FPS)
