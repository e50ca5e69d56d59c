"""Answering from nothing, with the unmodified transformers class: what a system does that keeps no memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from streaming.models import VisionLanguageModel
from streaming.models.base import Chunk
from streaming.models.patches import normalise, patchify
from streaming.types import Image

SPACING_S: Final = 1.0  # between two temporal patches of two pictures each, at 2 fps


class Keeper:
    """
    The model, and the rows of every frame that went through it: what a system that keeps embeddings would hold.

    Delegates everything to `model`. kept: grows by every frame that left a token; the caller empties it.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self.kept: list[Chunk] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, chunks: Sequence[Chunk], *, words: Tensor | None = None) -> Tensor:
        """As the model, noting the frames among the chunks."""
        self.kept += [chunk for chunk in chunks if chunk.visual is not None]
        return self._model.forward(chunks, words=words)


@dataclass(frozen=True, slots=True)
class Stock:
    """
    The stock class and our description of the same checkpoint.

    Every method answers a question greedily and returns the milliseconds to its first token, which it waits for.
    """

    model: VisionLanguageModel
    network: Any = field(repr=False)

    @torch.inference_mode()
    def from_pictures(self, images: Sequence[Image], question: str) -> float:
        """Encode the pictures, two in a temporal patch, read all their tokens, answer. Resizing is not counted."""
        device = self.network.device
        shape = self.model.vision
        pairs = [list(images[at : at + shape.temporal]) for at in range(0, len(images), shape.temporal)]
        grids = [patchify([*pair, *[pair[-1]] * (shape.temporal - len(pair))], shape) for pair in pairs]
        pixels = torch.from_numpy(np.concatenate([grid.patches for grid in grids])).to(device)
        thw = torch.tensor([[len(grids), *(side * shape.merge for side in grids[0].hw)]], device=device)
        ids, pos, visual = self._layout([grid.hw for grid in grids])
        began = self._now()
        features = self.network.model.get_video_features(
            normalise(pixels, shape).to(self.model.kv.dtype), thw, return_dict=True
        )
        embeds = self.network.get_input_embeddings()(ids)
        embeds[visual] = _joined(features.pooler_output).to(embeds.dtype)
        deepstack = [_joined(layer) for layer in getattr(features, "deepstack_features", None) or ()]
        self._answer(embeds, pos, visual, deepstack, question)
        return 1000 * (self._now() - began)

    @torch.inference_mode()
    def from_embeddings(self, chunks: Sequence[Chunk], question: str) -> float:
        """Read the kept rows of all frames anew, with the ids they had, and answer: nothing is encoded."""
        device = self.network.device
        head = torch.tensor(self.model.dialogue.head, device=device)
        masks = [np.zeros(len(head), np.bool_)]
        for chunk in chunks:
            mask = np.zeros(len(chunk), np.bool_)
            mask[chunk.visual] = True
            masks.append(mask)
        visual = torch.from_numpy(np.concatenate(masks)).to(device)
        first = np.tile(np.arange(len(head), dtype=np.int64), (3, 1))
        pos = torch.from_numpy(np.concatenate([first, *(chunk.pos for chunk in chunks)], axis=1)).to(device)
        began = self._now()
        embeds = torch.cat([self.network.get_input_embeddings()(head), *(chunk.embeds for chunk in chunks)])
        layers = zip(*(chunk.deepstack for chunk in chunks), strict=True)
        self._answer(embeds, pos, visual, [torch.cat(layer) for layer in layers], question)
        return 1000 * (self._now() - began)

    def _layout(self, grids: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Ids [n], M-RoPE ids [3, n] and the visual rows [n] of the prompt and these temporal patches."""
        head = np.array(self.model.dialogue.head, np.int64)
        start = len(head)
        ids, pos, visual = [head], [np.tile(np.arange(start, dtype=np.int64), (3, 1))], [np.zeros(start, np.bool_)]
        for number, hw in enumerate(grids):
            layout = self.model.layout(hw, time_s=number * SPACING_S, start=start)
            start = layout.end
            ids.append(layout.ids)
            pos.append(layout.pos)
            visual.append(layout.visual)
        joined = np.concatenate(ids), np.concatenate(pos, axis=1), np.concatenate(visual)
        one, two, three = (torch.from_numpy(each).to(self.network.device) for each in joined)
        return one, two, three

    def _answer(self, embeds: Tensor, pos: Tensor, visual: Tensor, deepstack: Sequence[Tensor], question: str) -> int:
        """Embeddings [n, hidden] and the question through the language model; the first token."""
        asked = torch.tensor(self.model.dialogue.question(question), device=embeds.device)
        ids = torch.arange(len(asked), device=embeds.device) + pos.max() + 1
        inputs = torch.cat([embeds, self.network.get_input_embeddings()(asked)])[None]
        positions = torch.cat([pos, ids.expand(3, -1)], dim=1)[:, None]
        rows = torch.cat([visual, torch.zeros(len(asked), dtype=torch.bool, device=visual.device)])[None]
        extra = {"visual_pos_masks": rows, "deepstack_visual_embeds": list(deepstack)} if deepstack else {}
        hidden = self.network.model.language_model(
            inputs_embeds=inputs, position_ids=positions, use_cache=True, **extra
        ).last_hidden_state
        return int(self.network.lm_head(hidden[:, -1]).argmax())

    def _now(self) -> float:
        """Seconds, when the device has done all it was told."""
        if self.network.device.type == "cuda":
            torch.cuda.synchronize(self.network.device)
        return time.perf_counter()


def _joined(features: Any) -> Tensor:
    """Features of all pictures, which transformers hands out in one piece or in one per video, by version."""
    return features if isinstance(features, Tensor) else torch.cat(list(features))
