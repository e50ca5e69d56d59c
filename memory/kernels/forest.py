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

Tokens = NDArray[np.int64]

NONE: Final = -1
SHORT: Final = 16  # tokens


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
    Blocks of about one length as a batch: for each as many queries as the longest has, as many keys as any sees.

    What is left to fill repeats a block's own last token, so that no other block reaches it.

    queries: int64 [blocks * longest], tokens. keys: int64 [blocks * most], tokens.
    last: int64 [blocks, longest, 1], the place among its block's keys of the last one that each query sees.
    tokens: int64 [m], what these blocks hold. real: int64 [m], where among the queries each of them is.
    """

    longest: int
    most: int
    queries: Tensor = field(repr=False)
    keys: Tensor = field(repr=False)
    last: Tensor = field(repr=False)
    tokens: Tensor = field(repr=False)
    real: Tensor = field(repr=False)


@lru_cache(maxsize=64)
def padded(blocks: tuple[int, ...], after: tuple[int, ...]) -> tuple[Padded, ...]:
    """The blocks in batches: up to SHORT tokens, then of lengths within a factor of two."""
    spans, above = _spans(blocks), lines(blocks, after)
    alike: dict[int, list[int]] = {}
    for number, length in enumerate(blocks):
        alike.setdefault(max(SHORT - 1, length - 1).bit_length(), []).append(number)
    return tuple(
        _padded([spans[each] for each in some], [[spans[earlier] for earlier in above[each]] for each in some])
        for _, some in sorted(alike.items())
    )


def _padded(own: Sequence[Tokens], continued: Sequence[Sequence[Tokens]]) -> Padded:
    """The batch of blocks with these tokens, each with those of all that it continues."""
    seen = [np.concatenate([*before, tokens]) for tokens, before in zip(own, continued, strict=True)]
    lengths, totals = np.array([len(each) for each in own]), np.array([len(each) for each in seen])
    longest, most = int(lengths.max()), int(totals.max())
    return Padded(
        longest,
        most,
        queries=torch.from_numpy(np.concatenate([np.pad(each, (0, longest - len(each)), mode="edge") for each in own])),
        keys=torch.from_numpy(np.concatenate([np.pad(each, (0, most - len(each)), mode="edge") for each in seen])),
        last=torch.from_numpy((totals - lengths)[:, None, None] + np.arange(longest)[:, None]),
        tokens=torch.from_numpy(np.concatenate(own)),
        real=torch.from_numpy(np.flatnonzero(np.arange(longest) < lengths[:, None])),
    )


def _spans(blocks: Sequence[int]) -> list[Tokens]:
    """The tokens of each block."""
    stops = np.cumsum(blocks)
    return [np.arange(stop - length, stop) for stop, length in zip(stops, blocks, strict=True)]
