from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from streaming.models import VisionLanguageModel, tiny_random
from streaming.models.patches import patchify
from tests.streaming.scenes import visited, yard


def test_the_recipe_is_deterministic(tiny_folder: Path, tmp_path: Path) -> None:
    """Built twice, file by file the same; the caller's random state is left alone."""
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again = tiny_random.folder(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    names = {path.name for path in tiny_folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names >= {"generation_config.json", "preprocessor_config.json", "chat_template.jinja"}
    for name in names - {"model.safetensors"}:
        assert (tiny_folder / name).read_bytes() == (again / name).read_bytes(), name
    one, two = load_file(tiny_folder / "model.safetensors"), load_file(again / "model.safetensors")
    assert all(torch.equal(one[key], two[key]) for key in one.keys() | two.keys())


def test_two_processes_at_once_end_with_one_whole_folder(tmp_path: Path) -> None:
    """Whoever is slower throws its work away."""
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(tiny_random.folder(tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / f"tiny-random-{tiny_random.VERSION}"] * 2
    assert [path.name for path in tmp_path.iterdir()] == [found[0].name]


@torch.inference_mode()
def test_tokens_stay_with_their_cell(tiny: VisionLanguageModel) -> None:
    """Noise leaves every token alike, a new block changes its own cell most: a drop rule has something to find."""
    images = [yard(noise=1), yard(noise=2), visited(7, noise=3)]
    still, noisy, changed = (code.embeds for code in tiny.encode([patchify([i, i], tiny.vision) for i in images]))
    assert torch.cosine_similarity(still, noisy, dim=-1).min() > 0.9
    similar = torch.cosine_similarity(still, changed, dim=-1)
    assert int(similar.argmin()) == 7
    assert similar[7] < 0.5


@torch.inference_mode()
def test_pictures_in_one_call_are_encoded_as_alone(tiny: VisionLanguageModel) -> None:
    """Different sizes side by side, to fp32 rounding, DeepStack features too."""
    grids = [patchify([image, image], tiny.vision) for image in (yard(), yard()[:, :96].copy(), visited(3))]
    assert len({grid.hw for grid in grids}) == 2
    for together, grid in zip(tiny.encode(grids), grids, strict=True):
        (alone,) = tiny.encode([grid])
        assert together.hw == grid.hw
        assert (together.embeds - alone.embeds).abs().max() < 1e-5 * alone.embeds.abs().max()
        assert len(together.deepstack) == 1
        assert (together.deepstack[0] - alone.deepstack[0]).abs().max() < 1e-5 * alone.deepstack[0].abs().max()


@pytest.mark.parametrize("start", [0, 4711])
def test_a_layout_counts_as_the_family_counts(tiny: VisionLanguageModel, start: int) -> None:
    """Text counts up on all axes, cells share one t, what follows continues behind the longer side."""
    layout = tiny.layout((2, 3), time_s=1.5, start=start)
    cells = layout.pos[:, layout.visual] - layout.pos[0, layout.visual][0]
    assert cells.tolist() == [[0] * 6, [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]
    assert layout.end == layout.pos[0, -1] + 1
    assert layout.pos[0, -1] == layout.pos[0, layout.visual][0] + 3
    assert len(layout.ids) <= 6 + tiny.frame_overhead()
