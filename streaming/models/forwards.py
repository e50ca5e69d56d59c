"""What runs the decoder's layers over a ragged batch: the stock modules as published, or the same weights leaner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.kernels.base import Batch

from .packed import PackedCache, cache_argument


@dataclass(frozen=True, slots=True)
class Features:
    """
    DeepStack: what is added to some rows behind each of the first layers.

    rows: int64 [m], ascending. layers: [m, hidden] for each of these layers.
    """

    rows: NDArray[np.int64] = field(repr=False)
    layers: tuple[Tensor, ...] = field(repr=False)


class Forward(Protocol):
    """One way through the decoder's layers."""

    name: ClassVar[str]

    def __call__(
        self, batch: Batch, embeds: Tensor, pos: Tensor, read: Tensor, *, features: Features | None = None
    ) -> Tensor:
        """
        Embeddings in, what the head reads out.

        Args:
            batch: attends in every layer, and stores what it is given.
            embeds: [total, hidden]; may be overwritten.
            pos: int64 [3, total], M-RoPE ids on the device.
            read: int64 [r], rows wanted, on the device.
        Returns: hidden states behind the last norm [r, hidden]. Does not synchronise.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChosenForward:
    """A way through the decoder, and why it and no other, for people."""

    forward: Forward
    reason: str

    def __str__(self) -> str:
        return f"{self.forward.name} ({self.reason})"


class StockForward:
    """The language model's own forward, every operator as published. A Forward."""

    name: ClassVar[str] = "stock"

    def __init__(self, language_model: Any) -> None:
        self._model = language_model
        self._cache_argument = cache_argument(language_model)

    def __call__(
        self, batch: Batch, embeds: Tensor, pos: Tensor, read: Tensor, *, features: Features | None = None
    ) -> Tensor:
        """With features it synchronises: transformers counts the rows of a mask."""
        extra: dict[str, Any] = {}
        if features is not None:
            mask = np.zeros(len(embeds), np.bool_)
            mask[features.rows] = True
            extra = {
                "visual_pos_masks": torch.from_numpy(mask)[None].to(embeds.device),
                "deepstack_visual_embeds": list(features.layers),
            }
        cache = PackedCache(batch)
        extra |= {self._cache_argument: cache, "packed": cache}
        hidden: Tensor = self._model(inputs_embeds=embeds[None], position_ids=pos[:, None], **extra).last_hidden_state
        return hidden[0, read]
