"""
Ragged batches through an unmodified transformers model: many cameras and questions, or many pictures, in one sequence.

All linear layers see one sequence [1, total, hidden]. The attention functions registered here hand each layer's
queries, keys and values to the kernel that was chosen at start: DECODER's stores the new rows in the targets and
attends over everything they hold, VISION's stays inside each picture or window.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from memory.kernels import Kernel
from memory.kernels.base import Batch

DECODER, VISION = "vigild_packed", "vigild_segments"


class PackedCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """A ragged batch in the shape of a transformers cache; lives for one forward."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(layers=[])
        self._batch = batch
        self._layer = -1

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Note the layer; its attention, which follows at once, stores the rows."""
        self._layer = layer_idx
        return key_states, value_states

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        """Query [1, heads, total, head_dim] over all that each chunk may see; the same shape."""
        return self._batch.attend(self._layer, query[0], keys[0], values[0], scale=scale)[None]


class Segments:
    """
    Where a packed sequence of patches is cut, by the layer that asks: whole pictures, or windows of them.

    pictures, windows: 0, ascending, total. windowed: the attention modules that look at windows alone.
    """

    def __init__(
        self,
        pictures: Sequence[int],
        *,
        kernel: Kernel,
        windows: Sequence[int] = (),
        windowed: Mapping[nn.Module, bool] | None = None,
    ) -> None:
        self._kernel = kernel
        self._pictures = pictures
        self._windows = windows
        self._windowed = windowed or {}

    def attend(self, module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        """[1, heads, total, head_dim] inside the segments of this module's layer; the same shape."""
        cuts = self._windows if self._windowed.get(module, False) else self._pictures
        return self._kernel.segments(query[0], keys[0], values[0], cuts, scale=scale)[None]


class Portions:
    """
    Portions of pictures in a packed sequence, each of which sees its whole picture, or inside whole windows of it.

    whole: what stores their rows and attends. layers: the attention modules that see pictures, with their layer of its
    pool; the others look at windows alone. windows: 0, ascending, total.
    """

    def __init__(
        self, whole: Batch, layers: Mapping[nn.Module, int], *, kernel: Kernel, windows: Sequence[int] = ()
    ) -> None:
        self._whole = whole
        self._layers = layers
        self._kernel = kernel
        self._windows = windows

    def attend(self, module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, *, scale: float) -> Tensor:
        """As `Segments.attend`; mutates the pool of pictures."""
        layer = self._layers.get(module)
        if layer is None:
            return self._kernel.segments(query[0], keys[0], values[0], self._windows, scale=scale)[None]
        return self._whole.attend(layer, query[0], keys[0], values[0], scale=scale)[None]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,
    *,
    packed: PackedCache,
    scaling: float | None = None,
    **_kwargs: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention interface over a PackedCache: [1, total, heads, head_dim]."""
    return packed.attend(query, key, value, scale=_scale(module, scaling)).transpose(1, 2), None


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,  # noqa: ARG001  # the encoders pass it by name
    *,
    segments: Segments | Portions,
    scaling: float | None = None,
    **_kwargs: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention interface over Segments or Portions: [1, total, heads, head_dim]."""
    return segments.attend(module, query, key, value, scale=_scale(module, scaling)).transpose(1, 2), None


def one_sequence(total: int) -> Tensor:
    """
    The `cu_seqlens` of one segment, on the host, where the encoders read it back.

    With it they call the attention once, on everything; Segments does the cutting.
    """
    return torch.tensor([0, total], dtype=torch.int32)


def cache_argument(model: nn.Module) -> str:
    """The keyword under which a transformers model takes its cache: `cache` since 5.24, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _scale(module: nn.Module, scaling: float | None) -> float:
    return scaling if scaling is not None else float(module.head_dim) ** -0.5  # type: ignore[arg-type]


# The registry is transformers' own extension point; a name that its mask registry does not know gets no mask.
AttentionInterface.register(DECODER, packed_attention)
AttentionInterface.register(VISION, segment_attention)
