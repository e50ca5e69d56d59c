"""
What a model family is to the engine: a vision encoder, a way to lay a frame out as tokens, and one packed forward.

One file per family; it names its class as `FAMILY` and the checkpoints' `model_type` as the class's `model_type`.
Nothing here knows transformers, and the engine knows nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.kernels import Chosen
from memory.kernels.base import Batch
from memory.kernels.products import Products
from memory.kv import Target
from memory.rope import Rope
from memory.types import KVShape

from .dialogue import Dialogue
from .forwards import ChosenForward
from .patches import PatchGrid, VisionShape

if TYPE_CHECKING:
    from .canvas import Canvas


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
    blocks: lengths that sum to n; a token sees its own block, causally, those that its block continues, and all of the
        target. Several blocks are questions side by side.
    after: of each block the number of the earlier one that it continues, -1 for none; empty: none continues another.
    read: rows whose logits are wanted, ascending.
    visual: int64 rows that get the deepstack features.
    queries: where it is a list, the forward appends the rotated queries [heads, n, head_dim] of every layer.
    """

    embeds: Tensor = field(repr=False)
    pos: NDArray[np.int64] = field(repr=False)
    target: Target
    blocks: tuple[int, ...]
    after: tuple[int, ...] = ()
    read: tuple[int, ...] = ()
    visual: NDArray[np.int64] | None = None
    deepstack: tuple[Tensor, ...] = field(default=(), repr=False)
    queries: list[Tensor] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return int(self.pos.shape[1])


def text_ids(start: int, n: int) -> NDArray[np.int64]:
    """M-RoPE ids [3, n] of plain text from `start`."""
    return np.tile(np.arange(start, start + n, dtype=np.int64), (3, 1))


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What a checkpoint or a preset is loaded into, and a family is made of.

    model: the family's transformers class, on the device, in evaluation mode; its attention is set by the family.
    tokenizer: a transformers tokenizer with a chat template.
    """

    name: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    vision: VisionShape
    device: torch.device


class VisionLanguageModel(Protocol):
    """
    A loaded model, owned by one thread.

    architecture: the transformers class of its checkpoints.
    attention: the kernel that runs, and why. decoder: likewise, what runs the layers around it.
    products: how float32 matrices are multiplied on a CPU, and why.
    canvas: what a patch leaves in a camera's canvas: its layers are the encoder's that see whole pictures.
    rope: how keys are rotated by their ids; max_positions: the trained range of ids.
    ids_per_second: how fast ids grow where they tell the time; 0 where they count tokens and the time is text.
    """

    model_type: ClassVar[str]
    architecture: ClassVar[Any]
    name: str
    attention: Chosen
    decoder: ChosenForward
    products: Products
    kv: KVShape
    canvas: KVShape
    vision: VisionShape
    dialogue: Dialogue
    rope: Rope
    max_positions: int
    ids_per_second: float

    def __init__(self, parts: Parts) -> None:
        """Raises: ValueError: the checkpoint asks for something that the family here does not do."""
        ...

    def encode(self, grids: Sequence[PatchGrid], canvases: Sequence[Canvas] = ()) -> list[Encoded]:
        """
        All pictures of a step through the vision encoder in one call.

        canvases: of each picture's camera, all of one pool; mutated. Without them all grids must be whole.
        """
        ...

    def windows(self, hw: tuple[int, int]) -> NDArray[np.int64]:
        """Which cells of a grid can only be encoded together, as the number of their window, int64 [h * w]."""
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

    def forward(self, chunks: Sequence[Chunk], *, words: Tensor | None = None) -> Tensor:
        """
        Run a ragged batch through the decoder in one pass; mutates the chunks' targets.

        words: int64 [k] on the device, the tokens whose logits are wanted; None is the whole vocabulary.
        Returns: float32 logits [number of read rows, k or vocabulary], in order of chunks and rows.
        """
        ...

    def following(self, batch: Batch, tokens: Tensor, pos: Tensor) -> Tensor:
        """
        The most likely token behind each of `tokens`; all on the device, so that a step can feed the next one.

        Args:
            batch: attends for them, and stores their rows.
            tokens, pos: integers [n], ids of text and where they stand.
        Returns: int64 [n]. Does not synchronise.
        """
        ...
