"""The packed forward that the families share: a decoder over a ragged batch, and the logits of the rows read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from memory.kernels import Case, Chosen, Kernel, choose
from memory.kernels.base import Batch
from memory.kernels.products import PLAIN, Products
from memory.types import KVShape

from .base import Chunk, Parts
from .forwards import Features, Forward
from .packed import DECODER, VISION
from .padding import padded
from .ragged import Ragged


def attention_of(parts: Parts, kv: KVShape, products: Products = PLAIN) -> Chosen:
    """Choose the kernel for this model and make its attention go through it; mutates the model's configuration."""
    config = parts.model.config
    case = Case(
        heads=int(config.text_config.num_attention_heads),
        kv_heads=kv.kv_heads,
        head_dim=kv.head_dim,
        segment_dim=int(config.vision_config.hidden_size // config.vision_config.num_heads),
    )
    chosen = choose(parts.device, kv.dtype, case, products=products)
    parts.model.set_attn_implementation({"text_config": DECODER, "vision_config": VISION})
    return chosen


def kv_shape(parts: Parts) -> KVShape:
    """What one row of this model's memory is made of."""
    text = parts.model.config.text_config
    return KVShape(
        layers=int(text.num_hidden_layers),
        kv_heads=int(text.num_key_value_heads),
        head_dim=int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads),
        dtype=parts.model.dtype,
        device=parts.device,
    )


def canvas_shape(parts: Parts, *, layers: int) -> KVShape:
    """What a patch leaves in a canvas, where so many layers of the encoder see whole pictures."""
    vision = parts.model.config.vision_config
    heads = int(vision.num_heads)
    return KVShape(layers, heads, int(vision.hidden_size // heads), parts.model.dtype, parts.device)


def run(
    parts: Parts,
    chunks: Sequence[Chunk],
    *,
    kernel: Kernel,
    forward: Forward,
    products: Products = PLAIN,
    words: Tensor | None = None,
    features: Features | None = None,
) -> Tensor:
    """
    One pass over all chunks; mutates their targets. Does not synchronise, where `forward` does not.

    products: how it multiplies. words: as in `VisionLanguageModel.forward`. features: what DeepStack adds to rows of
    the batch.
    Returns: float32 logits [number of read rows, k or vocabulary].
    """
    embeds = torch.cat([chunk.embeds for chunk in chunks])
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    read = [np.array(chunk.read, np.int64) + start for start, chunk in zip(starts, chunks, strict=False)]
    batch = Ragged(chunks, kernel=kernel, device=embeds.device, dtype=embeds.dtype)
    pos, rows = (
        torch.from_numpy(numbers).to(embeds.device, non_blocking=True)
        for numbers in (np.concatenate([chunk.pos for chunk in chunks], axis=1), np.concatenate(read))
    )
    behind = padded(batch, embeds, pos, rows=products.padded(len(embeds)))
    with products.over(len(embeds)):
        return _logits(parts.model.lm_head, forward(*behind, rows, features=features), words)


def following(parts: Parts, batch: Batch, tokens: Tensor, pos: Tensor, *, forward: Forward) -> Tensor:
    """As `VisionLanguageModel.following`."""
    embeds = parts.model.model.language_model.embed_tokens(tokens)
    every = torch.arange(len(tokens), device=tokens.device)
    logits: Tensor = parts.model.lm_head(forward(batch, embeds, pos.expand(3, -1), every))
    return logits.argmax(dim=-1)


def _logits(head: nn.Module, hidden: Tensor, words: Tensor | None) -> Tensor:
    """Float32 [n, k or vocabulary] of hidden [n, hidden]; a head whose rows cannot be picked computes all first."""
    if words is None:
        logits: Tensor = head(hidden)
    elif type(head) is nn.Linear and type(head.weight) is nn.Parameter:  # a quantised weight is a type of its own
        bias = None if head.bias is None else head.bias[words]
        logits = nn.functional.linear(hidden, head.weight[words], bias)
    else:
        logits = head(hidden)[:, words]
    return logits.float()
