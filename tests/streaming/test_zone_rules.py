"""Rules that look at a part of the picture read its rows alone, and when those changed; see test_exact_families too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from memory.types import Compaction, Kind
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.types import CameraSettings, Check, CheckResult, Image, Polygon, StepPlan

from .recorder import Recorder
from .scenes import frame, visited, walk, yard

QUESTION = "Is a person at the door?"
RULES = (("whole", QUESTION), ("left", QUESTION), ("door", "Is it night?"), ("again", "Is the lamp on?"))
LEFT: Polygon = ((0.0, 0.0), (0.35, 0.0), (0.35, 0.6), (0.0, 0.6))  # cells 0 1 5 6 of 3 x 5
DOOR: Polygon = ((0.45, 0.4), (0.55, 0.4), (0.55, 0.6), (0.45, 0.6))  # cell 7
ZONES = (("left", LEFT), ("door", DOOR), ("again", DOOR))


def watching(model: Any, images: list[Image], *, drop: str = "feature", **settings: Any) -> tuple[Engine, Recorder]:
    recorder = Recorder(model)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=2, **settings))
    engine.open(CameraSettings("yard", drop=drop))
    recorder.others.clear()
    for i, image in enumerate(images):
        engine.step(StepPlan(frames=(frame("yard", i, image),)))
    return engine, recorder


def checked(engine: Engine, *rules: tuple[str, str], zones: Any = ZONES) -> dict[str, float | None]:
    results = engine.step(StepPlan(checks=(Check("yard", rules or RULES, zones=zones),))).checks
    return {result.rule: result.p for result in results}


def spoil(engine: Engine, keep: NDArray[np.int64]) -> None:
    """Overwrite every other row of the memory with what would spoil any sum that it enters."""
    kv = engine._views["yard"].kv
    others = torch.from_numpy(np.setdiff1d(np.arange(len(kv)), keep))
    for held in (engine._pool.keys, engine._pool.values):
        held[kv.slab, :, :, others] = torch.nan


def test_no_other_row_is_read(tiny: VisionLanguageModel) -> None:
    """Whatever the rows of the rest of the picture hold: the same p, to the last bit."""
    engine, _ = watching(tiny, walk(20))
    before = checked(engine, ("left", QUESTION), ("again", QUESTION))
    rows = [engine._views["yard"].rows_in(zone) for zone in (LEFT, DOOR)]
    spoil(engine, np.union1d(*rows))
    assert checked(engine, ("left", QUESTION), ("again", QUESTION)) == before
    assert None not in before.values()
    assert len(rows[0]) < len(engine._views["yard"].kv)


def test_the_rows_of_a_zone(tiny: VisionLanguageModel) -> None:
    """The prompt, the cells that it touches, and the text of the frames that show one of them."""
    engine, _ = watching(tiny, [yard(noise=0), visited(7, noise=1), visited(12, noise=2)])
    view = engine._views["yard"]
    meta = view.kv.meta.take(view.rows_in(DOOR))
    assert set(meta.cell[meta.visual].tolist()) == {7}
    shown = set(meta.frame[meta.visual].tolist())
    assert 1 in shown
    assert set(meta.frame[meta.kind == Kind.TEXT].tolist()) == shown
    assert int((meta.kind == Kind.PROMPT).sum()) == len(tiny.dialogue.head)


def test_rules_of_several_zones_share_a_forward_and_equal_each_alone(tiny: VisionLanguageModel) -> None:
    """With the rules on the whole picture, in one round, in several, and one at a time."""
    engine, recorder = watching(tiny, walk(12))
    narrow, _ = watching(tiny, walk(12), max_check_tokens=80)
    forwards = recorder.forwards
    together = checked(engine)
    assert recorder.forwards == forwards + 1
    alone = {rule: checked(engine, (rule, text))[rule] for rule, text in RULES}
    assert together == pytest.approx(alone, abs=1e-5)
    assert checked(narrow) == pytest.approx(alone, abs=1e-5)
    assert len(set(alone.values())) == len(RULES)
    engine.check()


def test_cameras_keep_their_zones_apart(tiny: VisionLanguageModel) -> None:
    """Two cameras in one step, each with a zone of its own, answer what each answers alone."""
    engine = Engine(tiny, settings=EngineSettings(max_cameras=2))
    for camera in ("yard", "dock"):
        engine.open(CameraSettings(camera, drop="none"))
    for i in range(4):
        engine.step(StepPlan(frames=(frame("yard", i, visited(i, noise=i)), frame("dock", i, visited(9, noise=i)))))
    checks = (
        Check("yard", RULES, zones=ZONES),
        Check("dock", (("left", QUESTION), ("whole", QUESTION)), zones=(("left", LEFT),)),
    )

    def of(results: tuple[CheckResult, ...]) -> dict[tuple[str, str], float | None]:
        return {(result.camera, result.rule): result.p for result in results}

    both = of(engine.step(StepPlan(checks=checks)).checks)
    each = of(engine.step(StepPlan(checks=checks[:1])).checks) | of(engine.step(StepPlan(checks=checks[1:])).checks)
    assert both == pytest.approx(each, abs=1e-5)


def test_only_what_changed_in_its_zone_is_evaluated_again(tiny: VisionLanguageModel) -> None:
    """A change elsewhere concerns the rules on the whole picture; one in the zone concerns both; one that must be, is."""
    engine, _ = watching(tiny, [yard(noise=0), yard(noise=1)])
    rows = engine._views["yard"].rows_in(DOOR)

    def evaluated(seq: int, image: Image, *, only_if_changed: bool = True, rules: Any = RULES) -> set[str]:
        check = Check("yard", rules, only_if_changed=only_if_changed, zones=ZONES)
        result = engine.step(StepPlan(frames=(frame("yard", seq, image),), checks=(check,)))
        return {each.rule for each in result.checks}

    assert evaluated(2, visited(14, noise=2)) == {"whole"}
    assert np.array_equal(engine._views["yard"].rows_in(DOOR), rows)  # so the p that stands is the p of these rows
    assert evaluated(3, visited(7, noise=3)) >= {"whole", "door", "again"}
    assert evaluated(4, visited(7, noise=4)) == set()
    assert evaluated(5, visited(7, noise=5), only_if_changed=False) == {"whole", "left", "door", "again"}
    assert evaluated(6, visited(7, noise=6), rules=RULES[2:]) == set()


def test_a_zone_that_the_memory_does_not_hold_is_unknown(tiny: VisionLanguageModel) -> None:
    """Nothing of it is there: no p, while the other rules have theirs; neither is there one before the first picture."""
    engine, _ = watching(tiny, [])
    assert set(checked(engine).values()) == {None}
    engine.step(StepPlan(frames=(frame("yard", 0, yard()),)))
    assert None not in checked(engine).values()
    kv = engine._views["yard"].kv
    with torch.inference_mode():
        kv.apply(Compaction(np.flatnonzero(kv.meta.cell != 7).astype(np.int64)))
    found = checked(engine)
    assert (found["door"], found["again"]) == (None, None)
    assert found["left"] is not None
    assert checked(engine, ("door", QUESTION)) == {"door": None}


def test_rows_of_pictures_of_another_size_are_other_places(tiny: VisionLanguageModel) -> None:
    """After the camera's resolution changed, a cell's old rows show something else: a zone does not see them."""
    engine, _ = watching(tiny, walk(6))
    small = np.ascontiguousarray(yard()[:64, :64])
    engine.step(StepPlan(frames=(frame("yard", 6, small),)))
    view = engine._views["yard"]
    meta = view.kv.meta.take(view.rows_in(LEFT))
    assert set(meta.frame[meta.visual].tolist()) == {6}
    assert set(meta.cell[meta.visual].tolist()) == {0, 2}
