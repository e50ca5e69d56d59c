"""
Alerts judged by the truth: which stretches they should have told of, and which they did.

An episode is a stretch in which the question's answer is yes for at least hold_s + 1 s. Where the picture does not
settle it (half hidden, on the edge) nothing is held against anybody, nor within EDGE_S of a moment that may be a yes.
An episode goes on over a pause that a right rule may sleep through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

EDGE_S: Final = 1.5  # what pictures at 2 a second and a hand's breadth of visibility leave open
LEAST_S: Final = 1.0  # beyond hold_s


@dataclass(frozen=True, slots=True)
class Episode:
    """From when to when the answer is yes. opens_s: since when it may have been."""

    begin_s: float
    end_s: float
    opens_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    found, missed: episodes. false: alerts that nothing called for, or that told again of what had not stopped.
    delays_s: from an episode's beginning to its alert, at least 0.
    """

    found: int = 0
    missed: int = 0
    false: int = 0
    delays_s: tuple[float, ...] = field(default=())

    @property
    def episodes(self) -> int:
        return self.found + self.missed

    @property
    def precision(self) -> float | None:
        """None where nothing was alerted."""
        return self.found / (self.found + self.false) if self.found + self.false else None

    @property
    def recall(self) -> float | None:
        """None where nothing happened."""
        return self.found / self.episodes if self.episodes else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None where nothing happened and nothing was alerted."""
        of = 2 * self.found + self.missed + self.false
        return 2 * self.found / of if of else None

    @property
    def delay_s(self) -> float | None:
        """The mean; None where nothing was found."""
        return sum(self.delays_s) / len(self.delays_s) if self.delays_s else None

    def row(self) -> dict[str, int | float | None]:
        return {
            "asked": self.episodes,
            "false_alerts": self.false,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "delay_s": self.delay_s,
        }


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """All counts in one."""
    every = list(verdicts)
    return Verdict(
        sum(one.found for one in every),
        sum(one.missed for one in every),
        sum(one.false for one in every),
        tuple(delay for one in every for delay in one.delays_s),
    )


def judge(
    times_s: Sequence[float], holds: Sequence[bool | None], alerts_s: Sequence[float], *, hold_s: float
) -> Verdict:
    """
    One standing question on one scene.

    Args:
        times_s: of the pictures, ascending; holds: the answer at each, None where it is not settled.
        alerts_s: when alerts started, ascending.
    """
    delays = []
    missed = 0
    for episode in episodes(times_s, holds, hold_s=hold_s):
        inside = [at for at in alerts_s if episode.opens_s - EDGE_S <= at <= episode.end_s + EDGE_S]
        if inside:
            delays.append(max(0.0, inside[0] - episode.begin_s))
        else:
            missed += 1
    samples = list(zip(times_s, holds, strict=True))
    false = 0
    for before_s, at_s in zip((None, *alerts_s), alerts_s, strict=False):
        called_for = any(one is not False and abs(at_s - t_s) <= EDGE_S for t_s, one in samples)
        since = [one for t_s, one in samples if before_s is not None and before_s <= t_s <= at_s]
        false += not called_for or (bool(since) and all(since))
    return Verdict(len(delays), missed, false, tuple(delays))


def episodes(times_s: Sequence[float], holds: Sequence[bool | None], *, hold_s: float) -> list[Episode]:
    """The stretches that must be told of. A pause is slept through when its noes are over within hold_s + EDGE_S."""
    found = []
    for first, last in _stretches(times_s, holds, bridge_s=hold_s + EDGE_S):
        if _longest_s(times_s, holds, first, last) < hold_s + LEAST_S:
            continue
        opens = first
        while opens and holds[opens - 1] is not False:
            opens -= 1
        found.append(Episode(times_s[first], times_s[last], times_s[opens]))
    return found


def _stretches(times_s: Sequence[float], holds: Sequence[bool | None], *, bridge_s: float) -> list[tuple[int, int]]:
    """First and last yes of each stretch, as places."""
    found: list[tuple[int, int]] = []
    no: int | None = None  # the first no since the last yes
    for i, one in enumerate(holds):
        if one is False and no is None:
            no = i
        if one is not True:
            continue
        if found and (no is None or times_s[i] - times_s[no] <= bridge_s):
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
        no = None
    return found


def _longest_s(times_s: Sequence[float], holds: Sequence[bool | None], first: int, last: int) -> float:
    """The longest time of nothing but yes from place to place."""
    longest, begin = 0.0, first
    for i in range(first, last + 1):
        if holds[i] is not True:
            begin = i + 1
        else:
            longest = max(longest, times_s[i] - times_s[begin])
    return longest
