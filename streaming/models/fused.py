"""Linear layers that read the same input, as one matrix product over one weight, which they go on sharing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Fused:
    """weight: [sum of outputs, inputs]. bias: [sum of outputs] or None."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, inputs: Tensor) -> Tensor:
        """[n, inputs] to [n, sum of outputs], side by side in the order of the layers."""
        return nn.functional.linear(inputs, self.weight, self.bias)


def plain(layer: nn.Module, name: str) -> nn.Linear:
    """The layer, where its weight and bias are all there is to it. Raises: ValueError: quantised, wrapped or hooked."""
    if type(layer) is not nn.Linear:
        raise ValueError(f"{name} is a {type(layer).__name__}")
    for parameter in layer.parameters():
        if type(parameter) is not nn.Parameter:  # a quantised weight is a type of its own
            raise ValueError(f"{name} is made of {type(parameter).__name__}")
    if layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer):  # noqa: SLF001  # no public way
        raise ValueError(f"{name} is hooked")
    return layer


def fuse(*layers: nn.Linear) -> Fused:
    """
    One matrix of them all, in their order, of whose rows their own parameters become views.

    Mutates where the parameters lie, but no value; allocates device memory for these layers once more and frees what
    they held. Raises: ValueError: one of them has a bias, one has none.
    """
    biases = [layer.bias for layer in layers if layer.bias is not None]
    if len(biases) not in (0, len(layers)):
        raise ValueError("of layers that read the same, one has a bias, one has none")
    return Fused(_joined([layer.weight for layer in layers]), _joined(biases) if biases else None)


def _joined(parameters: Sequence[Tensor]) -> Tensor:
    """These side by side along their first dimension, each now a view of the result."""
    whole = torch.cat([parameter.data for parameter in parameters])
    for parameter, part in zip(parameters, torch.split(whole, [len(each) for each in parameters]), strict=True):
        parameter.data = part
    return whole
