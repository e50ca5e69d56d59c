from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from streaming.engine import Engine, EngineSettings
from streaming.errors import LimitError, StreamingError, UnknownCamera
from streaming.models import VisionLanguageModel
from streaming.types import AnswerDelta, Ask, AskStatus, CameraSettings, Check, StepPlan, StepResult

from .recorder import Recorder
from .scenes import START_NS, frame, visited, walk, yard

RULES = (("person", "Is a person at the door?"), ("night", "Is it night?"))

MakeEngine = Callable[..., Engine]


@pytest.fixture
def make(tiny: VisionLanguageModel) -> MakeEngine:
    """Engines with the given cameras open."""

    def build(*cameras: str, budget_tokens: int = 400, drop: str = "feature", **settings: Any) -> Engine:
        engine = Engine(Recorder(tiny), settings=EngineSettings(**{"max_cameras": 3, **settings}))
        for camera in cameras:
            engine.open(CameraSettings(camera, budget_tokens=budget_tokens, drop=drop))
        return engine

    return build


def show(engine: Engine, camera: str, seq: int, image: Any, **plan: Any) -> StepResult:
    return engine.step(StepPlan(frames=(frame(camera, seq, image),), **plan))


def finish(engine: Engine, ask: str, deltas: list[AnswerDelta], *, steps: int = 40) -> AnswerDelta:
    """Advance one answer to its end."""
    while deltas[-1].status is AskStatus.RUNNING and steps:
        steps -= 1
        deltas.extend(engine.step(StepPlan(advance=(ask,))).answers)
    return deltas[-1]


def test_the_first_frame_is_kept_whole_and_a_still_one_leaves_no_row(make: MakeEngine) -> None:
    """Noise alone writes nothing, neither tokens nor a timestamp."""
    engine = make("yard")
    empty = engine.memory("yard").tokens
    first = show(engine, "yard", 0, yard(noise=1)).frames[0]
    assert (first.tokens_in, first.tokens_kept, first.hw) == (15, 15, (3, 5))
    assert first.memory_tokens > empty + 15
    second = show(engine, "yard", 1, yard(noise=2)).frames[0]
    assert (second.tokens_in, second.tokens_kept) == (15, 0)
    assert second.memory_tokens == first.memory_tokens
    assert engine.memory("yard").t1_ns == first.pts_ns


def test_kept_bits_show_where_something_changed(make: MakeEngine) -> None:
    """One bit a cell, row-major."""
    engine = make("yard")
    show(engine, "yard", 0, yard())
    result = show(engine, "yard", 1, visited(7, noise=1)).frames[0]
    bits = np.unpackbits(np.frombuffer(result.kept, np.uint8))[:15]
    assert bits[7] == 1
    assert int(bits.sum()) == result.tokens_kept < 15


def test_p_of_a_rule_moves_with_the_picture(make: MakeEngine) -> None:
    """By some hundredths at least, so that a demo on random weights can show an alert."""
    engine = make("yard")
    check = (Check("yard", RULES),)
    before = show(engine, "yard", 0, yard(), checks=check).checks
    after = show(engine, "yard", 1, visited(7, noise=1), checks=check).checks
    assert [c.rule for c in after] == ["person", "night"]
    assert all(c.p is not None and 0.02 < c.p < 0.98 for c in before + after)
    assert max(abs(a.p - b.p) for a, b in zip(after, before, strict=True)) > 0.03
    assert after[0].frame_seq == 1


def test_a_check_before_any_frame_is_unknown(make: MakeEngine) -> None:
    """An empty memory and an unknown camera are not a "no"."""
    engine = make("yard")
    checks = engine.step(StepPlan(checks=(Check("yard", RULES), Check("dock", RULES)))).checks
    assert [c.p for c in checks] == [None] * 4
    assert [c.camera for c in checks] == ["yard", "yard", "dock", "dock"]


def test_a_check_only_if_changed_is_skipped_on_a_still_picture(make: MakeEngine) -> None:
    """Evaluated when this step wrote to the camera's memory, left out when it did not; others are always evaluated."""
    engine = make("yard")
    checks = (Check("yard", RULES, only_if_changed=True),)
    assert len(show(engine, "yard", 0, yard(noise=1), checks=checks).checks) == 2
    assert show(engine, "yard", 1, yard(noise=2), checks=checks).checks == ()
    assert len(show(engine, "yard", 2, yard(noise=3), checks=(Check("yard", RULES),)).checks) == 2


def test_a_rule_too_long_is_unknown_and_its_neighbours_are_not(make: MakeEngine) -> None:
    engine = make("yard", max_check_tokens=100)
    show(engine, "yard", 0, yard())
    rules = (("long", "Is it " * 200), RULES[0])
    long, person = engine.step(StepPlan(checks=(Check("yard", rules),))).checks
    assert long.p is None
    assert person.p is not None


def test_checks_leave_the_memory_as_it_is(make: MakeEngine) -> None:
    engine = make("yard")
    show(engine, "yard", 0, yard())
    before = engine.memory("yard")
    p = [engine.step(StepPlan(checks=(Check("yard", RULES),))).checks[0].p for _ in range(3)]
    assert engine.memory("yard") == before
    assert len(set(p)) == 1


def test_an_answer_streams_and_tells_what_it_saw(make: MakeEngine) -> None:
    """The first token comes in the starting step; usage and span of time ride along; the fork is freed."""
    engine = make("yard")
    show(engine, "yard", 0, yard())
    held = engine.memory("yard")
    ask = Ask("q", "yard", "What do you see?", max_tokens=12)
    result = show(engine, "yard", 1, visited(3), start=(ask,), checks=())
    deltas = list(result.answers)
    assert deltas[0].output_tokens <= 1
    end = finish(engine, "q", deltas)
    assert end.status is AskStatus.COMPLETED
    assert end.output_tokens <= 12
    assert (end.t0_ns, end.t1_ns, end.frame_ns) == (START_NS, START_NS + 500_000_000, START_NS + 500_000_000)
    assert end.memory_tokens == engine.memory("yard").tokens > held.tokens
    assert "\ufffd" not in "".join(d.text for d in deltas)
    engine.check()
    assert engine._answers._suffixes.used == 0


def test_streamed_text_is_the_text_of_the_greedy_answer(make: MakeEngine, tiny: VisionLanguageModel) -> None:
    """Pieces joined equal a run that decodes all tokens in one step."""
    texts = []
    for tokens in (1, 3, 30):
        engine = make("yard")
        show(engine, "yard", 0, yard())
        deltas = list(engine.step(StepPlan(start=(Ask("q", "yard", "What?", max_tokens=30),))).answers)
        while deltas[-1].status is AskStatus.RUNNING:
            deltas += engine.step(StepPlan(advance=("q",), decode_tokens=tokens)).answers
        texts.append("".join(d.text for d in deltas))
    assert len(set(texts)) == 1


def test_many_questions_at_once_answer_as_each_alone(make: MakeEngine) -> None:
    """Different cameras, lengths and starting steps share their forwards without seeing each other."""
    questions = {
        "a": ("yard", "What?"),
        "b": ("dock", "Is there a car in the road, and which colour?"),
        "c": ("yard", "Who?"),
    }

    def run(ids: str) -> dict[str, str]:
        engine = make("yard", "dock")
        engine.step(StepPlan(frames=(frame("yard", 0, yard()), frame("dock", 0, visited(2)))))
        texts = dict.fromkeys(ids, "")
        for step, ask in enumerate([*ids, *" " * 20]):
            start = (Ask(ask, *questions[ask], max_tokens=16),) if ask != " " else ()
            result = engine.step(StepPlan(start=start, advance=tuple(ids[:step])))
            for delta in result.answers:
                texts[delta.ask] += delta.text
        return texts

    together = run("abc")
    assert together == run("a") | run("b") | run("c")
    assert all(together.values())


def test_questions_that_cannot_be_answered_say_why(make: MakeEngine) -> None:
    """No such camera, nothing seen, too long, too many: each one sentence, and the others run on."""
    engine = make("yard", "dock", max_asks=1, max_question_tokens=60)
    show(engine, "yard", 0, yard())
    asks = (
        Ask("none", "roof", "What?"),
        Ask("blind", "dock", "What?"),
        Ask("long", "yard", "what " * 100),
        Ask("good", "yard", "What?"),
        Ask("many", "yard", "What?"),
    )
    answers = {a.ask: a for a in engine.step(StepPlan(start=asks)).answers}
    assert answers["good"].status is AskStatus.RUNNING
    assert answers["blind"].status is AskStatus.UNKNOWN
    assert {answers[k].status for k in ("none", "long", "many")} == {AskStatus.FAILED}
    assert "no camera 'roof'" in str(answers["none"].reason)
    assert "60 are possible" in str(answers["long"].reason)
    assert "1 questions are being answered" in str(answers["many"].reason)


def test_a_cancelled_answer_ends_and_frees_its_fork(make: MakeEngine) -> None:
    """A second cancel, and one of an unknown question, do nothing."""
    engine = make("yard")
    show(engine, "yard", 0, yard(), start=(Ask("q", "yard", "What?"),))
    answers = engine.step(StepPlan(cancel=("q", "other"), advance=("q",))).answers
    assert [(a.ask, a.status) for a in answers] == [("q", AskStatus.CANCELLED)]
    assert engine.step(StepPlan(cancel=("q",))).answers == ()
    engine.check()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((0, 10, 3), np.uint8), "no area"),
        (np.zeros((10, 4000, 3), np.uint8), "aspect ratio"),
        (np.zeros((64, 64), np.uint8), "uint8"),
        (np.zeros((64, 64, 3), np.float32), "uint8"),
    ],
)
def test_a_bad_frame_of_one_camera_never_harms_the_others(make: MakeEngine, image: Any, reason: str) -> None:
    """It is told in one sentence; the other camera's frame of the same step is taken in."""
    engine = make("yard", "dock")
    before = engine.memory("yard")
    result = engine.step(StepPlan(frames=(frame("yard", 0, image), frame("dock", 0, yard()))))
    assert [camera for camera, _ in result.failed] == ["yard"]
    assert reason in result.failed[0][1]
    assert [f.camera for f in result.frames] == ["dock"]
    assert engine.memory("yard") == before


def test_a_frame_of_a_camera_that_is_not_open_is_told(make: MakeEngine) -> None:
    result = show(make("yard"), "roof", 0, yard())
    assert result.failed == (("roof", "no camera 'roof' is open"),)


def test_a_changed_resolution_starts_a_whole_frame(make: MakeEngine) -> None:
    """Another grid has no reference to compare with."""
    engine = make("yard")
    show(engine, "yard", 0, yard())
    turned = np.ascontiguousarray(yard().transpose(1, 0, 2))
    result = show(engine, "yard", 1, turned).frames[0]
    assert result.hw == (5, 3)
    assert result.tokens_kept == 15


def test_pairing_waits_for_the_neighbour_and_writes_half(make: MakeEngine) -> None:
    """The first frame is acknowledged but not encoded; the second brings both in; a change of size in between is no harm."""
    engine = make("yard", pairing="pair", drop="none")
    first = show(engine, "yard", 0, yard())
    assert [(f.paired, f.tokens_in) for f in first.frames] == [(False, 0)]
    assert engine.memory("yard").t1_ns is None
    second = show(engine, "yard", 1, yard(noise=1)[::2, ::2].copy())
    assert [(f.paired, f.tokens_in > 0) for f in second.frames] == [(True, True)]
    assert show(engine, "yard", 2, yard()).frames[0].paired is False


def test_the_budget_holds_and_a_new_key_frame_follows_the_evicted_one(make: MakeEngine) -> None:
    """When the whole frame leaves the window, the next one is kept whole, so that the still part is not forgotten."""
    engine = make("yard", budget_tokens=130)
    kept = []
    for i, image in enumerate(walk(90)):
        result = show(engine, "yard", i, image).frames[0]
        kept.append(result.tokens_kept)
        assert engine.memory("yard").tokens <= 130
        engine.check()
    assert kept.count(15) >= 2
    assert engine._views["yard"].kv.meta.frame.min() == -1


def test_cameras_beyond_the_limit_are_refused_with_the_figures(make: MakeEngine) -> None:
    engine = make("a", "b", "c")
    with pytest.raises(LimitError, match="cameras: 4 asked, 3 possible"):
        engine.open(CameraSettings("d"))
    engine.close("b")
    engine.open(CameraSettings("d"))
    engine.check()
    assert engine.cameras == ("a", "c", "d")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (CameraSettings("x", budget_tokens=9000), "9000 asked, 2048 possible"),
        (CameraSettings("x", budget_tokens=20), "too small: the prompt and one frame take up to"),
        (CameraSettings("x", drop="magic"), "no drop rule 'magic'"),
        (CameraSettings("x", policy="magic"), "no memory policy 'magic'"),
        (CameraSettings("yard"), "open already"),
    ],
)
def test_a_camera_that_cannot_be_opened_says_why(make: MakeEngine, settings: CameraSettings, sentence: str) -> None:
    """And takes no slab."""
    engine = make("yard")
    with pytest.raises(StreamingError, match=sentence):
        engine.open(settings)
    engine.check()
    assert engine._pool.used == 1


def test_a_picture_that_its_memory_can_never_hold_is_refused_with_the_figures(make: MakeEngine) -> None:
    """A strip has more cells than its area allows others: it fails alone, and its camera goes on."""
    engine = make("dock", max_pixels=20 * 32**2)
    engine.open(CameraSettings("yard", budget_tokens=engine.min_budget_tokens))
    strip = np.random.default_rng(0).integers(0, 256, (40, 7000, 3), np.uint8)
    before = engine.memory("yard")
    result = engine.step(StepPlan(frames=(frame("yard", 0, strip), frame("dock", 0, strip))))
    assert [one.camera for one in result.frames] == ["dock"]
    ((camera, reason),) = result.failed
    assert camera == "yard"
    assert reason.startswith("a picture of 7000x40 takes up to ")
    assert f"holds {engine.min_budget_tokens}; crop it, or raise the camera's budget_tokens to " in reason
    assert engine.memory("yard") == before
    assert show(engine, "yard", 1, yard()).frames[0].tokens_kept == 15
    engine.check()


def test_unknown_cameras_are_named(make: MakeEngine) -> None:
    engine = make()
    for call in (engine.close, engine.forget, engine.memory):
        with pytest.raises(UnknownCamera, match="'roof'"):
            call("roof")


def test_closing_a_camera_fails_its_questions(make: MakeEngine) -> None:
    engine = make("yard", "dock")
    show(engine, "yard", 0, yard(), start=(Ask("q", "yard", "What?"),))
    engine.close("yard")
    engine.check()
    answers = engine.step(StepPlan(advance=("q",))).answers
    assert [(a.ask, a.status, a.reason) for a in answers] == [("q", AskStatus.FAILED, "camera 'yard' was removed")]


def test_forgetting_starts_over_and_a_running_answer_keeps_what_it_saw(make: MakeEngine) -> None:
    """The memory is the prompt again and the next frame whole; the fork reads on."""
    engine = make("yard")
    show(engine, "yard", 0, yard(), start=(Ask("q", "yard", "What?", max_tokens=20),))
    saw = engine.memory("yard")
    engine.forget("yard")
    assert engine.memory("yard").t0_ns is None
    assert engine.step(StepPlan(checks=(Check("yard", RULES[:1]),))).checks[0].p is None
    result = show(engine, "yard", 1, yard(noise=1), advance=("q",))
    assert result.frames[0].tokens_kept == 15
    assert result.answers[0].memory_tokens == saw.tokens
    assert result.answers[0].t0_ns == saw.t0_ns
    engine.check()


def test_a_question_yields_when_its_camera_must_compact_and_no_slab_is_spare(make: MakeEngine) -> None:
    """The camera goes on within its budget; the question fails with a sentence; nothing leaks."""
    engine = make("yard", budget_tokens=130, drop="none", max_cameras=1, spare_slabs=0)
    show(engine, "yard", 0, yard(), start=(Ask("q", "yard", "What?", max_tokens=500),))
    answers: list[AnswerDelta] = []
    for i in range(1, 8):
        answers += show(engine, "yard", i, visited(i), advance=("q",)).answers
        engine.check()
    assert answers[-1].status is AskStatus.FAILED
    assert "make room" in str(answers[-1].reason)


def test_a_question_survives_compaction_on_a_spare_slab(make: MakeEngine) -> None:
    """Its text is what it would have been on a still camera."""
    texts = []
    for images in ([visited(i) for i in range(1, 12)], []):
        engine = make("yard", budget_tokens=130, drop="none", max_cameras=1, spare_slabs=1)
        deltas = list(show(engine, "yard", 0, yard(), start=(Ask("q", "yard", "What?", max_tokens=40),)).answers)
        for i, image in enumerate(images):
            deltas += show(engine, "yard", i + 1, image, advance=("q",), decode_tokens=2).answers
            engine.check()
        assert finish(engine, "q", deltas).status is AskStatus.COMPLETED
        texts.append("".join(d.text for d in deltas))
    assert texts[0] == texts[1]


def test_a_new_camera_takes_the_slab_that_only_a_question_still_reads(make: MakeEngine) -> None:
    """Admission counts cameras, so a question that holds an old slab yields."""
    engine = make("yard", max_cameras=2, spare_slabs=0)
    show(engine, "yard", 0, yard(), start=(Ask("q", "yard", "What?"),))
    engine.forget("yard")
    engine.open(CameraSettings("dock"))
    engine.check()
    (answer,) = engine.step(StepPlan(advance=("q",))).answers
    assert (answer.status, answer.reason) == (AskStatus.FAILED, "the memory it read was needed for another camera")


def test_a_plan_with_two_frames_of_a_camera_is_refused_before_anything_runs(make: MakeEngine) -> None:
    engine = make("yard")
    before = engine.memory("yard")
    with pytest.raises(ValueError, match="frame"):
        engine.step(StepPlan(frames=(frame("yard", 0, yard()), frame("yard", 1, yard()))))
    with pytest.raises(ValueError, match="question"):
        engine.step(StepPlan(start=(Ask("q", "yard", "a"), Ask("q", "yard", "b"))))
    assert engine.memory("yard") == before


def test_a_step_runs_one_encoder_call_and_one_forward_per_kind(make: MakeEngine) -> None:
    """However many cameras: encode, prefill, rules, questions, and one forward per decoded token."""
    engine = make("a", "b", "c")
    recorder: Any = engine._model
    engine.step(StepPlan(frames=tuple(frame(c, 0, yard()) for c in "abc")))
    engine.step(StepPlan(start=tuple(Ask(f"q{c}", c, "What?") for c in "abc")))
    recorder.forwards = recorder.encodes = 0
    engine.step(
        StepPlan(
            frames=tuple(frame(c, 1, visited(4)) for c in "abc"),
            checks=tuple(Check(c, RULES) for c in "abc"),
            start=(Ask("new", "a", "Who?"),),
            advance=("qa", "qb", "qc"),
            decode_tokens=4,
        )
    )
    assert recorder.encodes == 1
    assert recorder.forwards == 1 + 1 + 1 + 4


def test_threads_are_bounded_by_the_settings(make: MakeEngine) -> None:
    make(threads=2)
    assert torch.get_num_threads() == 2
    make(threads=1)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_cameras", 0), ("spare_slabs", -1), ("low_watermark", 0.0), ("low_watermark", 1.1), ("pairing", "three")],
)
def test_settings_out_of_range_name_the_key(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        EngineSettings(**{option: value})


def test_an_empty_plan_does_nothing(make: MakeEngine) -> None:
    result = make("yard").step(StepPlan())
    assert (result.frames, result.checks, result.answers, result.failed) == ((), (), (), ())
