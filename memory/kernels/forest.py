"""
Blocks of new tokens that continue one another, as questions do that begin alike: who sees whom.

`blocks` are their lengths, side by side; `after` has of each the number of an earlier one that it continues, or NONE.
A token sees the tokens of all that its block continues, directly and through others, and causally its own block.
An empty `after`: no block continues another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Tokens = NDArray[np.int64]

NONE: Final = -1


def lines(blocks: Sequence[int], after: Sequence[int]) -> list[tuple[int, ...]]:
    """Of every block the ones that it continues, the first one first."""
    found: list[tuple[int, ...]] = []
    for number in range(len(blocks)):
        parent = after[number] if after else NONE
        found.append(() if parent == NONE else (*found[parent], parent))
    return found


def rooted(after: Sequence[int]) -> bool:
    """True when there are several blocks and all continue the first."""
    return len(after) > 1 and NONE not in after[1:]


def siblings(blocks: Sequence[int], after: Sequence[int]) -> Iterator[tuple[Tokens, Tokens]]:
    """What blocks of one parent have for tokens, and which tokens they see before their own; those of none left out."""
    own, above = spans(blocks), lines(blocks, after)
    children: dict[int, list[int]] = {}
    for number, line in enumerate(above):
        if line:
            children.setdefault(line[-1], []).append(number)
    for some in children.values():
        yield np.concatenate([own[each] for each in some]), np.concatenate([own[each] for each in above[some[0]]])


def visible(blocks: Sequence[int], after: Sequence[int]) -> Tensor:
    """Bool [n, n], n = sum(blocks): which of them (columns) each token (rows) sees."""
    continued = torch.eye(len(blocks), dtype=torch.bool)
    for number, line in enumerate(lines(blocks, after)):
        continued[number, list(line)] = True
    owner = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(blocks))
    order = torch.arange(len(owner))
    return continued[owner[:, None], owner] & (order[:, None] >= order)


def spans(blocks: Sequence[int]) -> list[Tokens]:
    """The tokens of each block."""
    stops = np.cumsum(blocks)
    return [np.arange(stop - length, stop) for stop, length in zip(stops, blocks, strict=True)]
