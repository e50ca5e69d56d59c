"""Qwen3-VL (2B to 32B, dense): timestamps as text, full attention per picture, DeepStack features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from memory.kernels.base import Batch
from memory.kernels.products import measured, shapes_of
from memory.rope import Rope

from .axes import interleaved
from .base import Chunk, Encoded, Layout, Parts
from .canvas import Canvas
from .checkpoint import eos_ids
from .decoder import attention_of, canvas_shape, following, kv_shape, run
from .dialogue import Dialogue
from .embedding import PatchEmbedding
from .forwards import Features
from .packed import Portions, Segments, one_sequence
from .patches import PatchGrid
from .trial import choose as choose_forward

VISION_START, VIDEO_PAD, VISION_END = "<|vision_start|>", "<|video_pad|>", "<|vision_end|>"
LONGEST_TIME = "<9999999.9 seconds>"  # 115 days


class Qwen3VL:
    """
    A Qwen3-VL checkpoint through the unmodified transformers class; a VisionLanguageModel.

    A frame is written as its processor writes it: `<12.5 seconds>`, vision start, the picture's tokens, vision end.
    Ids: text counts up on all three axes; the picture has one t, and h, w from there; the text behind it continues at
    t + max(h, w).
    """

    model_type: ClassVar[str] = "qwen3_vl"
    architecture: ClassVar[Any] = Qwen3VLForConditionalGeneration
    ids_per_second: float = 0.0  # ids count tokens; the time is written out

    def __init__(self, parts: Parts) -> None:
        model = parts.model
        self.name = parts.name
        self.vision = parts.vision
        self.kv = kv_shape(parts)
        self.products = measured(shapes_of(model))
        self.attention = attention_of(parts, self.kv, self.products)
        self.decoder = choose_forward(parts, self.kv, self.attention.kernel)
        self.dialogue = Dialogue(
            parts.tokenizer, video=VIDEO_PAD, wrap=(VISION_START, VISION_END), eos=eos_ids(model, parts.tokenizer)
        )
        rotary = model.model.language_model.rotary_emb
        sections = model.config.text_config.rope_parameters["mrope_section"]
        self.rope = Rope(rotary.inv_freq, interleaved(sections, len(rotary.inv_freq)).to(parts.device))
        self.max_positions = int(model.config.text_config.max_position_embeddings)
        self._parts = parts
        self._visual = model.model.visual
        self._visual.patch_embed = PatchEmbedding(self._visual.patch_embed.proj, parts.vision)
        self._device = parts.device
        self._video_pad = int(model.config.video_token_id)
        self._vision_end = self.dialogue.text(VISION_END)
        self._layers = {block.attn: layer for layer, block in enumerate(self._visual.blocks)}
        self.canvas = canvas_shape(parts, layers=len(self._layers))
        self._indices = lru_cache(maxsize=64)(self._build_indices)

    def encode(self, grids: Sequence[PatchGrid], canvases: Sequence[Canvas] = ()) -> list[Encoded]:
        """One call of the vision tower; pictures do not see each other."""
        patches = torch.from_numpy(np.concatenate([grid.patches for grid in grids])).to(self._device, non_blocking=True)
        indices = self._indices(tuple(grid.hw for grid in grids))
        if canvases:
            indices = self._portions(grids, canvases, indices)
        with self.products.over(len(patches)):
            output = self._visual(patches, grid_thw=None, return_dict=True, **indices)
        counts = [len(grid.patches) // self.vision.merge**2 for grid in grids]
        embeds = output.pooler_output.split(counts)
        deepstack = [features.split(counts) for features in output.deepstack_features]
        parts = [(embeds[i], tuple(features[i] for features in deepstack)) for i in range(len(grids))]
        if not canvases:
            return [Encoded(*part, grid.hw) for part, grid in zip(parts, grids, strict=True)]
        return [canvas.paint(grid, *part) for canvas, grid, part in zip(canvases, grids, parts, strict=True)]

    def windows(self, hw: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.arange(hw[0] * hw[1])  # every cell can be encoded alone

    def layout(self, hw: tuple[int, int], *, time_s: float, start: int) -> Layout:
        h, w = hw
        lead = self.dialogue.text(f"<{time_s:.1f} seconds>{VISION_START}")
        first = start + len(lead)
        cells = np.stack((np.zeros(h * w, np.int64), np.repeat(np.arange(h), w), np.tile(np.arange(w), h))) + first
        behind = first + max(h, w)
        end = behind + len(self._vision_end)
        pos = np.concatenate((_text_ids(start, first), cells, _text_ids(behind, end)), axis=1)
        ids = np.array([*lead, *[self._video_pad] * (h * w), *self._vision_end], np.int64)
        visual = np.zeros(len(ids), np.bool_)
        visual[len(lead) : len(lead) + h * w] = True
        return Layout(ids, visual, pos, end)

    def frame_overhead(self) -> int:
        return len(self.dialogue.text(f"{LONGEST_TIME}{VISION_START}")) + len(self._vision_end)

    def embed(self, ids: Tensor) -> Tensor:
        embeds: Tensor = self._parts.model.model.language_model.embed_tokens(ids)
        return embeds

    def forward(self, chunks: Sequence[Chunk], *, words: Tensor | None = None) -> Tensor:
        return run(
            self._parts,
            chunks,
            kernel=self.attention.kernel,
            forward=self.decoder.forward,
            products=self.products,
            words=words,
            features=_deepstack(chunks),
        )

    def following(self, batch: Batch, tokens: Tensor, pos: Tensor) -> Tensor:
        return following(self._parts, batch, tokens, pos, forward=self.decoder.forward)

    def _build_indices(self, grids: tuple[tuple[int, int], ...]) -> dict[str, Any]:
        """What the tower would else work out on the device, synchronising: made on the host once a set of grids."""
        merge = self.vision.merge
        thw = torch.tensor([(1, h * merge, w * merge) for h, w in grids])
        pictures = get_vision_cu_seqlens(thw).tolist()
        indices, weights = get_vision_interpolation_indices_and_weights(
            thw,
            num_grid_per_side=self._visual.num_grid_per_side,
            mode=self._visual.interpolation_mode,
            align_corners=self._visual.interpolation_align_corners,
            spatial_merge_size=merge,
        )
        return {
            "interp_indices": indices.to(self._device),
            "interp_weights": weights.to(self._device),
            "position_ids": get_vision_position_ids(thw, merge).to(self._device),
            "cu_seqlens": one_sequence(int(pictures[-1])),
            "segments": Segments(pictures, kernel=self.attention.kernel),
        }

    def _portions(
        self, grids: Sequence[PatchGrid], canvases: Sequence[Canvas], whole: dict[str, Any]
    ) -> dict[str, Any]:
        """The same for pictures of which only chosen cells are given; whole: the indices of all of their patches."""
        merge, kernel = self.vision.merge, self.attention.kernel
        work = [canvas.portion(grid, merge) for canvas, grid in zip(canvases, grids, strict=True)]
        batch = kernel.portions(canvases[0].pool, work, device=self._device)
        asked = {
            "cu_seqlens": one_sequence(sum(len(each.rows) for each in work)),
            "segments": Portions(batch, self._layers, kernel=kernel),
        }
        if all(grid.cells is None for grid in grids):
            return whole | asked
        starts = np.cumsum([0, *(each.total for each in work)])
        rows = np.concatenate([start + each.rows for start, each in zip(starts, work, strict=False)])
        at = torch.from_numpy(rows).to(self._device, non_blocking=True)
        picked = {name: whole[name][at] for name in ("interp_indices", "interp_weights", "position_ids")}
        return whole | picked | asked


def _deepstack(chunks: Sequence[Chunk]) -> Features | None:
    """What DeepStack adds to the rows of a batch; None where no chunk shows a picture."""
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    shown = [
        (chunk.visual + start, chunk.deepstack)
        for start, chunk in zip(starts, chunks, strict=False)
        if chunk.visual is not None and len(chunk.visual)
    ]
    if not shown:
        return None
    layers = zip(*(deepstack for _, deepstack in shown), strict=True)
    return Features(np.concatenate([rows for rows, _ in shown]), tuple(torch.cat(layer) for layer in layers))


def _text_ids(start: int, stop: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.broadcast_to(np.arange(start, stop, dtype=np.int64), (3, stop - start))


FAMILY = Qwen3VL
