"""
Blocks of new tokens that continue one another, as questions do that begin alike: who sees whom.

`blocks` are their lengths, side by side; `after` has of each the number of an earlier one that it continues, or NONE.
A token sees the tokens of all that its block continues, directly and through others, and causally its own block.
An empty `after`: no block continues another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


def siblings(blocks: Sequence[int], after: Sequence[int]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """What blocks of one parent have for tokens, and which tokens they see before their own; those of none left out."""
    spans, above = _spans(blocks), lines(blocks, after)
    children: dict[int, list[int]] = {}
    for number, line in enumerate(above):
        if line:
            children.setdefault(line[-1], []).append(number)
    for some in children.values():
        yield np.concatenate([spans[each] for each in some]), np.concatenate([spans[each] for each in above[some[0]]])


def visible(blocks: Sequence[int], after: Sequence[int]) -> Tensor:
    """Bool [n, n], n = sum(blocks): which of them (columns) each token (rows) sees."""
    continued = torch.eye(len(blocks), dtype=torch.bool)
    for number, line in enumerate(lines(blocks, after)):
        continued[number, list(line)] = True
    owner = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(blocks))
    order = torch.arange(len(owner))
    return continued[owner[:, None], owner] & (order[:, None] >= order)


@dataclass(frozen=True, slots=True)
class Padded:
    """
    A batch in which every block has as many queries as the longest, and as many keys as the one that sees most.

    queries: int64 [blocks * longest], tokens; a short block repeats its last one, as key too, so that no other block's
        reach it. real: int64 [n], where each token's own query is.
    keys: int64 [blocks * most], tokens. mask: additive [blocks, 1, longest, most].
    """

    longest: int
    most: int
    queries: Tensor = field(repr=False)
    real: Tensor = field(repr=False)
    keys: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)


@lru_cache(maxsize=256)
def padded(blocks: tuple[int, ...], after: tuple[int, ...]) -> Padded:
    """The batch of these blocks."""
    spans = _spans(blocks)
    seen = [
        np.concatenate([spans[each] for each in (*line, number)]) for number, line in enumerate(lines(blocks, after))
    ]
    lengths, totals = np.array(blocks, np.int64), np.array([len(each) for each in seen])
    longest, most = int(lengths.max()), int(totals.max())
    step = np.minimum(np.arange(longest), lengths[:, None] - 1)  # [blocks, longest]
    keys = np.stack([np.pad(each, (0, most - len(each)), mode="edge") for each in seen])
    before = (totals - lengths)[:, None] + step
    hidden = np.arange(most) > before[:, :, None]
    return Padded(
        longest,
        most,
        queries=torch.from_numpy((np.cumsum(lengths) - lengths)[:, None] + step).flatten(),
        real=torch.from_numpy(np.flatnonzero(np.arange(longest) < lengths[:, None])),
        keys=torch.from_numpy(keys).flatten(),
        mask=torch.zeros(hidden.shape).masked_fill_(torch.from_numpy(hidden), float("-inf"))[:, None],
    )


def _spans(blocks: Sequence[int]) -> list[NDArray[np.int64]]:
    """The tokens of each block."""
    stops = np.cumsum(blocks)
    return [np.arange(stop - length, stop) for stop, length in zip(stops, blocks, strict=True)]
