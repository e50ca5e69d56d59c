"""Qwen2.5-VL's way to write a camera: one endless video, places that stay, time as ids."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from streaming import models
from streaming.errors import ModelError
from streaming.models import VisionLanguageModel, tiny_random_2_5
from streaming.models.patches import patchify
from tests.streaming.scenes import visited, yard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_random_2_5.folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(folder: Path) -> VisionLanguageModel:
    return models.load(str(folder), cache_dir=folder.parent)


@pytest.fixture(scope="module")
def stock(folder: Path) -> Any:
    return models.families()["qwen2_5_vl"].architecture.from_pretrained(folder)


@pytest.mark.parametrize("step_s", [0.25, 0.5, 1.0, 2.0, 2 / 3])
def test_the_ids_are_the_published_ones(model: VisionLanguageModel, stock: Any, step_s: float) -> None:
    """Pictures as the stock class counts them, also where time steps are fractions of an id."""
    n, (h, w), first = 9, (2, 3), len(model.dialogue.head)
    interval = int(2 * step_s) if step_s >= 1 else 2 * step_s
    try:
        want = stock.model.get_vision_position_ids(first, torch.tensor([n, 2 * h, 2 * w]), 1, 2, interval)
    except RuntimeError:
        pytest.skip("this transformers counts whole seconds alone (5.17)")
    start, got = first, []
    for i in range(n):
        layout = model.layout((h, w), time_s=i * step_s, start=start)
        assert layout.visual.all()
        assert layout.end > layout.pos.max()
        start = layout.end
        got.append(layout.pos)
    assert np.array_equal(np.concatenate(got, axis=1), want.numpy())


def test_a_camera_that_is_not_punctual_keeps_its_ids(model: VisionLanguageModel) -> None:
    """Frames up to an eighth of a second early or late land on the ids of their beat."""
    random = np.random.default_rng(4)
    times = np.arange(1, 200) * 0.5 + random.uniform(-0.12, 0.12, 199)
    t = [model.layout((2, 3), time_s=float(time), start=0).pos[0, 0] for time in times]
    assert np.diff(t).tolist() == [1] * 198


def test_the_whole_text_is_the_published_one(model: VisionLanguageModel) -> None:
    """Vision start ends the prompt, vision end begins the question: between them nothing but pictures."""
    assert model.dialogue.head_text.endswith("<|vision_start|>")
    layout = model.layout((2, 3), time_s=1.0, start=0)
    ids = [*model.dialogue.head, *layout.ids.tolist(), *model.dialogue.question("Is it night?")]
    text = (
        model.dialogue.head_text + "<|video_pad|>" * 6 + "<|vision_end|>Is it night?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert list(model.dialogue.text(text)) == ids
    assert model.frame_overhead() == 0


def test_the_recipe_is_deterministic(folder: Path, tmp_path: Path) -> None:
    again = tiny_random_2_5.folder(tmp_path)
    one, two = load_file(folder / "model.safetensors"), load_file(again / "model.safetensors")
    assert all(torch.equal(one[key], two[key]) for key in one.keys() | two.keys())


@torch.inference_mode()
def test_tokens_stay_with_their_cell(model: VisionLanguageModel) -> None:
    """Noise leaves every token alike, a new block changes few: a drop rule has something to find."""
    images = [yard(noise=1), yard(noise=2), visited(7, noise=3)]
    still, noisy, changed = (code.embeds for code in model.encode([patchify([i, i], model.vision) for i in images]))
    assert torch.cosine_similarity(still, noisy, dim=-1).min() > 0.9
    assert 1 <= int((torch.cosine_similarity(still, changed, dim=-1) < 0.5).sum()) <= 4


@torch.inference_mode()
def test_the_encoder_is_the_stock_one(model: VisionLanguageModel, stock: Any) -> None:
    """Windows, whole pictures and their order, through segments that run together, equal the stock loop."""
    from streaming.models.patches import normalise

    grids = [
        patchify([image, image], model.vision) for image in (yard(), visited(3)[:60, :60].copy(), yard()[:, :90].copy())
    ]
    pixels = torch.cat([normalise(torch.from_numpy(grid.patches), model.vision) for grid in grids])
    thw = torch.tensor([[1, grid.hw[0] * 2, grid.hw[1] * 2] for grid in grids])
    want = torch.cat(list(stock.model.get_video_features(pixels, thw, return_dict=True).pooler_output))
    got = torch.cat([code.embeds for code in model.encode(grids)])
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_a_checkpoint_as_the_hub_has_it_loads(folder: Path, tmp_path: Path) -> None:
    """The older flat config of the published folders, with rope_scaling "mrope" and pixel bounds under other names."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text.pop("model_type")
    text["rope_theta"], text["rope_scaling"] = (
        rope["rope_theta"],
        {"type": "mrope", "mrope_section": rope["mrope_section"]},
    )
    (copy / "config.json").write_text(json.dumps(text | config))
    sizes = json.loads((copy / "preprocessor_config.json").read_text())
    size = sizes.pop("size")
    sizes |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    (copy / "preprocessor_config.json").write_text(json.dumps(sizes))
    loaded = models.load(str(copy), cache_dir=tmp_path)
    plain = models.load(str(folder), cache_dir=tmp_path)
    assert loaded.vision == plain.vision
    assert torch.equal(loaded.rope.axes, plain.rope.axes)
    assert torch.equal(loaded.rope.inv_freq, plain.rope.inv_freq)


def test_sliding_windows_in_the_decoder_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    config["text_config"] |= {
        "use_sliding_window": True,
        "sliding_window": 64,
        "max_window_layers": 1,
        "layer_types": None,
    }
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="sliding windows, which are not supported"):
        models.load(str(copy), cache_dir=tmp_path)
