"""The engine computes what the stock model computes: frame by frame, forked, batched, compacted, rebased."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from memory.types import Compaction
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.models.base import Layout
from streaming.models.packed import cache_argument
from streaming.models.patches import normalise, patchify
from streaming.types import Ask, CameraSettings, Check, Image, StepPlan

from .recorder import Recorder
from .scenes import frame, visited, walk, yard

QUESTION = "Is a person at the door?"


def engine_over(model: Any, images: list[Image], *, drop: str, **settings: Any) -> tuple[Engine, Recorder]:
    """An engine with one camera that has seen the images one by one, and all logits it computed for them."""
    recorder = Recorder(model)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=2, **settings))
    engine.open(CameraSettings("yard", drop=drop))
    recorder.others.clear()
    for i, image in enumerate(images):
        engine.step(StepPlan(frames=(frame("yard", i, image),)))
    return engine, recorder


def stock_inputs(
    model: VisionLanguageModel, images: list[Image], pairing: Literal["repeat", "pair"]
) -> tuple[list[Layout], Tensor, Tensor, tuple[int, int]]:
    """The same frames as the published processor writes them: layouts, pixels, grid, tokens per frame."""
    groups = [images[i : i + 2] for i in range(0, len(images), 2)] if pairing == "pair" else [[i, i] for i in images]
    step_s = 0.5 * (2 if pairing == "pair" else 1)
    offset_s = 0.25 if pairing == "pair" else 0.0
    grids = [patchify(group, model.vision) for group in groups]
    hw = grids[0].hw
    pixels = torch.cat([normalise(torch.from_numpy(grid.patches), model.vision) for grid in grids])
    start = len(model.dialogue.head)
    layouts = []
    for i in range(len(grids)):
        layouts.append(model.layout(hw, time_s=offset_s + i * step_s, start=start))
        start = layouts[-1].end
    thw = torch.tensor([[len(grids), hw[0] * model.vision.merge, hw[1] * model.vision.merge]])
    return layouts, pixels, thw, hw


def stock_logits(stock: Any, model: VisionLanguageModel, layouts: list[Layout], pixels: Tensor, thw: Tensor) -> Tensor:
    """One shot of the stock class over head, frames and the rule's question; it works its own ids out."""
    ids = torch.tensor([[*model.dialogue.head, *ids_of(layouts), *model.dialogue.check(QUESTION)]])
    video = stock.config.video_token_id
    with torch.inference_mode():
        output = stock(
            input_ids=ids,
            pixel_values_videos=pixels,
            video_grid_thw=thw,
            mm_token_type_ids=torch.where(ids == video, 2, 0).int(),
        )
    return output.logits[0]


def joined(features: Any) -> Tensor:
    """Features of all pictures; transformers hands them out in one piece or in one per picture, by version."""
    return features if isinstance(features, Tensor) else torch.cat(list(features))


def ids_of(layouts: list[Layout]) -> list[int]:
    return [int(token) for layout in layouts for token in layout.ids]


@pytest.mark.parametrize("pairing", ["repeat", "pair"])
def test_64_frames_one_by_one_equal_one_shot_of_the_stock_model(
    tiny: VisionLanguageModel, stock: Any, pairing: Literal["repeat", "pair"]
) -> None:
    """Drop off: every logit of every frame and of the question, fp32, to 1e-4."""
    images = walk(64)
    engine, recorder = engine_over(tiny, images, drop="none", pairing=pairing)
    layouts, pixels, thw, _ = stock_inputs(tiny, images, pairing)
    want = stock_logits(stock, tiny, layouts, pixels, thw)[len(tiny.dialogue.head) :]
    p = engine.step(StepPlan(checks=(Check("yard", (("r", QUESTION),)),))).checks[0].p
    got = torch.cat([*recorder.frames, recorder.others[-1]])
    assert got.shape == want.shape
    assert (got - want).abs().max() <= 1e-4
    yes, no = (want[-1, list(ids)].logsumexp(0) for ids in (tiny.dialogue.yes, tiny.dialogue.no))
    assert p == pytest.approx(float((yes - no).sigmoid()), abs=1e-4)


def test_64_frames_with_token_drop_equal_the_stock_language_model_over_the_kept_tokens(
    tiny: VisionLanguageModel, stock: Any
) -> None:
    """Feature DTD: same kept tokens, original ids, DeepStack rows masked alike, no trace of a frame without tokens."""
    images = walk(64)
    _, recorder = engine_over(tiny, images, drop="feature")
    layouts, pixels, thw, (h, w) = stock_inputs(tiny, images, "repeat")
    with torch.inference_mode():
        vision = stock.model.get_video_features(pixels, thw, return_dict=True)
        embeds, deepstack = joined(vision.pooler_output), [joined(f) for f in vision.deepstack_features]
        # the paper's rule, once more and token by token
        cells = embeds.view(len(images), h * w, -1)
        similar = torch.cosine_similarity(cells[1:], cells[:-1], dim=-1)
        keep = torch.cat([torch.ones(1, h * w, dtype=torch.bool), ~(similar > 0.5)])
        ids = torch.tensor([[*tiny.dialogue.head, *ids_of(layouts)]])
        is_video = ids == stock.config.video_token_id
        pos, _ = stock.model.get_rope_index(ids, torch.where(is_video, 2, 0).int(), video_grid_thw=thw)
        rows = torch.ones(ids.shape[1], dtype=torch.bool)
        rows[is_video[0]] = keep.flatten()
        at = len(tiny.dialogue.head)
        for i, layout in enumerate(layouts):
            if not keep[i].any():
                rows[at : at + len(layout.ids)] = False
            at += len(layout.ids)
        inputs = stock.get_input_embeddings()(ids)
        inputs[is_video] = embeds
        hidden = stock.model.language_model(
            inputs_embeds=inputs[:, rows],
            position_ids=pos[:, :, rows],
            visual_pos_masks=is_video[:, rows],
            deepstack_visual_embeds=[features[keep.flatten()] for features in deepstack],
        ).last_hidden_state
        want = stock.lm_head(hidden)[0, len(tiny.dialogue.head) :]
    kept = keep.sum(dim=1)
    assert kept.eq(0).sum() >= 30
    assert kept.gt(0).sum() >= 20
    got = torch.cat(recorder.frames)
    assert got.shape == want.shape
    assert (got - want).abs().max() <= 1e-4


def test_the_prompt_and_the_frames_tokenise_as_one_text(tiny: VisionLanguageModel) -> None:
    """Piece by piece gives the ids of the whole published text."""
    layouts = [tiny.layout((3, 5), time_s=t, start=0) for t in (0.0, 0.5, 12.5)]
    text = tiny.dialogue.head_text + "".join(
        f"<{t:.1f} seconds><|vision_start|>" + "<|video_pad|>" * 15 + "<|vision_end|>" for t in (0.0, 0.5, 12.5)
    )
    assert list(tiny.dialogue.text(text)) == [*tiny.dialogue.head, *ids_of(layouts)]


def test_questions_leave_the_next_logits_bit_identical(tiny: VisionLanguageModel) -> None:
    """Rules and a question that is answered over many steps change no bit of what the frames compute."""
    images = walk(24)
    _, plain = engine_over(tiny, images, drop="feature")
    recorder = Recorder(tiny)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=2))
    engine.open(CameraSettings("yard", drop="feature"))
    for i, image in enumerate(images):
        start = (Ask(f"q{i}", "yard", "What do you see?", max_tokens=20),) if i % 5 == 0 else ()
        running = tuple(f"q{j}" for j in range(0, i, 5))
        checks = (Check("yard", (("a", QUESTION), ("b", "Is it night?"))),)
        engine.step(StepPlan(frames=(frame("yard", i, image),), checks=checks, start=start, advance=running))
    assert len(recorder.frames) == len(plain.frames)
    assert all(torch.equal(a, b) for a, b in zip(plain.frames, recorder.frames, strict=True))


def test_rules_in_one_batch_equal_rules_one_by_one(tiny: VisionLanguageModel) -> None:
    """Neighbouring questions do not see each other, whether they share a forward, take rounds, or go alone."""
    questions = [QUESTION, "Is it night?", "Is there a car in the road?", "Is the lamp on?", "Nobody?"]
    rules = tuple((f"r{i}", text) for i, text in enumerate(questions))
    engine, _ = engine_over(tiny, walk(8), drop="feature")
    narrow, _ = engine_over(tiny, walk(8), drop="feature", max_check_tokens=80)
    together = [c.p for c in engine.step(StepPlan(checks=(Check("yard", rules),))).checks]
    in_rounds = [c.p for c in narrow.step(StepPlan(checks=(Check("yard", rules),))).checks]
    alone = [engine.step(StepPlan(checks=(Check("yard", (rule,)),))).checks[0].p for rule in rules]
    assert together == pytest.approx(alone, abs=1e-5)
    assert in_rounds == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) == len(alone)


def test_cameras_in_one_batch_equal_cameras_alone(tiny: VisionLanguageModel) -> None:
    """Three cameras stepped together compute what each computes in an engine of its own, to 1e-4."""
    names = ("a", "b", "c")
    videos = {name: [visited((5 * j + i) % 15, noise=100 * j + i) for i in range(10)] for j, name in enumerate(names)}
    recorder = Recorder(tiny)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=3))
    for name in names:
        engine.open(CameraSettings(name, drop="none"))
    for i in range(10):
        engine.step(StepPlan(frames=tuple(frame(name, i, videos[name][i]) for name in names)))
    assert recorder.encodes == 10
    for j, name in enumerate(names):
        _, alone = engine_over(tiny, videos[name], drop="none")
        worst = max(float((a - b).abs().max()) for a, b in zip(alone.frames, recorder.frames[j::3], strict=True))
        assert worst <= 1e-4


@pytest.mark.parametrize("policy", ["window", "salience", "retrieve"])
def test_a_compaction_is_stock_attention_over_the_surviving_rows(
    tiny: VisionLanguageModel, stock: Any, policy: str
) -> None:
    """The frame that forced a compaction equals the stock model over a stock cache cut to the surviving rows."""
    images = [visited(i % 15, noise=i) for i in range(9)]
    recorder = Recorder(tiny)
    options = {kind: {"whole_s": 0.6} for kind in ("salience", "retrieve")}
    engine = Engine(recorder, settings=EngineSettings(max_cameras=1, archive_bytes=1 << 20, policy_options=options))
    engine.open(CameraSettings("yard", drop="none", budget_tokens=180, policy=policy))
    kv = engine._views["yard"].kv
    before = 0
    for i, image in enumerate(images):
        held = kv.meta
        engine.step(StepPlan(frames=(frame("yard", i, image),)))
        if len(held) + len(recorder.frames[-1]) > 180:
            before = i
            break
    assert before > 2
    here = set(map(tuple, kv.meta.pos.T))
    survivors = np.array([row for row, pos in enumerate(held.pos.T) if tuple(pos) in here])
    layouts, pixels, thw, _ = stock_inputs(tiny, images[: before + 1], "repeat")
    assert 0 < len(survivors) < len(held)
    with torch.inference_mode():
        vision = stock.model.get_video_features(pixels, thw, return_dict=True)
        embeds, deepstack = joined(vision.pooler_output), [joined(f) for f in vision.deepstack_features]
        ids = torch.tensor([[*tiny.dialogue.head, *ids_of(layouts)]])
        is_video = ids == stock.config.video_token_id
        inputs = stock.get_input_embeddings()(ids)
        inputs[is_video] = embeds
        pos, _ = stock.model.get_rope_index(ids, torch.where(is_video, 2, 0).int(), video_grid_thw=thw)
        cache = DynamicCache(config=stock.config.text_config)
        cut, seen = len(held), 15 * before
        stock.model.language_model(
            inputs_embeds=inputs[:, :cut],
            position_ids=pos[:, :, :cut],
            **{cache_argument(stock.model.language_model): cache},
            visual_pos_masks=is_video[:, :cut],
            deepstack_visual_embeds=[features[:seen] for features in deepstack],
        )
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[:, :, survivors], layer.values[:, :, survivors]
        hidden = stock.model.language_model(
            inputs_embeds=inputs[:, cut:],
            position_ids=pos[:, :, cut:],
            **{cache_argument(stock.model.language_model): cache},
            visual_pos_masks=is_video[:, cut:],
            deepstack_visual_embeds=[features[seen:] for features in deepstack],
        ).last_hidden_state
        want = stock.lm_head(hidden)[0]
    assert (recorder.frames[-1] - want).abs().max() <= 1e-4


def test_a_compaction_that_evicts_nothing_changes_no_bit(tiny: VisionLanguageModel) -> None:
    """Applying "keep everything" is the identity."""
    engine, plain = engine_over(tiny, walk(12), drop="feature")
    other, recorder = engine_over(tiny, walk(12), drop="feature")
    kv = other._views["yard"].kv
    kv.apply(Compaction(np.arange(len(kv), dtype=np.int64)))
    for each in (engine, other):
        each.step(StepPlan(frames=(frame("yard", 12, visited(14)),)))
    assert torch.equal(plain.frames[-1], recorder.frames[-1])


@pytest.mark.parametrize("shift", [-1000, 3000])
def test_rebase_by_a_uniform_shift_leaves_the_logits(tiny: VisionLanguageModel, shift: int) -> None:
    """All ids moved alike: the next frame's logits stay within 1e-3."""
    engine, plain = engine_over(tiny, walk(12), drop="feature")
    other, recorder = engine_over(tiny, walk(12), drop="feature")
    kv = other._views["yard"].kv
    with torch.inference_mode():
        kv.shift(np.full(len(kv), shift, np.int64), tiny.rope.drift, cursor=kv.cursor + shift)
    for each in (engine, other):
        each.step(StepPlan(frames=(frame("yard", 12, visited(14)),)))
    assert (plain.frames[-1] - recorder.frames[-1]).abs().max() <= 1e-3
    assert np.array_equal(plain.frame_pos[-1] + shift, recorder.frame_pos[-1])


def test_ids_stay_below_the_rebase_limit_for_ever(tiny: VisionLanguageModel) -> None:
    """A still camera drops every frame, yet its ids keep growing: rebasing holds them, and the memory stays in order."""
    recorder = Recorder(tiny)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=1, rebase_at=400))
    engine.open(CameraSettings("yard"))
    kv = engine._views["yard"].kv
    highest = 0
    for i in range(120):
        engine.step(StepPlan(frames=(frame("yard", i, visited(i // 20) if i % 20 == 0 else yard(noise=i)),)))
        highest = max(highest, kv.cursor)
        assert int(kv.meta.pos.max()) < kv.cursor or kv.cursor == 0
    assert highest <= 400 + 32
    assert int(kv.meta.pos.min()) >= 0
    assert bool(np.all(np.diff(kv.meta.pos.min(axis=0)[np.flatnonzero(np.diff(kv.meta.frame, prepend=-2))]) > 0))
