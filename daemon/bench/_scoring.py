"""
How answers are scored, so that saying always the same is worth chance, whatever the answers' frequencies.

    a kind of question     the mean over its answers of the share of right ones (balanced accuracy)
    a topic                the mean over its kinds
    all                    the mean over the topics

A kind with k answers gives any constant answer exactly 1/k; a kind of which only one answer occurred tells nothing and
is left out. Intervals: of a kind Wilson's, for as many questions as its weights are worth (Kish); of a mean the
bootstrap over scenes, since the questions of a scene share its pictures.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ._tally import Z95

DRAWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Mark:
    """One question that was answered. scene: whose it was. kind: its group for balance. answer: the right one."""

    scene: str
    topic: str
    kind: str
    answer: str
    right: bool


@dataclass(frozen=True, slots=True)
class Score:
    """Shares. low, high: the 95 % interval. chance: what any constant answer gets. asked: questions that counted."""

    accuracy: float
    low: float
    high: float
    chance: float
    asked: int

    def row(self) -> dict[str, int | float]:
        return {
            "asked": self.asked,
            "chance": self.chance,
            "accuracy": self.accuracy,
            "low95": self.low,
            "high95": self.high,
        }


def normal(text: str) -> str:
    """A text as it is compared: small letters, single blanks, no full stop at the end."""
    return " ".join(text.casefold().split()).rstrip(". ")


def kinds(marks: Iterable[Mark]) -> dict[str, Score]:
    """The score of every kind that tells something, by name."""
    by_kind: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for mark in marks:
        by_kind[mark.kind][mark.answer].append(mark.right)
    return {kind: _kind(answers) for kind, answers in sorted(by_kind.items()) if len(answers) > 1}


def topics(marks: Sequence[Mark], *, seed: int = 0) -> dict[str, Score]:
    """The score of every topic that tells something, by name."""
    by_topic: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        by_topic[mark.topic].append(mark)
    found = {topic: overall(of_topic, seed=seed) for topic, of_topic in sorted(by_topic.items())}
    return {topic: score for topic, score in found.items() if score is not None}


def overall(marks: Sequence[Mark], *, seed: int = 0) -> Score | None:
    """The mean over topics of the mean over kinds; None where no kind tells anything."""
    telling = _telling(marks)
    if not telling:
        return None
    scenes = sorted({mark.scene for mark in telling})
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(scenes), np.full(len(scenes), 1 / len(scenes)), size=DRAWS)
    times: NDArray[np.float64] = np.concatenate(
        (np.ones((1, len(scenes))), drawn.astype(np.float64))
    )  # how often each scene counts, the truth itself first
    by_topic: dict[str, list[str]] = defaultdict(list)
    for kind, topic in sorted({(mark.kind, mark.topic) for mark in telling}):
        by_topic[topic].append(kind)
    means = []
    chances = []
    for names in by_topic.values():
        each = [_accuracies([mark for mark in telling if mark.kind == kind], scenes, times) for kind in names]
        means.append(_mean([accuracy for accuracy, _ in each]))
        chances.append(math.fsum(1 / answers for _, answers in each) / len(each))
    accuracy = _mean(means)
    sampled = accuracy[1:][~np.isnan(accuracy[1:])]
    low, high = np.quantile(sampled, (0.025, 0.975))
    return Score(float(accuracy[0]), float(low), float(high), math.fsum(chances) / len(chances), len(telling))


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share of `n` questions, which need not be whole. Source: Wilson 1927."""
    centre = share + Z95**2 / (2 * n)
    reach = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    low = (centre - reach) / scale if share > 0 else 0.0  # exact where rounding would leave 1e-17
    high = (centre + reach) / scale if share < 1 else 1.0
    return low, high


def distribution(answers: Iterable[str]) -> str:
    """How often each answer is the right one, the most frequent first, in words."""
    return " · ".join(f"{answer} {count}" for answer, count in Counter(answers).most_common())


def _kind(answers: dict[str, list[bool]]) -> Score:
    counts = [len(outcomes) for outcomes in answers.values()]
    accuracy = math.fsum(sum(outcomes) / len(outcomes) for outcomes in answers.values()) / len(answers)
    worth = len(counts) ** 2 / math.fsum(1 / count for count in counts)  # 1 / the sum of the squared weights
    return Score(accuracy, *wilson(accuracy, worth), 1 / len(answers), sum(counts))


def _telling(marks: Sequence[Mark]) -> list[Mark]:
    answers: dict[str, set[str]] = defaultdict(set)
    for mark in marks:
        answers[mark.kind].add(mark.answer)
    return [mark for mark in marks if len(answers[mark.kind]) > 1]


def _accuracies(
    marks: Sequence[Mark], scenes: Sequence[str], times: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """The balanced accuracy of one kind for every row of `times` [draws, scenes], and how many answers it has."""
    place = {scene: i for i, scene in enumerate(scenes)}
    column = {answer: i for i, answer in enumerate(sorted({mark.answer for mark in marks}))}
    asked = np.zeros((len(scenes), len(column)))
    right = np.zeros_like(asked)
    for mark in marks:
        at = place[mark.scene], column[mark.answer]
        asked[at] += 1
        right[at] += mark.right
    counted = times @ asked
    shares = np.divide(times @ right, counted, out=np.full_like(counted, np.nan), where=counted > 0)
    return _mean(list(shares.T)), len(column)


def _mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Row by row, of what is known; NaN where nothing is."""
    stacked = np.stack(values)
    known = ~np.isnan(stacked)
    count = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean
