"""Qwen2.5-VL (3B, 7B; TimeChat-Online and StreamingVLM too): time as position ids, a windowed encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids, get_vision_window_index

from memory.kernels.base import Batch, Portion
from memory.kernels.products import measured, shapes_of
from memory.rope import Rope

from .axes import chunked
from .base import Chunk, Encoded, Layout, Parts
from .canvas import Canvas
from .checkpoint import eos_ids
from .decoder import attention_of, canvas_shape, following, kv_shape, run
from .dialogue import Dialogue
from .embedding import PatchEmbedding
from .packed import Portions, Segments, one_sequence
from .patches import PatchGrid
from .trial import choose as choose_forward

VIDEO_PAD = "<|video_pad|>"
JITTER_IDS = 0.25  # a camera's frames come a little early or late; the published ids count exact steps


class Qwen25VL:
    """
    A Qwen2.5-VL checkpoint through the unmodified transformers class; a VisionLanguageModel.

    A camera is one endless video, as the processor writes one: vision start (the end of the prompt), the pictures'
    tokens without a word between them, and vision end in front of every question.
    Ids: a cell's h and w are its place, counted from behind the prompt and the same in every picture; its t is the
    time, `tokens_per_second` ids a second. Text goes on behind the largest id, as the checkpoints were trained.
    Pictures less than 1 / tokens_per_second apart share a t, as published.
    """

    model_type: ClassVar[str] = "qwen2_5_vl"
    architecture: ClassVar[Any] = Qwen2_5_VLForConditionalGeneration

    def __init__(self, parts: Parts) -> None:
        model = parts.model
        if "sliding_attention" in model.config.text_config.layer_types:
            raise ValueError("its decoder uses sliding windows, which are not supported")
        self.name = parts.name
        self.vision = parts.vision
        self.kv = kv_shape(parts)
        self.products = measured(shapes_of(model))
        self.attention = attention_of(parts, self.kv, self.products)
        self.decoder = choose_forward(parts, self.kv, self.attention.kernel)
        self.dialogue = Dialogue(parts.tokenizer, video=VIDEO_PAD, wrap=("", ""), eos=eos_ids(model, parts.tokenizer))
        rotary = model.model.language_model.rotary_emb
        sections = model.config.text_config.rope_parameters["mrope_section"]
        self.rope = Rope(rotary.inv_freq, chunked(sections).to(parts.device), moving=(True, False, False))
        self.max_positions = int(model.config.text_config.max_position_embeddings)
        self.ids_per_second = float(model.config.vision_config.tokens_per_second)
        self._parts = parts
        self._visual = model.model.visual
        self._visual.patch_embed = PatchEmbedding(self._visual.patch_embed.proj, parts.vision)
        self._device = parts.device
        self._video_pad = int(model.config.video_token_id)
        full = set(model.config.vision_config.fullatt_block_indexes)
        self._windowed = {block.attn: i not in full for i, block in enumerate(self._visual.blocks)}
        self._layers = {
            attn: layer for layer, attn in enumerate(attn for attn, not_all in self._windowed.items() if not not_all)
        }
        self.canvas = canvas_shape(parts, layers=len(self._layers))
        self._indices = lru_cache(maxsize=64)(self._build_indices)
        self.windows = lru_cache(maxsize=64)(self._windows)

    def encode(self, grids: Sequence[PatchGrid], canvases: Sequence[Canvas] = ()) -> list[Encoded]:
        """One call of the vision tower; pictures do not see each other."""
        patches = torch.from_numpy(np.concatenate([grid.patches for grid in grids])).to(self._device, non_blocking=True)
        indices = self._portions(grids, canvases) if canvases else self._indices(tuple(grid.hw for grid in grids))
        with self.products.over(len(patches)):
            output = self._visual(patches, grid_thw=None, return_dict=True, **indices)
        embeds = output.pooler_output.split([len(grid.patches) // self.vision.merge**2 for grid in grids])
        if not canvases:
            return [Encoded(part, (), grid.hw) for part, grid in zip(embeds, grids, strict=True)]
        return [canvas.paint(grid, part, ()) for canvas, grid, part in zip(canvases, grids, embeds, strict=True)]

    def layout(self, hw: tuple[int, int], *, time_s: float, start: int) -> Layout:
        h, w = hw
        first = len(self.dialogue.head)
        t = first + math.floor(time_s * self.ids_per_second + JITTER_IDS)
        pos = np.stack(
            (
                np.full(h * w, t, np.int64),
                np.repeat(np.arange(first, first + h, dtype=np.int64), w),
                np.tile(np.arange(first, first + w, dtype=np.int64), h),
            )
        )
        ids = np.full(h * w, self._video_pad, np.int64)
        return Layout(ids, np.ones(h * w, np.bool_), pos, max(start, t + 1, first + max(h, w)))

    def frame_overhead(self) -> int:
        return 0

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
        )

    def following(self, batch: Batch, tokens: Tensor, pos: Tensor) -> Tensor:
        return following(self._parts, batch, tokens, pos, forward=self.decoder.forward)

    def _build_indices(self, grids: tuple[tuple[int, int], ...]) -> dict[str, Any]:
        """What the tower would else work out on the device, synchronising: made on the host once a set of grids."""
        merge = self.vision.merge
        thw = torch.tensor([(1, h * merge, w * merge) for h, w in grids])
        order, windows = self._window_order(grids)
        pictures = get_vision_cu_seqlens(thw).tolist()
        return {
            "position_ids": get_vision_position_ids(thw, merge).to(self._device),
            "window_index": order.to(self._device),
            "cu_seqlens": one_sequence(pictures[-1]),
            "cu_window_seqlens": one_sequence(pictures[-1]),
            "segments": Segments(
                pictures, kernel=self.attention.kernel, windows=windows.tolist(), windowed=self._windowed
            ),
        }

    def _windows(self, hw: tuple[int, int]) -> NDArray[np.int64]:
        """A window's layers see nothing else, so a window is encoded as a whole."""
        merge = self.vision.merge
        order, cuts = self._window_order((hw,))
        number = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts) // merge**2)
        found = np.empty(hw[0] * hw[1], np.int64)
        found[order.numpy()] = number
        return found

    def _window_order(self, grids: tuple[tuple[int, int], ...]) -> tuple[Tensor, NDArray[np.int64]]:
        """The cells of the grids, window by window, and where windows begin and end, in patches."""
        merge = self.vision.merge
        order, cuts = get_vision_window_index(
            torch.tensor([(1, h * merge, w * merge) for h, w in grids]),
            spatial_merge_size=merge,
            window_size=self._visual.window_size,
            patch_size=self.vision.patch_px,
        )
        return order, np.array(cuts.tolist(), np.int64)

    def _portions(self, grids: Sequence[PatchGrid], canvases: Sequence[Canvas]) -> dict[str, Any]:
        """As `_build_indices`, for whole windows of pictures."""
        merge, kernel = self.vision.merge, self.attention.kernel
        work: list[Portion] = []
        orders: list[NDArray[np.int64]] = []
        places: list[Tensor] = []
        cuts = [0]
        for grid, canvas in zip(grids, canvases, strict=True):
            portion = canvas.portion(grid, merge)
            number = self.windows(grid.hw)
            chosen = number if grid.cells is None else number[grid.cells]
            order = np.argsort(chosen, kind="stable")  # in a window, cells stand in the picture's order
            work.append(replace(portion, rows=portion.rows.reshape(len(order), -1)[order].ravel()))
            orders.append(order + sum(len(each) for each in orders))
            cuts += (cuts[-1] + merge**2 * np.cumsum(np.unique(chosen, return_counts=True)[1])).tolist()
            places.append(
                self._indices((grid.hw,))["position_ids"][
                    torch.from_numpy(portion.rows).to(self._device, non_blocking=True)
                ]
            )
        total = one_sequence(cuts[-1])
        batch = kernel.portions(canvases[0].pool, work, device=self._device)
        return {
            "position_ids": torch.cat(places),
            "window_index": torch.from_numpy(np.concatenate(orders)).to(self._device, non_blocking=True),
            "cu_seqlens": total,
            "cu_window_seqlens": total,
            "segments": Portions(batch, self._layers, kernel=kernel, windows=cuts),
        }


FAMILY = Qwen25VL
