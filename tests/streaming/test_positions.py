"""A week of ids: what the engine computes after many rebases is what exact angles at the true ids give."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memory.rope import rebase
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.types import CameraSettings, StepPlan

from .recorder import Recorder
from .scenes import frame, visited, walk
from .test_exact import ids_of, joined, stock_inputs

FRAMES = 10
WEEK_IDS = 1_209_600  # seven days at 2 ids a second
ROUND_IDS = 50_400  # between two rebases


class ExactAngles(nn.Module):
    """The stock rotary module in fp64, where angles at a million are still angles."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.stock = stock

    def forward(self, _x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids[..., None].double() * self.stock.inv_freq.double()  # [3, 1, n, head_dim / 2]
        return self.stock.recomposition_frequencies(angles.cos()), self.stock.recomposition_frequencies(angles.sin())


def stock_frame(stock: Any, model: VisionLanguageModel, *, offset: int, exact: bool) -> Tensor:
    """The stock model in one shot over all frames, every id `offset` larger; logits of the last frame's rows."""
    images = [*walk(FRAMES), visited(14)]
    layouts, pixels, thw, _ = stock_inputs(model, images, "repeat")
    net = copy.deepcopy(stock)
    with torch.inference_mode():
        vision = net.model.get_video_features(pixels, thw, return_dict=True)
        embeds, deepstack = joined(vision.pooler_output), [joined(f) for f in vision.deepstack_features]
        if exact:
            net, embeds, deepstack = net.double(), embeds.double(), [f.double() for f in deepstack]
            net.model.language_model.rotary_emb = ExactAngles(net.model.language_model.rotary_emb)
        ids = torch.tensor([[*model.dialogue.head, *ids_of(layouts)]])
        is_video = ids == stock.config.video_token_id
        pos, _ = stock.model.get_rope_index(ids, torch.where(is_video, 2, 0).int(), video_grid_thw=thw)
        inputs = net.get_input_embeddings()(ids)
        inputs[is_video] = embeds
        hidden = net.model.language_model(
            inputs_embeds=inputs,
            position_ids=pos + offset,
            visual_pos_masks=is_video,
            deepstack_visual_embeds=deepstack,
        ).last_hidden_state
        logits: Tensor = net.lm_head(hidden)[0, -len(layouts[-1].ids) :].float()
    return logits


def after_a_week(model: VisionLanguageModel, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """The same frame in an engine whose ids grew to WEEK_IDS and were moved back every ROUND_IDS."""
    recorder = Recorder(model)
    engine = Engine(recorder, settings=EngineSettings(max_cameras=1))
    engine.open(CameraSettings("yard", drop="none"))
    for i, image in enumerate(walk(FRAMES)):
        engine.step(StepPlan(frames=(frame("yard", i, image),)))
    kv = engine._views["yard"].kv
    held = kv.meta.pos.copy()
    with torch.inference_mode():
        for _ in range(WEEK_IDS // ROUND_IDS):
            kv.shift(np.full(len(kv), ROUND_IDS, np.int64), model.rope.drift, cursor=kv.cursor + ROUND_IDS)
            shift, cursor = rebase(kv.meta, kv.cursor, limit=20_000, moving=model.rope.moving)
            kv.shift(shift, model.rope.drift, cursor=cursor)
    assert np.array_equal(kv.meta.pos, held)
    engine.step(StepPlan(frames=(frame("yard", FRAMES, visited(14)),)))
    return recorder.frames[-1]


def test_after_a_week_the_logits_are_those_of_exact_angles_at_the_true_ids(
    tiny: VisionLanguageModel, stock: Any
) -> None:
    """Ids past 1e6, computed in fp64, against 48 turns of the keys and small ids in fp32: to 1e-3."""
    want = stock_frame(stock, tiny, offset=WEEK_IDS, exact=True)
    got = after_a_week(tiny)
    assert (got - want).abs().max() <= 1e-3


@pytest.mark.parametrize("offset", [WEEK_IDS])
def test_without_rebasing_fp32_angles_would_not_hold(tiny: VisionLanguageModel, stock: Any, offset: int) -> None:
    """Why ids are moved: the stock model itself, at those ids, misses the same bar."""
    want = stock_frame(stock, tiny, offset=offset, exact=True)
    got = stock_frame(stock, tiny, offset=offset, exact=False)
    assert (got - want).abs().max() > 1e-3
