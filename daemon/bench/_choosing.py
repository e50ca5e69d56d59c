"""
Which of all possible questions are asked: every answer of a kind equally often, and at the same times.

Balance over answers alone would leave a way to be right without seeing: the memory tells the time, and late in a scene
some car has come by. So a scene's length is cut into strata, and the questions of a kind are drawn so that its answers
are spread over them alike, as far as each answer occurs there at all. What is left is printed as `clock`: the accuracy
of somebody who sees nothing but the stratum and knows the frequencies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np
from numpy.typing import NDArray

STRATA: Final = 6
_ROUNDS: Final = 100  # of the proportional fitting
_COMMON: Final = 4  # power: how much a stratum is worth that shows most answers over one that shows few


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question that could be asked. at: 0..1 of the scene's length."""

    scene: str
    kind: str
    answer: str
    at: float


@dataclass(frozen=True, slots=True)
class Balance:
    """What one kind offers: its answers and the `clock` accuracy (see above) when they are drawn as well as can be."""

    answers: tuple[str, ...]
    clock: float


def choose(pool: Sequence[Candidate], count: int, *, random: np.random.Generator) -> list[int]:
    """
    Places in `pool`, ascending, of up to `count` questions of one kind.

    Answers take turns, each at the times that its share asks for; scenes take turns within that. Nothing is chosen of a
    kind with a single answer.
    """
    answers, cells = _cells(pool)
    if len(answers) < 2:
        return []
    wanted = spread(_counts(answers, cells)) * count
    left = {cell: list(random.permutation(places)) for cell, places in cells.items()}
    order = random.permutation(STRATA)  # the same for all answers, so that a few questions are at the same times, too
    turns = random.permutation(len(answers))
    used: Counter[str] = Counter()
    chosen: list[int] = []
    for row in cycle(turns):
        if len(chosen) == min(count, len(pool)):
            break
        strata = [stratum for stratum in order if left.get((row, stratum))]
        if not strata:
            continue  # all that there is of this answer is chosen
        stratum = max(strata, key=lambda stratum, row=row: wanted[row, stratum])  # type: ignore[misc]
        place = min(left[row, stratum], key=lambda i: used[pool[i].scene])
        left[row, stratum].remove(place)
        wanted[row, stratum] -= 1
        used[pool[place].scene] += 1
        chosen.append(int(place))
    return sorted(chosen)


def balance(pool: Sequence[Candidate]) -> Balance:
    """What questions of one kind offer."""
    answers, cells = _cells(pool)
    return Balance(answers, float(spread(_counts(answers, cells)).max(axis=0).sum()))


def spread(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """
    Shares [answers, strata] in which to draw from what there is, int [answers, strata].

    Every answer has the same share in all, and over the strata all are spread as alike as their zeros allow: iterative
    proportional fitting towards the strata that show most of the answers.
    """
    there = counts > 0
    column = there.mean(axis=0) ** _COMMON
    column /= column.sum()
    share: NDArray[np.float64] = there * column
    for _ in range(_ROUNDS):
        held = share.sum(axis=0)
        share = share * np.divide(column, held, out=np.zeros_like(column), where=held > 0)
        share /= share.sum(axis=1, keepdims=True) * len(share)
    return share


def _cells(pool: Sequence[Candidate]) -> tuple[tuple[str, ...], dict[tuple[int, int], list[int]]]:
    """The answers, and the places in the pool by (answer, stratum)."""
    answers = tuple(sorted({one.answer for one in pool}))
    row = {answer: i for i, answer in enumerate(answers)}
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, one in enumerate(pool):
        cells[row[one.answer], min(STRATA - 1, int(one.at * STRATA))].append(place)
    return answers, cells


def _counts(answers: Sequence[str], cells: dict[tuple[int, int], list[int]]) -> NDArray[np.int64]:
    counts = np.zeros((len(answers), STRATA), np.int64)
    for cell, places in cells.items():
        counts[cell] = len(places)
    return counts
