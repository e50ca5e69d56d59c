"""
How many cameras one accelerator carries: what steps have cost so far, and what one more camera would make of it.

Pure and without torch, so that a worker decides with it and a gateway, told the same figures, can say no beforehand.

    ms of a step = step_ms + cell_ms * cells + rule_ms * rules          learned online, old steps are forgotten

Under load every camera gets the same rate up to what it asked for (the scheduler serves the one that waited longest),
so that one number tells what all of them get: the rate r at which the accelerator is busy for `headroom` of the time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CELLS: Final = 256.0  # scales the cells of a step to the size of its other terms
RIDGE: Final = 1e-4
OUTLIER: Final = 4.0  # a step of so many times its expectation counts as one of this many: a stall is not a trend
BISECTIONS: Final = 40


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """
    headroom: share of the time that the accelerator may be busy with frames; the rest is for questions and jitter.
    min_share: a camera is refused when it, or one that runs, would get less than this share of the rate it asks for;
        0 refuses none.
    least_steps: steps to be measured before anything is refused. memory: measured steps after which one counts 1/e.
    """

    headroom: float = 0.9
    min_share: float = 0.5
    least_steps: int = 64
    memory: float = 256.0

    def __post_init__(self) -> None:
        if not 0 < self.headroom <= 1 or not 0 <= self.min_share <= 1:
            raise ValueError(f"headroom {self.headroom} and min_share {self.min_share} must lie in 0..1")
        if self.least_steps < 1 or self.memory < 1:
            raise ValueError("least_steps and memory must be at least 1")


@dataclass(frozen=True, slots=True)
class Load:
    """
    One camera as the accelerator feels it.

    fps: frames a second that it asks for. cells: of one of its frames, in tokens before the drop. rules: evaluated with
    a frame, on average.
    """

    fps: float
    cells: int
    rules: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step takes, in milliseconds: for itself, for each cell it looks at, for each rule it evaluates."""

    step_ms: float
    cell_ms: float
    rule_ms: float

    def frame_ms(self, load: Load) -> float:
        """What one frame of this camera adds to a step."""
        return self.cell_ms * load.cells + self.rule_ms * load.rules

    def busy(self, loads: Sequence[Load], fps: float, *, max_frames: int) -> float:
        """Share of the time that these cameras take at up to `fps` each, `max_frames` of them in a step."""
        fastest = max((min(load.fps, fps) for load in loads), default=0.0)
        steps_s = fastest * math.ceil(len(loads) / max_frames)
        frames_ms = sum(min(load.fps, fps) * self.frame_ms(load) for load in loads)
        return (steps_s * self.step_ms + frames_ms) / 1000

    def fair_fps(self, loads: Sequence[Load], *, max_frames: int, headroom: float) -> float:
        """The highest rate that every camera gets, or would with a higher wish: max-min fair within `headroom`."""
        highest = max((load.fps for load in loads), default=0.0)
        if self.busy(loads, highest, max_frames=max_frames) <= headroom:
            return highest
        low, high = 0.0, highest
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            fits = self.busy(loads, middle, max_frames=max_frames) <= headroom
            low, high = (middle, high) if fits else (low, middle)
        return low


class CostMeter:
    """Learns the Cost from the steps that ran: exponentially forgetting least squares without negative terms."""

    def __init__(self, settings: AdmissionSettings | None = None) -> None:
        settings = settings or AdmissionSettings()
        self._least = settings.least_steps
        self._keep = math.exp(-1 / settings.memory)
        self._gram = np.zeros((3, 3))
        self._right = np.zeros(3)
        self._solved: Cost | None = None
        self.steps = 0

    def add(self, ms: float, *, cells: int, rules: int) -> None:
        """A step with frames took so long. Steps that also answered questions belong in here: they are the load."""
        known = self.cost
        if known is not None:
            ms = min(ms, OUTLIER * max(known.step_ms + known.cell_ms * cells + known.rule_ms * rules, 0.1))
        x = np.array([1.0, cells / CELLS, float(rules)])
        self._gram = self._keep * self._gram + np.outer(x, x)
        self._right = self._keep * self._right + ms * x
        self._solved = None
        self.steps += 1

    @property
    def cost(self) -> Cost | None:
        """What steps cost as of now; None before `least_steps`."""
        if self.steps < self._least:
            return None
        if self._solved is None:
            step_ms, cells_ms, rule_ms = _non_negative(self._gram, self._right)
            self._solved = Cost(step_ms, cells_ms / CELLS, rule_ms)
        return self._solved


@dataclass(frozen=True, slots=True)
class Capacity:
    """
    What a worker says of itself, enough to judge one more camera.

    cost: None while too little was measured. loads: the cameras it has. cells: of the largest frame it looks at.
    slots: cameras it has memory for. camera_bytes: the memory of each, on the device. max_frames: frames in a step.
    """

    cost: Cost | None
    loads: tuple[Load, ...]
    cells: int
    slots: int
    camera_bytes: int
    max_frames: int
    headroom: float
    min_share: float

    def refusal(self, fps: float, *, cells: int | None = None) -> str | None:
        """
        Why another camera of this rate cannot be had, with the figures; None when it can.

        The first one always can, as far as time goes: nobody else would lag with it.
        """
        count = len(self.loads)
        if count >= self.slots:
            return (
                f"{_nth(count + 1)} camera finds no memory: there is room for {self.slots} of "
                f"{self.camera_bytes / 2**20:.0f} MiB each; remove one, lower camera.budget_tokens or raise "
                "engine.max_cameras"
            )
        if self.cost is None or not self.min_share or not self.loads:
            return None
        new = Load(fps, self.cells if cells is None else cells, _mean_rules(self.loads))
        loads = (*self.loads, new)
        rate = self.cost.fair_fps(loads, max_frames=self.max_frames, headroom=self.headroom)
        highest = max(load.fps for load in loads)
        if rate >= self.min_share * highest:
            return None
        busy = self.cost.busy(self.loads, highest, max_frames=self.max_frames)
        whose = f"run at {rate:.1f} fps" if rate < fps else f"leave the fastest camera {rate:.1f} of {highest:g} fps"
        advice = "ask for fewer fps, lower engine.max_pixels or remove a camera"
        return f"{_nth(count + 1)} camera would {whose}: {count} take {100 * busy:.0f} % of the accelerator; {advice}"

    def as_map(self) -> dict[str, Any]:
        """Plain values, as a heartbeat carries them."""
        plain = asdict(self)
        plain["loads"] = [[load.fps, load.cells, load.rules] for load in self.loads]
        return plain

    @classmethod
    def from_map(cls, plain: Mapping[str, Any]) -> Capacity:
        """Read a heartbeat back. Raises: KeyError, TypeError, ValueError: a worker that says it otherwise."""
        cost = plain["cost"]
        return cls(
            cost=None if cost is None else Cost(**cost),
            loads=tuple(Load(float(fps), int(cells), float(rules)) for fps, cells, rules in plain["loads"]),
            cells=int(plain["cells"]),
            slots=int(plain["slots"]),
            camera_bytes=int(plain["camera_bytes"]),
            max_frames=int(plain["max_frames"]),
            headroom=float(plain["headroom"]),
            min_share=float(plain["min_share"]),
        )


def _mean_rules(loads: Sequence[Load]) -> float:
    return sum(load.rules for load in loads) / len(loads) if loads else 0.0


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _non_negative(gram: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[float, float, float]:
    """
    Least squares with no term below zero, from its normal equations: the best of the few sets of terms that allow it.

    A little ridge shares the time out evenly where the steps were all alike and do not tell.
    """
    regular = gram + np.diag(RIDGE * gram.diagonal() + 1e-9)
    best, best_loss = np.zeros(3), 0.0  # the loss without its constant term
    for size in (1, 2, 3):
        for terms in itertools.combinations(range(3), size):
            at = list(terms)
            found = np.linalg.solve(regular[np.ix_(at, at)], right[at])
            if (found < 0).any():
                continue
            loss = float(-right[at] @ found)
            if loss < best_loss:
                best, best_loss = np.zeros(3), loss
                best[at] = found
    return float(best[0]), float(best[1]), float(best[2])
