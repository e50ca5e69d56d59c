"""Qwen3-VL (2B to 32B, dense): timestamps as text, full attention per picture, DeepStack features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from memory.types import KVShape

from .base import Chunk, Encoded, Layout
from .checkpoint import eos_ids, load_tokenizer, load_weights, read_vision_shape
from .dialogue import Dialogue
from .packed import NAME as PACKED
from .packed import PackedCache
from .patches import PatchGrid, normalise

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

    def __init__(self, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype | None) -> None:
        self.name = name
        tokenizer = load_tokenizer(folder, name=name)
        model = load_weights(
            Qwen3VLForConditionalGeneration,
            folder,
            name=name,
            device=device,
            dtype=dtype,
            attention={"text_config": PACKED, "vision_config": "sdpa"},
        )
        text, vision = model.config.text_config, model.config.vision_config
        self._visual = model.model.visual
        self._language = model.model.language_model
        self._head = model.lm_head
        self._device = device
        self._video_pad = int(model.config.video_token_id)
        self.kv = KVShape(
            layers=text.num_hidden_layers,
            kv_heads=text.num_key_value_heads,
            head_dim=text.head_dim,
            dtype=model.dtype,
            device=device,
        )
        self.vision = read_vision_shape(
            folder,
            name=name,
            patch_px=int(vision.patch_size),
            merge=int(vision.spatial_merge_size),
            temporal=int(vision.temporal_patch_size),
        )
        self.dialogue = Dialogue(
            tokenizer, video=VIDEO_PAD, wrap=(VISION_START, VISION_END), eos=eos_ids(model, tokenizer)
        )
        self.inv_freq: Tensor = self._language.rotary_emb.inv_freq
        self.max_positions = int(text.max_position_embeddings)
        self._vision_end = self.dialogue.text(VISION_END)
        self._indices = lru_cache(maxsize=64)(self._build_indices)

    def encode(self, grids: Sequence[PatchGrid]) -> list[Encoded]:
        """One call of the vision tower; pictures do not see each other."""
        patches = torch.from_numpy(np.concatenate([grid.patches for grid in grids])).to(self._device, non_blocking=True)
        output = self._visual(
            normalise(patches, self.vision).to(self.kv.dtype),
            grid_thw=None,
            return_dict=True,
            **self._indices(tuple(grid.hw for grid in grids)),
        )
        counts = [h * w for h, w in (grid.hw for grid in grids)]
        embeds = output.pooler_output.split(counts)
        deepstack = [features.split(counts) for features in output.deepstack_features]
        return [
            Encoded(embeds[i], tuple(features[i] for features in deepstack), grid.hw) for i, grid in enumerate(grids)
        ]

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
        embeds: Tensor = self._language.embed_tokens(ids)
        return embeds

    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        cache = PackedCache(chunks, device=self._device, dtype=self.kv.dtype)
        pos = torch.from_numpy(np.concatenate([chunk.pos for chunk in chunks], axis=1)).to(self._device)
        rows, deepstack = self._deepstack(chunks)
        hidden = self._language(
            inputs_embeds=torch.cat([chunk.embeds for chunk in chunks])[None],
            position_ids=pos[:, None],
            past_key_values=cache,
            visual_pos_masks=rows,
            deepstack_visual_embeds=deepstack,
            packed=cache,
        ).last_hidden_state[0]
        starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
        read = [int(start) + row for start, chunk in zip(starts, chunks, strict=False) for row in chunk.read]
        logits: Tensor = self._head(hidden[torch.tensor(read, dtype=torch.long, device=self._device)])
        return logits.float()

    def _deepstack(self, chunks: Sequence[Chunk]) -> tuple[Tensor | None, list[Tensor] | None]:
        """Which rows of the batch [1, total] get DeepStack features, and those features per layer [rows, hidden]."""
        given = [chunk for chunk in chunks if chunk.visual is not None and len(chunk.visual)]
        if not given:
            return None, None
        masks = []
        for chunk in chunks:
            mask = np.zeros(len(chunk), np.bool_)
            if chunk.visual is not None:
                mask[chunk.visual] = True
            masks.append(mask)
        layers = [torch.cat(features) for features in zip(*(chunk.deepstack for chunk in given), strict=True)]
        return torch.from_numpy(np.concatenate(masks))[None].to(self._device), layers

    def _build_indices(self, grids: tuple[tuple[int, int], ...]) -> dict[str, Tensor]:
        """
        What the tower would otherwise work out on the device, synchronising: made on the host once per set of grids.

        cu_seqlens stays on the host, where the tower's SDPA path reads it back.
        """
        merge = self.vision.merge
        thw = torch.tensor([(1, h * merge, w * merge) for h, w in grids])
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
            "cu_seqlens": get_vision_cu_seqlens(thw),
        }


def _text_ids(start: int, stop: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.broadcast_to(np.arange(start, stop, dtype=np.int64), (3, stop - start))


FAMILY = Qwen3VL
