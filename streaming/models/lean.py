"""
The decoder's layers in a third of the operators: the loaded model's own weights, and nothing of its modelling code.

Queries, keys and values are one matrix product, and so are the two inner ones of the network behind the attention;
queries and keys are normalised and rotated together; sums are taken where the products are written. Behind the last
attention only the rows that are read go on. Cosines and sines come from the model's own module, whose scaling rules
stay its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from memory.kernels.base import Batch

from .forwards import Features
from .fused import Fused, fuse, plain

LINEARS = (
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)


class LeanForward:
    """A decoder of the Qwen kind: root mean squares before each half of a layer, rotary ids, a gated inner network."""

    name: ClassVar[str] = "lean"

    def __init__(self, language_model: Any) -> None:
        """
        Mutates where the linear layers' weights lie (see `fuse`), once every one of these is known to be plain.

        Raises: ValueError: one of them is quantised, wrapped or hooked, or layers differ that are to be one.
        AttributeError: a part is not there.
        """
        for number, layer in enumerate(language_model.layers):
            for name in LINEARS:
                plain(layer.get_submodule(name), f"layers.{number}.{name}")
        self._rotary = language_model.rotary_emb
        self._norm = _Norm.of(language_model.norm)
        self._layers = [_Layer.of(layer) for layer in language_model.layers]

    def __call__(
        self, batch: Batch, embeds: Tensor, pos: Tensor, read: Tensor, *, features: Features | None = None
    ) -> Tensor:
        hidden = embeds
        turns = self._turns(hidden, pos)
        deep = () if features is None else features.layers
        rows = None if features is None else torch.from_numpy(features.rows).to(hidden.device, non_blocking=True)
        last = len(self._layers) - 1
        for number, layer in enumerate(self._layers):
            seen = layer.attend(batch, number, hidden, turns)
            if number == last and len(deep) <= last:
                hidden, seen = hidden[read], seen[read]
            layer.add(hidden, seen)
            if rows is not None and number < len(deep):
                hidden.index_add_(0, rows, deep[number].to(hidden.dtype))
        if len(deep) > last:
            hidden = hidden[read]
        return self._norm(hidden)

    def _turns(self, hidden: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine, and sine with the sign of the half that it meets: [total, 1, head_dim]."""
        cos, sin = self._rotary(hidden[None], pos[:, None])
        low, high = sin[0].chunk(2, dim=-1)
        return cos[0, :, None], torch.cat((-low, high), dim=-1)[:, None]


@dataclass(frozen=True, slots=True)
class _Norm:
    """Root mean square norm; computed in float32 for half types."""

    weight: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> _Norm:
        return cls(module.weight, float(module.variance_epsilon))

    def __call__(self, hidden: Tensor) -> Tensor:
        return nn.functional.rms_norm(hidden, self.weight.shape, self.weight, self.eps)


@dataclass(frozen=True, slots=True)
class _Added:
    """A linear layer whose result is added to what is there, in one product. weight: [inputs, outputs]."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, layer: nn.Linear) -> _Added:
        return cls(layer.weight.T, layer.bias)

    def __call__(self, hidden: Tensor, inputs: Tensor) -> None:
        """Mutates hidden [n, outputs]."""
        hidden.addmm_(inputs, self.weight)
        if self.bias is not None:
            hidden.add_(self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    """
    One layer.

    heads: of queries and keys together, the first `of_queries` the queries'. per_head: the norms of queries and keys,
    weight [heads, head_dim], where the family has them.
    """

    before: _Norm
    qkv: Fused
    per_head: _Norm | None
    heads: int
    of_queries: int
    head_dim: int
    scale: float
    out: _Added
    after: _Norm
    gate_up: Fused
    act: Callable[[Tensor], Tensor]
    down: _Added

    @classmethod
    def of(cls, layer: Any) -> _Layer:
        attn, mlp = layer.self_attn, layer.mlp
        dim = int(attn.head_dim)
        queries, keys = attn.q_proj.out_features // dim, attn.k_proj.out_features // dim
        per_head = None
        if hasattr(attn, "q_norm"):
            if attn.q_norm.variance_epsilon != attn.k_norm.variance_epsilon:
                raise ValueError("the norms of queries and keys differ")
            weights = [attn.q_norm.weight.expand(queries, -1), attn.k_norm.weight.expand(keys, -1)]
            per_head = _Norm(torch.cat(weights), float(attn.q_norm.variance_epsilon))
        return cls(
            before=_Norm.of(layer.input_layernorm),
            qkv=fuse(attn.q_proj, attn.k_proj, attn.v_proj),
            per_head=per_head,
            heads=queries + keys,
            of_queries=queries,
            head_dim=dim,
            scale=float(attn.scaling),
            out=_Added.of(attn.o_proj),
            after=_Norm.of(layer.post_attention_layernorm),
            gate_up=fuse(mlp.gate_proj, mlp.up_proj),
            act=mlp.act_fn,
            down=_Added.of(mlp.down_proj),
        )

    def attend(self, batch: Batch, number: int, hidden: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        """What the rows of hidden [total, hidden] see: [total, heads of queries * head_dim]."""
        total, dim = len(hidden), self.head_dim
        qkv = self.qkv(self.before(hidden))
        qk, v = (part.view(total, -1, dim) for part in qkv.tensor_split((self.heads * dim,), dim=1))
        if self.per_head is not None:
            qk = nn.functional.rms_norm(qk, (dim,), None, self.per_head.eps).mul_(self.per_head.weight)
        cos, sin = turns
        qk = torch.addcmul(qk * cos, qk.roll(dim // 2, dims=-1), sin).transpose(0, 1)
        query, keys = qk.tensor_split((self.of_queries,))
        seen = batch.attend(number, query, keys, v.transpose(0, 1), scale=self.scale)
        return seen.transpose(0, 1).reshape(total, -1)

    def add(self, hidden: Tensor, seen: Tensor) -> None:
        """Add to hidden [n, hidden] what its rows saw, and what the inner network makes of that."""
        self.out(hidden, seen)
        gate, up = self.gate_up(self.after(hidden)).chunk(2, dim=1)
        self.down(hidden, self.act(gate).mul_(up))
