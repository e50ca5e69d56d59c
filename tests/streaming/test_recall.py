"""What a camera had to send away comes back for a question, bit for bit as far as the model is concerned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memory.policies.retrieve import Retrieve
from memory.rope import turn, waves
from streaming import models
from streaming.engine import Engine, EngineSettings
from streaming.errors import LimitError, StreamingError
from streaming.models import VisionLanguageModel
from streaming.models.base import Chunk
from streaming.types import Ask, AskStatus, CameraSettings, StepPlan

from .recorder import Recorder
from .scenes import START_NS, frame, visited, yard

ARCHIVE_BYTES = 1 << 20


def engine_of(model: Any, *, budget_tokens: int = 400, policy: str = "retrieve", **settings: Any) -> Engine:
    """One camera with an archive."""
    options = {"max_cameras": 2, "archive_bytes": ARCHIVE_BYTES, "max_recall_tokens": 400, **settings}
    engine = Engine(model, settings=EngineSettings(**options))
    engine.open(CameraSettings("yard", budget_tokens=budget_tokens, drop="none", policy=policy))
    return engine


def see(engine: Engine, first: int, last: int) -> None:
    for i in range(first, last):
        engine.step(StepPlan(frames=(frame("yard", i, visited(i % 15, noise=i)),)))


def asked(engine: Engine, recorder: Recorder, *, text: str = "What did just change?") -> torch.Tensor:
    """Logits over all rows of a question; the last forward is the question itself."""
    engine.step(StepPlan(start=(Ask(f"q{len(recorder.others)}", "yard", text, max_tokens=1),)))
    return recorder.others[-1]


def test_the_axes_undo_the_models_rotation(tiny: VisionLanguageModel, stock: Any) -> None:
    """Keys turned back equal what the stock layer computes before its rotation, for all three ids."""
    pos = np.stack((np.arange(6), np.array([0, 3, 9, 2, 40, 7]), np.array([5, 1, 0, 30, 2, 8])))
    embeds = tiny.embed(torch.tensor([3, 50, 99, 120, 7, 200]))
    plain: list[torch.Tensor] = []
    attention = stock.model.language_model.layers[0].self_attn
    handle = attention.k_norm.register_forward_hook(lambda _m, _i, out: plain.append(out))
    engine = engine_of(tiny)
    kv = engine._views["yard"].kv
    try:
        with torch.inference_mode():
            stock.model.language_model(inputs_embeds=embeds[None], position_ids=torch.from_numpy(pos)[:, None])
            kv.forget()
            kv.meta = kv.meta.take(np.zeros(0, np.int64))
            tiny.forward([Chunk(embeds, pos, kv.tail(), blocks=(6,))])
    finally:
        handle.remove()
    keys, _ = engine._pool.layer(kv.slab, 0, 6)
    back = turn(keys, waves(-tiny.rope.angle(torch.from_numpy(pos))))
    assert (back - plain[0][0].transpose(0, 1)).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["tiny-random", "tiny-random-2.5"])
@pytest.mark.parametrize("shift", [0, 2000])
def test_with_everything_brought_back_nothing_was_lost(tiny_folder: Path, family: str, shift: int) -> None:
    """
    A question over a memory of which most is archived gives the logits of the whole memory, fp32 to 1e-4.

    Also where the ids of both have moved since, of which in Qwen2.5-VL only the time moves.
    """
    model = models.load(family, cache_dir=tiny_folder.parent)

    def moved(engine: Engine) -> Engine:
        kv = engine._views["yard"].kv
        with torch.inference_mode():
            kv.shift(np.full(len(kv), shift, np.int64), model.rope.drift, cursor=kv.cursor + shift)
        return engine

    whole, recorder = (engine_of(r := Recorder(model)), r)
    see(whole, 0, 10)
    want = asked(moved(whole), recorder)
    cut, other = (engine_of(r := Recorder(model)), r)
    see(cut, 0, 10)
    kv = cut._views["yard"].kv
    rows = len(kv)
    with torch.inference_mode():
        kv.compact(Retrieve(whole_s=1), 110)
    assert len(kv) <= 110
    assert cut.memory("yard").archived_tokens == rows - len(kv) >= 100
    got = asked(moved(cut), other)
    assert (got - want).abs().max() <= 1e-4


def test_without_the_archive_the_answer_differs(tiny: VisionLanguageModel) -> None:
    """The equality above can fail: with recall off the logits are others."""
    logits = []
    for recall in (400, 0):
        engine, recorder = (engine_of(r := Recorder(tiny), max_recall_tokens=recall), r)
        see(engine, 0, 10)
        with torch.inference_mode():
            engine._views["yard"].kv.compact(Retrieve(whole_s=1), 110)
        logits.append(asked(engine, recorder))
    assert (logits[0] - logits[1]).abs().max() > 1e-2


def test_what_comes_back_stands_where_it_stood_also_after_a_rebase(tiny: VisionLanguageModel) -> None:
    """All ids moved down meanwhile: the logits stay within 1e-3."""
    logits = []
    for shift in (0, -60):
        engine, recorder = (engine_of(r := Recorder(tiny)), r)
        see(engine, 0, 10)
        kv = engine._views["yard"].kv
        with torch.inference_mode():
            kv.compact(Retrieve(whole_s=1), 110)
            kv.shift(np.full(len(kv), shift, np.int64), tiny.rope.drift, cursor=kv.cursor + shift)
        logits.append(asked(engine, recorder))
    assert (logits[0] - logits[1]).abs().max() <= 1e-3


def test_an_answer_tells_which_times_came_back(tiny: VisionLanguageModel) -> None:
    """Stretches that were really seen, older than what the memory holds besides; the fork is freed."""
    engine = engine_of(tiny, budget_tokens=130, max_recall_tokens=128)
    see(engine, 0, 30)
    held = engine.memory("yard")
    assert held.archived_tokens > 200
    assert held.archived_bytes <= ARCHIVE_BYTES
    (answer,) = engine.step(StepPlan(start=(Ask("q", "yard", "Who was there?", max_tokens=1),))).answers
    assert answer.status is AskStatus.COMPLETED
    assert answer.memory_tokens > held.tokens
    assert len(answer.recalled) >= 1
    seen = {START_NS + i * 500_000_000 for i in range(30)}
    assert all({t0, t1} <= seen and t0 <= t1 < answer.frame_ns for t0, t1 in answer.recalled)
    engine.check()
    assert engine._answers._suffixes.used == 0


def test_many_questions_each_bring_their_own_back(tiny: VisionLanguageModel) -> None:
    """Two cameras and three questions in one step equal each alone; a camera without an archive needs none."""

    def run(ids: str) -> dict[str, str]:
        engine = engine_of(tiny, budget_tokens=130, max_recall_tokens=128)
        engine.open(CameraSettings("dock", budget_tokens=130, drop="none", policy="window"))
        for i in range(16):
            images = {"yard": visited(i % 15, noise=i), "dock": yard(noise=i)}
            engine.step(StepPlan(frames=tuple(frame(name, i, image) for name, image in images.items())))
        asks = {
            "a": Ask("a", "yard", "What?", max_tokens=8),
            "b": Ask("b", "dock", "Is there a car in the road, and which colour?", max_tokens=8),
            "c": Ask("c", "yard", "Who was at the door?", max_tokens=8),
        }
        result = engine.step(StepPlan(start=tuple(asks[one] for one in ids)))
        texts = {answer.ask: answer.text for answer in result.answers}
        for _ in range(3):
            for answer in engine.step(StepPlan(advance=tuple(ids))).answers:
                texts[answer.ask] += answer.text
        engine.check()
        return texts

    assert run("abc") == run("a") | run("b") | run("c")


def test_forgetting_and_closing_empty_the_archive(tiny: VisionLanguageModel) -> None:
    engine = engine_of(tiny, budget_tokens=130)
    see(engine, 0, 30)
    assert engine.memory("yard").archived_tokens > 0
    engine.forget("yard")
    assert (engine.memory("yard").archived_tokens, engine._archive.pool.used if engine._archive else -1) == (0, 0)
    see(engine, 30, 60)
    engine.close("yard")
    engine.check()
    assert engine._archive is not None
    assert engine._archive.pool.used == 0


def test_a_policy_that_needs_an_archive_says_so(tiny: VisionLanguageModel) -> None:
    engine = Engine(tiny, settings=EngineSettings(max_cameras=1))
    with pytest.raises(StreamingError, match="policy 'retrieve' sends old tokens to host memory; set archive_bytes"):
        engine.open(CameraSettings("yard", policy="retrieve"))
    engine.check()
    assert engine._pool.used == 0


def test_an_archive_too_small_for_a_span_is_refused(tiny: VisionLanguageModel) -> None:
    with pytest.raises(StreamingError, match="archive_bytes: 1000 bytes of archive do not hold one span"):
        Engine(tiny, settings=EngineSettings(max_cameras=1, archive_bytes=1000))


def test_a_budget_in_bytes_is_a_budget_in_tokens(tiny: VisionLanguageModel) -> None:
    """The smaller of the two holds."""
    engine = Engine(tiny, settings=EngineSettings(max_cameras=3))
    engine.open(CameraSettings("a", budget_bytes=200 * tiny.kv.row_bytes + 5))
    engine.open(CameraSettings("b", budget_tokens=150, budget_bytes=1 << 30))
    assert engine.memory("a").budget_tokens == 200
    assert engine.memory("b").budget_tokens == 150
    with pytest.raises(StreamingError, match="a memory of 3 tokens is too small"):
        engine.open(CameraSettings("c", budget_bytes=3 * tiny.kv.row_bytes))


def test_a_bound_on_all_memory_takes_fewer_cameras(tiny: VisionLanguageModel) -> None:
    """What was promised in bytes is what the pools take; one camera more is refused with the figures."""
    roomy = EngineSettings(max_cameras=8, max_budget_tokens=400)
    full = Engine(tiny, settings=roomy)
    engine = Engine(tiny, settings=EngineSettings(max_cameras=8, max_budget_tokens=400, max_memory_bytes=16_000_000))
    taken = sum(pool.keys.nbytes + pool.values.nbytes for pool in (engine._pool, engine._answers._suffixes))
    assert taken <= 16_000_000 < taken + engine._pool.slab_bytes
    assert engine._pool.total < full._pool.total
    cameras = engine._pool.total - roomy.spare_slabs
    for i in range(cameras):
        engine.open(CameraSettings(f"c{i}", budget_tokens=400))
    with pytest.raises(LimitError, match=f"cameras: {cameras + 1} asked, {cameras} possible; .*max_memory_bytes"):
        engine.open(CameraSettings("more", budget_tokens=400))
    with pytest.raises(StreamingError, match="hold no camera"):
        Engine(tiny, settings=EngineSettings(max_memory_bytes=1000))
