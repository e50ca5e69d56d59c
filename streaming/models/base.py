"""
What a model family is to the engine: a vision encoder, a way to lay a frame out as tokens, and one packed forward.

One file per family; it names its class as `FAMILY` and the checkpoints' `model_type` as the class's `model_type`.
Nothing here knows transformers, and the engine knows nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.kv import Target
from memory.types import KVShape

from .dialogue import Dialogue
from .patches import PatchGrid, VisionShape


@dataclass(frozen=True, slots=True)
class Encoded:
    """
    One temporal patch behind the encoder, on the device.

    embeds: [n, hidden], n = h * w, row-major.
    deepstack: further features per token [n, hidden], added behind the first decoder layers; empty for most families.
    hw: the grid in tokens.
    """

    embeds: Tensor = field(repr=False)
    deepstack: tuple[Tensor, ...] = field(repr=False)
    hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """
    A whole frame as the family writes it, before anything is dropped.

    ids: int64 [n], token ids; where `visual`, the family's placeholder.
    visual: bool [n], the tokens that the encoder fills, in its order.
    pos: int64 [3, n], M-RoPE ids.
    end: the first id behind the frame; also a frame that is dropped whole moves the cursor there.
    """

    ids: NDArray[np.int64]
    visual: NDArray[np.bool_]
    pos: NDArray[np.int64]
    end: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    New tokens of one camera or one question: a row of a ragged batch.

    embeds: [n, hidden].
    pos: int64 [3, n].
    target: where their keys go and what they see before themselves.
    blocks: lengths that sum to n; a token sees its own block, causally, and all of the target. Several blocks are
        questions side by side.
    read: rows whose logits are wanted, ascending.
    visual: int64 rows that get the deepstack features.
    """

    embeds: Tensor = field(repr=False)
    pos: NDArray[np.int64] = field(repr=False)
    target: Target
    blocks: tuple[int, ...]
    read: tuple[int, ...] = ()
    visual: NDArray[np.int64] | None = None
    deepstack: tuple[Tensor, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return int(self.pos.shape[1])


class VisionLanguageModel(Protocol):
    """
    A loaded model, owned by one thread.

    inv_freq: [head_dim / 2], for rebasing; max_positions: the trained range of ids.
    """

    model_type: ClassVar[str]
    name: str
    kv: KVShape
    vision: VisionShape
    dialogue: Dialogue
    inv_freq: Tensor
    max_positions: int

    def __init__(self, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype | None) -> None:
        """Load a complete checkpoint folder. Raises: ModelError."""
        ...

    def encode(self, grids: Sequence[PatchGrid]) -> list[Encoded]:
        """All pictures of a step through the vision encoder in one call."""
        ...

    def layout(self, hw: tuple[int, int], *, time_s: float, start: int) -> Layout:
        """How the family writes a frame of this grid, taken `time_s` after the camera's first, at ids from `start`."""
        ...

    def frame_overhead(self) -> int:
        """The most tokens a frame takes beside its visual ones."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [..., hidden] of token ids [...] on the device. Does not synchronise."""
        ...

    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """
        Run a ragged batch through the decoder in one pass; mutates the chunks' targets.

        Returns: float32 logits [number of read rows, vocabulary], in order of chunks and rows.
        """
        ...
