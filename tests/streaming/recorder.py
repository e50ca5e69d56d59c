"""A real model that also writes down the logits of every row it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streaming.models import VisionLanguageModel
from streaming.models.base import Chunk


class Recorder:
    """
    Delegates to `model`; reads all rows of every chunk and hands back those that were asked for.

    frames: logits [rows, vocabulary] of every chunk that carries a picture, in order. others: likewise, the rest.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self.frames: list[Tensor] = []
        self.others: list[Tensor] = []
        self.frame_pos: list[Any] = []
        self.forwards = 0
        self.encodes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, grids: Any, canvases: Any = ()) -> Any:
        self.encodes += 1
        return self._model.encode(grids, canvases)

    def forward(self, chunks: Sequence[Chunk], *, words: Tensor | None = None) -> Tensor:
        self.forwards += 1
        logits = self._model.forward([dataclasses.replace(chunk, read=tuple(range(len(chunk)))) for chunk in chunks])
        assert bool(torch.isfinite(logits).all()), "a row saw garbage"
        stops = np.cumsum([len(chunk) for chunk in chunks])
        wanted = []
        for chunk, rows in zip(chunks, torch.split(logits, [len(chunk) for chunk in chunks]), strict=True):
            if chunk.visual is not None:
                self.frames.append(rows)
                self.frame_pos.append(chunk.pos)
            else:
                self.others.append(rows)
            wanted.append(rows[list(chunk.read)])
        assert stops[-1] == logits.shape[0]
        read = torch.cat(wanted)
        return read if words is None else read[:, words]
