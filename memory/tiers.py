"""
Two tiers: what must stay (the prompt, the newest seconds, the standing picture, key frames) and what may be thinned.

Compression must never harm the newest seconds, so policies that pick single tokens pick among the older ones only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rows import newest_of_cell
from .types import Kind, TokenMeta

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tiers:
    """
    What stays whatever the scores say.

    whole_s: seconds before the newest picture that stay whole. key_frames, key_tokens: of so many of the newest key
    frames, so many tokens each, evenly over the picture.
    """

    whole_s: float = 6.0
    key_frames: int = 8
    key_tokens: int = 4

    def __post_init__(self) -> None:
        for name in ("whole_s", "key_frames", "key_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative")

    def fixed(self, meta: TokenMeta, budget: int) -> Mask:
        """
        What stays, at most `budget` rows of bool [n]: prompt, newest seconds, newest row of each cell, key tokens.

        Granted in this order; the first that does not fit whole is cut, newest rows first, and ends it.
        A frame's text stays with any of its tokens. Raises: ValueError: `budget` is below the prompt.
        """
        prompt = meta.kind == Kind.PROMPT
        if int(prompt.sum()) > budget:
            raise ValueError(f"a budget of {budget} rows does not hold the {int(prompt.sum())} pinned ones")
        fixed: Mask = prompt.copy()
        for wish in (self.young(meta), newest_of_cell(meta), self._key(meta)):
            granted: Mask = with_text(meta, fixed | wish)
            if int(granted.sum()) > budget:
                newest_first = np.flatnonzero(wish & ~fixed)[::-1]
                return take_until(meta, fixed, newest_first, budget)
            fixed = granted
        return fixed

    def young(self, meta: TokenMeta) -> Mask:
        """The newest seconds, at least the newest frame, as bool [n]."""
        seen: Mask = meta.kind != Kind.PROMPT
        if not seen.any():
            return seen
        young: Mask = seen & (meta.t_ns > meta.t_ns[-1] - int(self.whole_s * 1e9))
        young |= meta.frame == meta.frame[-1]
        return young

    def _key(self, meta: TokenMeta) -> Mask:
        chosen = np.zeros(len(meta), np.bool_)
        rows = np.flatnonzero(meta.kind == Kind.KEY)
        frames = np.unique(meta.frame[rows])
        for number in frames[len(frames) - min(self.key_frames, len(frames)) :]:
            of_frame = rows[meta.frame[rows] == number]
            even = np.linspace(0, len(of_frame) - 1, num=min(self.key_tokens, len(of_frame))).round().astype(np.int64)
            chosen[of_frame[even]] = True
        return chosen


def with_text(meta: TokenMeta, rows: Mask) -> Mask:
    """The same rows and, of the frames that have a visual row among them, the text (their time)."""
    frames = meta.frame[rows & meta.visual]
    kept: Mask = rows | ((meta.kind == Kind.TEXT) & np.isin(meta.frame, frames))
    return kept


def take_until(meta: TokenMeta, fixed: Mask, order: NDArray[np.int64], budget: int) -> Mask:
    """
    `fixed` and, in this order, as many of the rows `order` as fit into `budget` with their frames' text.

    Stops at the first row that does not fit, so that what stays is a prefix of the order.
    """
    order = order[meta.visual[order]]
    frames, number = np.unique(meta.frame, return_inverse=True)
    text = np.bincount(number[meta.kind == Kind.TEXT], minlength=len(frames))  # rows that come with a frame's first
    text[number[fixed & (meta.kind == Kind.TEXT)]] = 0
    _, first = np.unique(number[order], return_index=True)
    cost = np.ones(len(order), np.int64)
    cost[first] += text[number[order[first]]]
    fitting = int(np.searchsorted(np.cumsum(cost), budget - int(fixed.sum()), side="right"))
    chosen = fixed.copy()
    chosen[order[:fitting]] = True
    return with_text(meta, chosen)
