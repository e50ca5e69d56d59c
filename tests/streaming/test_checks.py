"""Rules of a camera: each keeps its place and its answer, whatever runs beside it."""

from __future__ import annotations

import itertools

import pytest

from streaming.bundles import bundled
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.types import CameraSettings, Check, StepPlan

from .recorder import Recorder
from .scenes import frame, walk

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def test_rules_of_a_camera_read_their_common_words_once(tiny: VisionLanguageModel) -> None:
    """32 rules take one forward with fewer rows than 32 questions have; each has an answer, in order."""
    recorder = Recorder(tiny)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=1))
    engine.open(CameraSettings("yard"))
    engine.step(StepPlan(frames=(frame("yard", 0, walk(1)[0]),)))
    recorder.others.clear()
    rules = tuple((f"r{i}", f"Is lamp {i} on?") for i in range(32))
    results = engine.step(StepPlan(checks=(Check("yard", rules),))).checks
    (rows,) = recorder.others
    whole = tuple(tiny.dialogue.check(text) for _, text in rules)
    (bundle,) = bundled(whole, 10**6)
    assert len(rows) == len(bundle.ids) < sum(map(len, whole)) / 1.5
    assert [result.rule for result in results] == [rule for rule, _ in rules]
    assert all(result.p is not None for result in results)


@pytest.mark.parametrize("most", [1024, 64])
def test_rules_keep_their_places_however_they_begin(tiny: VisionLanguageModel, most: int) -> None:
    """
    Those that begin alike run side by side, in one round or several, and each p belongs to its own rule, as if alone.

    Rules on a part of the picture stand between the others.
    """
    engine = Engine(tiny, settings=EngineSettings(max_cameras=1, max_check_tokens=most))
    engine.open(CameraSettings("yard"))
    engine.step(StepPlan(frames=(frame("yard", 0, walk(1)[0]),)))
    texts = ("Is a person at the door?", "Nobody?", "Is a person there?", "Is it night?", "Is a person at the lamp?")
    rules = tuple((f"r{i}", text) for i, text in enumerate((*texts, *texts)))
    zones = tuple((f"r{i}", LEFT_HALF) for i in range(1, 10, 2))
    together = engine.step(StepPlan(checks=(Check("yard", rules, zones=zones),))).checks
    assert [result.rule for result in together] == [rule for rule, _ in rules]
    alone = []
    for rule in rules:
        zone = tuple(each for each in zones if each[0] == rule[0])
        alone.append(engine.step(StepPlan(checks=(Check("yard", (rule,), zones=zone),))).checks[0].p)
    assert [result.p for result in together] == pytest.approx(alone, abs=1e-5)
    assert min(abs(a - b) for a, b in itertools.combinations(alone[:5], 2)) > 1e-4, "no two could be exchanged unseen"


def test_a_question_that_does_not_fit_is_unknown_among_others(tiny: VisionLanguageModel) -> None:
    """Its place in the results stays its own, and its neighbours are answered."""
    engine = Engine(tiny, settings=EngineSettings(max_cameras=1, max_check_tokens=64))
    engine.open(CameraSettings("yard"))
    engine.step(StepPlan(frames=(frame("yard", 0, walk(1)[0]),)))
    rules = (("a", "Is it night?"), ("b", "Is a person at the door? " * 20), ("c", "Nobody?"))
    together = engine.step(StepPlan(checks=(Check("yard", rules),))).checks
    alone = [engine.step(StepPlan(checks=(Check("yard", (rule,)),))).checks[0].p for rule in rules]
    assert [result.rule for result in together] == ["a", "b", "c"]
    assert together[1].p is alone[1] is None
    assert [together[0].p, together[2].p] == pytest.approx([alone[0], alone[2]], abs=1e-5)
