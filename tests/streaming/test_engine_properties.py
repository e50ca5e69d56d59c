"""Whatever order frames, questions, rules, arrivals and departures come in, the memories stay bounded and apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import policies
from memory.pool import SlabPool
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.reuse import Reuse
from streaming.types import Ask, AskStatus, CameraSettings, Check, StepPlan

from .recorder import Recorder
from .scenes import frame, visited, yard

CAMERAS = ("a", "b", "c")
ARCHIVE_BYTES = 1_500_000  # eight spans
QUESTION = (("r", "Is a person at the door?"),)

cameras = st.sampled_from(CAMERAS)
kinds = {  # how often, what
    "frames": (12, st.tuples(st.just("frames"), st.sets(cameras, min_size=2), st.integers(-1, 14))),
    "ask": (3, st.tuples(st.just("ask"), cameras, st.integers(3, 12))),
    "advance": (4, st.tuples(st.just("advance"), st.integers(1, 3))),
    "cancel": (1, st.tuples(st.just("cancel"), st.integers(0, 2))),
    "check": (2, st.tuples(st.just("check"), cameras)),
    "open": (
        2,
        st.tuples(
            st.just("open"),
            cameras,
            st.integers(85, 140),
            st.sampled_from(["feature", "none", "pixel+dtdr"]),
            st.sampled_from(policies.kinds()),
        ),
    ),
    "close": (1, st.tuples(st.just("close"), cameras)),
    "forget": (1, st.tuples(st.just("forget"), cameras)),
}
operations = st.sampled_from([kind for kind, (often, _) in kinds.items() for _ in range(often)]).flatmap(
    lambda kind: kinds[kind][1]
)


class Life:
    """An engine under arbitrary operations; every row that nobody may read holds NaN, and the recorder asserts no NaN."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self.engine = Engine(
            Recorder(model),  # type: ignore[arg-type]  # delegates the rest
            settings=EngineSettings(
                max_cameras=2,
                max_asks=2,
                spare_slabs=1,
                max_budget_tokens=140,
                max_check_tokens=64,
                max_question_tokens=64,
                max_answer_tokens=12,
                rebase_at=200,
                archive_bytes=ARCHIVE_BYTES,
                max_recall_tokens=100,
                canvas_bytes=1 << 20,
                reuse=Reuse(ring=0),
                policy_options={kind: {"whole_s": 1.0, "key_frames": 2} for kind in ("salience", "merge", "retrieve")},
            ),
        )
        self.seq = 0
        self.asks: dict[str, str] = {}  # id → camera of questions not yet ended

    def do(self, operation: tuple[Any, ...]) -> None:
        kind, *rest = operation
        getattr(self, f"on_{kind}")(*rest)
        self.engine.check()
        self.poison()

    def step(self, plan: StepPlan) -> None:
        result = self.engine.step(plan)
        for answer in result.answers:
            assert answer.ask in self.asks
            if answer.status is not AskStatus.RUNNING:
                del self.asks[answer.ask]
        for check in result.checks:
            assert check.p is None or 0.0 <= check.p <= 1.0

    def on_frames(self, names: set[str], cell: int) -> None:
        self.seq += 1
        image = yard(noise=self.seq) if cell < 0 else visited(cell, noise=self.seq)
        self.step(StepPlan(frames=tuple(frame(name, self.seq, image) for name in sorted(names))))

    def on_ask(self, camera: str, tokens: int) -> None:
        self.seq += 1
        self.asks[f"q{self.seq}"] = camera
        self.step(StepPlan(start=(Ask(f"q{self.seq}", camera, "What?", max_tokens=tokens),)))

    def on_advance(self, tokens: int) -> None:
        self.step(StepPlan(advance=tuple(self.asks), decode_tokens=tokens))

    def on_cancel(self, number: int) -> None:
        self.step(StepPlan(cancel=tuple(list(self.asks)[number : number + 1])))

    def on_check(self, camera: str) -> None:
        self.step(StepPlan(checks=(Check(camera, QUESTION),)))

    def on_open(self, camera: str, budget: int, drop: str, policy: str) -> None:
        if camera not in self.engine.cameras and len(self.engine.cameras) < 2:
            self.engine.open(CameraSettings(camera, budget_tokens=budget, drop=drop, policy=policy))

    def on_close(self, camera: str) -> None:
        if camera in self.engine.cameras:
            self.engine.close(camera)

    def on_forget(self, camera: str) -> None:
        if camera in self.engine.cameras:
            self.engine.forget(camera)

    def readable(self) -> dict[int, int]:
        """How many leading rows of every slab someone may read."""
        rows: dict[int, int] = {}
        for view in self.engine._views.values():
            rows[view.kv.slab] = len(view.kv)
        for fork in self.engine._answers.forks:
            rows[fork.slab] = max(rows.get(fork.slab, 0), fork.rows)
        return rows

    def archived(self, *cameras: str) -> dict[int, int]:
        """How many leading rows of every archive block these cameras, or all of them, may bring back."""
        shelves = [self.engine._views[camera].kv.shelf for camera in cameras or self.engine.cameras]
        return {held.slab: len(held.meta) for shelf in shelves if shelf is not None for held in shelf._spans}

    def poison(self) -> None:
        rows = self.readable()
        poison(self.engine._pool, rows)
        poison(self.engine._answers._suffixes, {fork._suffix: fork.own for fork in self.engine._answers.forks})
        assert self.engine._archive is not None
        poison(self.engine._archive.pool, self.archived())
        assert self.engine._canvases is not None
        poison(self.engine._canvases, self.painted())

    def painted(self) -> dict[int, int]:
        """How many patches of every canvas hold a picture."""
        canvases = [view.canvas for view in self.engine._views.values() if view.canvas is not None]
        unit = self.engine._model.vision.merge**2
        return {canvas._slab: canvas.hw[0] * canvas.hw[1] * unit for canvas in canvases if canvas.hw is not None}

    def isolated(self) -> None:
        """No camera's rule or answer changes a bit when all other cameras' rows turn to NaN, archived ones too."""
        self.step(StepPlan())  # takes in what has ended since, so that the steps below bring nothing but their checks
        self.step(StepPlan(cancel=tuple(self.asks)))
        assert self.engine._archive is not None
        pools = (self.engine._pool, self.engine._archive.pool)
        for camera in self.engine.cameras:
            plan = StepPlan(
                checks=(Check(camera, QUESTION),), start=(Ask("q", camera, "Who was there?", max_tokens=1),)
            )
            before = self.engine.step(plan)
            slab = self.engine._views[camera].kv.slab
            copies = [(pool.keys.clone(), pool.values.clone()) for pool in pools]
            poison(pools[0], {slab: len(self.engine._views[camera].kv)})
            poison(pools[1], self.archived(camera))
            after = self.engine.step(plan)
            assert (after.checks, after.answers) == (before.checks, before.answers)
            for pool, (keys, values) in zip(pools, copies, strict=True):
                pool.keys.copy_(keys)
                pool.values.copy_(values)


@torch.inference_mode()
def poison(pool: SlabPool, readable: dict[int, int]) -> None:
    for slab in range(pool.total):
        pool.keys[slab, :, :, readable.get(slab, 0) :] = float("nan")
        pool.values[slab, :, :, readable.get(slab, 0) :] = float("nan")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(operations, min_size=25, max_size=60))
def test_budget_books_and_isolation_hold_for_any_life(tiny: VisionLanguageModel, life: list[tuple[Any, ...]]) -> None:
    """
    After every operation: no memory beyond its budget, free + used == total, no row read that is not the camera's own.
    """
    engine = Life(tiny)
    engine.do(("open", "a", 120, "none", "retrieve"))
    engine.do(("open", "b", 100, "pixel+dtdr", "salience"))
    for operation in life:
        engine.do(operation)
    engine.isolated()
    for camera in engine.engine.cameras:
        engine.engine.close(camera)
    engine.step(StepPlan())
    engine.engine.check()
    assert engine.asks == {}
    assert engine.engine._archive is not None
    assert engine.engine._canvases is not None
    pools = (
        engine.engine._pool,
        engine.engine._answers._suffixes,
        engine.engine._archive.pool,
        engine.engine._canvases,
    )
    assert [pool.used for pool in pools] == [0, 0, 0, 0]


def test_the_poison_is_noticed(tiny: VisionLanguageModel) -> None:
    """The property above can fail: a readable row that holds NaN trips the recorder."""
    life = Life(tiny)
    life.do(("open", "a", 120, "none", "window"))
    life.do(("frames", {"a"}, 3))
    poison(life.engine._pool, {life.engine._views["a"].kv.slab: 1})
    with pytest.raises(AssertionError, match="garbage"):
        life.do(("check", "a"))
