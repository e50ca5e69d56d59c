"""Qwen2.5-VL (3B, 7B; TimeChat-Online and StreamingVLM too): time as position ids, a windowed encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids, get_vision_window_index

from memory.kernels.base import Batch
from memory.rope import Rope

from .axes import chunked
from .base import Chunk, Encoded, Layout, Parts
from .checkpoint import eos_ids
from .decoder import attention_of, following, kv_shape, run
from .dialogue import Dialogue
from .embedding import PatchEmbedding
from .packed import Segments, one_sequence
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
        self.attention = attention_of(parts, self.kv)
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
        self._indices = lru_cache(maxsize=64)(self._build_indices)

    def encode(self, grids: Sequence[PatchGrid]) -> list[Encoded]:
        """One call of the vision tower; pictures do not see each other."""
        patches = torch.from_numpy(np.concatenate([grid.patches for grid in grids])).to(self._device, non_blocking=True)
        output = self._visual(
            patches,
            grid_thw=None,
            return_dict=True,
            **self._indices(tuple(grid.hw for grid in grids)),
        )
        embeds = output.pooler_output.split([h * w for h, w in (grid.hw for grid in grids)])
        return [Encoded(part, (), grid.hw) for part, grid in zip(embeds, grids, strict=True)]

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
        return run(self._parts, chunks, kernel=self.attention.kernel, forward=self.decoder.forward, words=words)

    def following(self, batch: Batch, tokens: Tensor, pos: Tensor) -> Tensor:
        return following(self._parts, batch, tokens, pos, forward=self.decoder.forward)

    def _build_indices(self, grids: tuple[tuple[int, int], ...]) -> dict[str, Any]:
        """What the tower would else work out on the device, synchronising: made on the host once a set of grids."""
        shape, merge = self.vision, self.vision.merge
        thw = torch.tensor([(1, h * merge, w * merge) for h, w in grids])
        order, windows = get_vision_window_index(
            thw, spatial_merge_size=merge, window_size=self._visual.window_size, patch_size=shape.patch_px
        )
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


FAMILY = Qwen25VL
