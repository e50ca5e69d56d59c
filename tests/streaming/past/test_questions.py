"""Notes before a question and questions behind the scenes, on the real engine: what is read, and what it may not disturb."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.past import before
from streaming.types import Ask, AskStatus, CameraSettings, Check, NoteLine, StepPlan, StepResult
from tests.streaming.recorder import Recorder
from tests.streaming.scenes import frame, visited

NOTES = tuple(NoteLine(n, f"{9 - n} min ago, at 14:0{n}:00: A red car parks at gate {n}.") for n in (3, 1, 2))


def engine_of(model: Any, *cameras: str, budget_tokens: int = 400, policy: str = "window", **settings: Any) -> Engine:
    engine = Engine(model, settings=EngineSettings(**{"max_cameras": 2, **settings}))
    for camera in cameras or ("yard",):
        engine.open(CameraSettings(camera, budget_tokens=budget_tokens, drop="none", policy=policy))
    return engine


def see(engine: Engine, camera: str, first: int, last: int, **plan: Any) -> list[StepResult]:
    return [
        engine.step(StepPlan(frames=(frame(camera, i, visited(i % 15, noise=i)),), **plan)) for i in range(first, last)
    ]


def asked(model: VisionLanguageModel, ask: Ask, **settings: Any) -> tuple[torch.Tensor, int]:
    """Logits over the rows of a question after four frames, and how many notes it read."""
    recorder = Recorder(model)
    engine = engine_of(recorder, **settings)
    see(engine, "yard", 0, 4)
    (delta,) = engine.step(StepPlan(start=(ask,))).answers
    engine.check()
    return recorder.others[-1], delta.notes_read


def test_notes_are_read_as_text_before_the_question(tiny: VisionLanguageModel) -> None:
    """The same logits, bit for bit, as the question with the notes written into it; other ones without."""
    want, _ = asked(tiny, Ask("q", "yard", before("Where is the car?", NOTES), max_tokens=1))
    got, read = asked(tiny, Ask("q", "yard", "Where is the car?", max_tokens=1, notes=NOTES))
    assert read == 3
    assert torch.equal(got, want)
    plain, none = asked(tiny, Ask("q", "yard", "Where is the car?", max_tokens=1))
    assert none == 0
    assert plain.shape != want.shape


@pytest.mark.parametrize("bound", ["max_note_tokens", "max_question_tokens"])
def test_as_many_notes_are_read_as_there_is_room_for(tiny: VisionLanguageModel, bound: str) -> None:
    """At every bound the first ones that fit, no token beyond it, and never the question's own share."""
    ask = Ask("q", "yard", "Where is the car?", max_tokens=1, notes=NOTES)
    sizes = [len(tiny.dialogue.question(before(ask.text, NOTES[:count]))) for count in range(4)]
    for count in range(4):
        for spare in (0, sizes[min(3, count + 1)] - sizes[count] - 1):
            limit = sizes[count] + max(0, spare) - (sizes[0] if bound == "max_note_tokens" else 0)
            rows, read = asked(tiny, ask, **{bound: limit})
            assert read == count
            assert rows.shape[0] == sizes[count]


@pytest.mark.parametrize("background", [False, True])
def test_neither_notes_nor_their_writing_touch_the_memory(tiny: VisionLanguageModel, background: bool) -> None:
    """Rows, ids and every later p are bit-identical to those of a camera that nobody asked anything."""
    ps, rows = [], []
    for ask in (None, Ask("q", "yard", "What changed?", max_tokens=4, notes=NOTES, background=background)):
        engine = engine_of(tiny)
        see(engine, "yard", 0, 4)
        if ask is not None:
            engine.step(StepPlan(start=(ask,)))
            while engine.step(StepPlan(advance=("q",))).answers[-1].status is AskStatus.RUNNING:
                pass
        check = Check("yard", (("r", "Is there a car?"),))
        see(engine, "yard", 4, 7)
        ps.append(engine.step(StepPlan(checks=(check,))).checks[0].p)
        kv = engine._views["yard"].kv
        keys, values = engine._pool.layer(kv.slab, 0, len(kv))
        rows.append((keys.clone(), values.clone(), kv.meta))
    assert ps[0] == ps[1]
    assert all(torch.equal(a, b) for a, b in zip(rows[0][:2], rows[1][:2], strict=True))
    assert np.array_equal(rows[0][2].pos, rows[1][2].pos)


def test_a_note_makes_room_before_a_question_must(tiny: VisionLanguageModel) -> None:
    """With one spare slab, which a note's camera has taken, a question survives when its own camera compacts."""
    engine = engine_of(tiny, "yard", "dock", budget_tokens=130, spare_slabs=1)
    see(engine, "yard", 0, 3)
    see(engine, "dock", 0, 3)
    note = Ask("n", "dock", "What changed?", max_tokens=200, background=True)
    engine.step(StepPlan(start=(note, Ask("q", "yard", "What is there?", max_tokens=200))))
    see(engine, "dock", 3, 10, advance=("n",))  # compacts: the note keeps the old slab
    assert engine._pool.free == 0
    ended = {d.ask: d for result in see(engine, "yard", 3, 10) for d in result.answers}
    assert ended["n"].status is AskStatus.FAILED
    (delta,) = engine.step(StepPlan(advance=("q",), decode_tokens=1)).answers
    assert (delta.ask, delta.status) == ("q", AskStatus.RUNNING)
    engine.check()


def test_a_note_brings_nothing_back_from_the_archive(tiny: VisionLanguageModel) -> None:
    """It is about now: it costs one forward, a question over the same archive two."""
    spent = []
    for background in (True, False):
        recorder = Recorder(tiny)
        engine = engine_of(recorder, budget_tokens=110, policy="retrieve", archive_bytes=1 << 20)
        see(engine, "yard", 0, 12)
        assert engine.memory("yard").archived_tokens
        ran = recorder.forwards
        (delta,) = engine.step(
            StepPlan(start=(Ask("q", "yard", "What changed?", max_tokens=1, background=background),))
        ).answers
        spent.append(recorder.forwards - ran)
        assert bool(delta.recalled) is not background
    assert spent == [1, 2]
