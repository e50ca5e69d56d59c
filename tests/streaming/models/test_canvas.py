"""Portions of pictures through the encoder: what is not new is as it was, to 1e-5 of the plain formula."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from memory.kernels import Chosen
from memory.kernels.flash_cpu import FlashCpu
from memory.kernels.reference import Reference
from memory.kernels.varlen import Varlen
from memory.pool import SlabPool
from streaming import models
from streaming.models import VisionLanguageModel
from streaming.models.canvas import Canvas, patch_rows
from streaming.models.patches import PatchGrid, normalise, patchify
from streaming.types import Image
from tests.memory.kernels.plain_varlen import plain_varlen

KERNELS = (Reference(), FlashCpu(), Varlen(plain_varlen), Varlen(plain_varlen, paged=False))
ROWS = 512  # of a canvas: a multiple of 256, so that kernels may read pages
TOLERANCE = 1e-4  # as everywhere against the stock class; outputs are around 10


@pytest.fixture(scope="module", params=["tiny-random", "tiny-random-2.5"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(
    params=KERNELS, ids=lambda kernel: f"{kernel.name}{'' if getattr(kernel, '_paged', True) else '-gathered'}"
)
def model(request: pytest.FixtureRequest, name: str, tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    loaded = models.load(name, cache_dir=tmp_path_factory.mktemp("models"))
    loaded.attention = Chosen(request.param, "chosen by a test")
    return loaded


def pictures(seed: int = 0) -> tuple[Image, Image]:
    """Of two sizes."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (128, 160, 3), np.uint8), random.integers(0, 256, (96, 128, 3), np.uint8)


def canvases(model: VisionLanguageModel, count: int) -> list[Canvas]:
    pool = SlabPool(model.canvas, slabs=count, rows=ROWS)
    return [Canvas(pool) for _ in range(count)]


def some(model: VisionLanguageModel, hw: tuple[int, int], *of: int) -> np.ndarray:
    """The cells of those windows."""
    windows = model.windows(hw)
    return np.flatnonzero(np.isin(windows, windows[list(of)])).astype(np.int64)


def encode(model: VisionLanguageModel, grids: list[PatchGrid], on: list[Canvas] | None = None) -> list[Tensor]:
    with torch.inference_mode():
        return [code.embeds.clone() for code in model.encode(grids, on or ())]


def test_whole_pictures_on_canvases_are_those_without(model: VisionLanguageModel) -> None:
    grids = [patchify([image], model.vision) for image in pictures()]
    for a, b in zip(encode(model, grids), encode(model, grids, canvases(model, 2)), strict=True):
        assert torch.allclose(a, b, atol=TOLERANCE)


def test_a_portion_that_did_not_change_changes_nothing(model: VisionLanguageModel) -> None:
    """Beside a whole picture of another camera in the same call."""
    first, second = pictures()
    grids = [patchify([image], model.vision) for image in (first, second)]
    on = canvases(model, 2)
    whole = encode(model, grids, on)
    portion = patchify([first], model.vision, cells=some(model, grids[0].hw, 0, 7))
    assert len(portion.patches) < len(grids[0].patches)
    for a, b in zip(whole, encode(model, [portion, grids[1]], on), strict=True):
        assert torch.allclose(a, b, atol=TOLERANCE)


def test_all_cells_as_a_portion_are_a_new_picture(model: VisionLanguageModel) -> None:
    """Nothing of the old one is left."""
    (old, _), (new, _) = pictures(1), pictures(2)
    on = canvases(model, 1)
    encode(model, [patchify([old], model.vision)], on)
    grid = patchify([new], model.vision)
    everything = patchify([new], model.vision, cells=np.arange(grid.hw[0] * grid.hw[1]))
    (got,), (wanted,) = encode(model, [everything], on), encode(model, [grid])
    assert torch.allclose(got, wanted, atol=TOLERANCE)


def test_a_portion_sees_the_rest_as_it_was(model: VisionLanguageModel, name: str, tmp_path: Any) -> None:
    """
    The stock encoder over the new picture, in which the other patches have the keys and values of the old one, gives the
    portion's tokens; the other tokens stay. A second portion sees what the first one left.
    """
    (old, _), (new, _), (newest, _) = pictures(1), pictures(2), pictures(3)
    on = canvases(model, 1)
    grid = patchify([old], model.vision)
    (shown,) = encode(model, [grid], on)
    plain = Plain(name, model, tmp_path)
    wanted = plain.whole(old)
    assert torch.allclose(shown, wanted, atol=TOLERANCE)
    for image, cells in ((new, some(model, grid.hw, 3, 8)), (newest, some(model, grid.hw, 8, 11))):
        (shown,) = encode(model, [patchify([image], model.vision, cells=cells)], on)
        wanted = wanted.clone()
        wanted[cells] = plain.portion(image, cells)[cells]
        assert torch.allclose(shown, wanted, atol=TOLERANCE)


def test_a_closed_canvas_gives_its_slab_back_and_a_wiped_one_holds_nothing(model: VisionLanguageModel) -> None:
    (canvas,) = canvases(model, 1)
    encode(model, [patchify([pictures()[0]], model.vision)], [canvas])
    assert canvas.hw is not None
    canvas.wipe()
    assert canvas.hw is None
    assert canvas.pool.free == 0
    canvas.close()
    assert canvas.pool.free == 1


@dataclass
class Plain:
    """The stock encoder with plain attention, in which chosen patches can have the keys and values of an earlier call."""

    name: str
    model: VisionLanguageModel
    folder: Any
    _held: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _fresh: Tensor | None = None

    def __post_init__(self) -> None:
        stock = models.stock(self.name, cache_dir=self.folder).model
        self.tower = stock.model.visual
        AttentionInterface.register("test_held", self._attend)
        stock.set_attn_implementation({"text_config": "sdpa", "vision_config": "test_held"})
        full = getattr(self.tower, "fullatt_block_indexes", range(len(self.tower.blocks)))
        self.full = {self.tower.blocks[i].attn for i in full}

    def whole(self, image: Image) -> Tensor:
        return self._run(image, None)

    def portion(self, image: Image, cells: np.ndarray) -> Tensor:
        return self._run(image, cells)

    def _run(self, image: Image, cells: np.ndarray | None) -> Tensor:
        shape = self.model.vision
        grid = patchify([image] * shape.temporal, shape)
        h, w = grid.hw
        fresh = torch.ones(len(grid.patches), dtype=torch.bool)
        if cells is not None:
            fresh = torch.zeros(len(grid.patches), dtype=torch.bool)
            fresh[torch.from_numpy(patch_rows(PatchGrid(grid.patches, grid.hw, cells), shape.merge))] = True
        numbers = self.model.windows(grid.hw)
        order = np.argsort(numbers, kind="stable")  # the order in which a windowed tower holds its cells
        self._fresh = fresh.reshape(h * w, -1)[torch.from_numpy(order)].flatten()
        with torch.inference_mode():
            thw = torch.tensor([[1, h * shape.merge, w * shape.merge]])
            output = self.tower(normalise(torch.from_numpy(grid.patches), shape), grid_thw=thw, return_dict=True)
        embeds: Tensor = output.pooler_output
        return embeds

    def _attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any = None, **_: Any
    ) -> tuple[Tensor, None]:
        assert attention_mask is None
        if module in self.full:
            assert self._fresh is not None
            if not self._fresh.all():
                fresh = self._fresh[:, None]
                old_key, old_value = self._held[module]
                key, value = torch.where(fresh, key, old_key), torch.where(fresh, value, old_value)
            self._held[module] = (key.clone(), value.clone())
        return nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2), None
