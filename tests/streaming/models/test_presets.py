"""Presets have the published shapes, run through the published classes, and are never what somebody gets by accident."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streaming import models
from streaming.engine import Engine, EngineSettings
from streaming.errors import ModelError
from streaming.models import presets
from streaming.models.recipe import small_tokenizer
from streaming.types import Ask, AskStatus, CameraSettings, StepPlan
from tests.streaming.scenes import frame, yard


@pytest.mark.parametrize("name", list(presets.SHAPES))
def test_a_preset_has_the_published_number_of_parameters(name: str) -> None:
    """Every weight of the published checkpoint and no other, counted without allocating one."""
    wanted = presets.read(f"preset:{name}")
    kind = models.families()[wanted.model_type].architecture
    with torch.device("meta"):
        model = kind(kind.config_class(**presets.settings(wanted, small_tokenizer())))
        model.tie_weights()
    assert sum(p.numel() for p in model.parameters()) == wanted.shape.parameters


@pytest.mark.parametrize("name", list(presets.SHAPES))
@pytest.mark.parametrize("divisor", [2, 5, 12, 99])
def test_a_scaled_preset_keeps_its_widths(name: str, divisor: int) -> None:
    """One layer of N is left, at least one, and the special layers stay spread over the encoder."""
    whole, scaled = (
        presets.settings(presets.read(f"preset:{name}{end}"), small_tokenizer()) for end in ("", f"/{divisor}")
    )
    changed = {"num_hidden_layers", "depth", presets.SHAPES[name].special}
    for part in ("text_config", "vision_config"):
        assert {k: v for k, v in whole[part].items() if k not in changed} == {
            k: v for k, v in scaled[part].items() if k not in changed
        }
    assert scaled["text_config"]["num_hidden_layers"] == max(1, whole["text_config"]["num_hidden_layers"] // divisor)
    depth = scaled["vision_config"]["depth"]
    assert depth == max(1, whole["vision_config"]["depth"] // divisor)
    special = scaled["vision_config"][presets.SHAPES[name].special]
    assert special == sorted(set(special))
    assert all(0 <= layer < depth for layer in special)


@pytest.mark.parametrize("name", ["preset:qwen3-vl-9b", "preset:", "preset:qwen3-vl-8b/0", "preset:qwen3-vl-8b/x"])
def test_an_unknown_preset_names_the_known(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such preset; there are preset:qwen3-vl-2b.*preset:qwen2\.5-vl-7b"):
        models.load(name, cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["qwen3-vl-8b", "qwen2.5-vl-7b"])
def test_no_preset_without_its_prefix(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        models.load(name, cache_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["preset:qwen3-vl-2b/28", "preset:qwen2.5-vl-3b/32"])
def test_a_scaled_preset_watches_and_answers(name: str, tmp_path: Path) -> None:
    """One layer of the real width, in the dtype it is published in: frames in, words out, the same every time."""
    model = models.load(name, cache_dir=tmp_path)
    assert model.kv.dtype is torch.bfloat16
    assert not list(tmp_path.iterdir()), "a preset writes nothing"
    engine = Engine(model, settings=EngineSettings(max_cameras=1, spare_slabs=0, max_budget_tokens=512, max_asks=1))
    engine.open(CameraSettings("yard", drop="none", budget_tokens=512))
    ask = Ask("q", "yard", "What do you see?", max_tokens=4)
    result = engine.step(StepPlan((frame("yard", 0, yard()),), start=(ask,), advance=("q",), decode_tokens=3))
    assert not result.failed
    result = engine.step(StepPlan(advance=("q",), decode_tokens=3))
    assert result.answers[-1].status is AskStatus.COMPLETED
    assert np.isfinite(result.gpu_ms)
