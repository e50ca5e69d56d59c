"""What both stages share: a schedule over time or steps, a running mean of the weights, checkpoints, a log."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

WARMUP = 0.03
_SHELLS = ("heads", "deep")  # modules that only read out
_KEEP = 0.99  # of the running mean, a step


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How long a stage trains: `minutes` of computing, or `steps` where given, resumed ones counted in.

    rate: the highest learning rate; it rises in the first WARMUP of the stage and falls as a cosine.
    """

    minutes: float
    rate: float
    steps: int = 0

    def done(self, spent_s: float, steps: int) -> float:
        """Share of the stage, 0..1."""
        return min(1.0, steps / self.steps if self.steps else spent_s / (60 * self.minutes))

    def at(self, share: float) -> float:
        """The learning rate at a share of the stage."""
        if share < WARMUP:
            return self.rate * max(share / WARMUP, 1e-3)
        return self.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP))))


class Stage:
    """
    One stage's parameters, optimiser, running mean and log in a folder; it goes on from where it was.

    modules: what is trained and saved, by name. mean_of: the name whose running mean is kept.
    """

    def __init__(self, folder: Path, name: str, modules: Mapping[str, nn.Module], pace: Pace) -> None:
        self._path = folder / f"{name}.pt"
        self._log = folder / f"{name}.jsonl"
        self._modules = dict(modules)
        self.pace = pace
        self.steps, self.spent_s = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        parameters = [p for module in self._modules.values() for p in module.parameters() if p.requires_grad]
        matrices = [module.weight for module in self._hidden() if module.weight.requires_grad]
        others = [p for p in parameters if not any(p is matrix for matrix in matrices)]
        self._parameters = parameters
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=pace.rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=pace.rate, weight_decay=0.01, betas=(0.9, 0.98)),
        ]
        self._means = {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self._modules.items()
        }
        if self._path.is_file():
            self._resume()

    def steps_left(self, *, limit_s: float = math.inf) -> Iterator[float]:
        """The share done, before each step, until the stage is over or `limit_s` of this stretch has passed."""
        began, before = time.monotonic(), self.spent_s
        while (share := self.pace.done(self.spent_s, self.steps)) < 1.0 and time.monotonic() - began < limit_s:
            yield share
            self.spent_s = before + time.monotonic() - began

    def step(self, loss: torch.Tensor) -> None:
        """One update with the schedule's rate."""
        rate = self.pace.at(self.pace.done(self.spent_s, self.steps))
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.steps += 1
        keep = min(_KEEP, self.steps / (self.steps + 20))
        with torch.no_grad():
            for name, module in self._modules.items():
                mean = self._means[name]
                for key, value in module.state_dict().items():
                    if value.is_floating_point():
                        mean[key].lerp_(value, 1 - keep)

    def note(self, **figures: Any) -> None:
        """A line of the log."""
        line = {"step": self.steps, "minutes": round(self.spent_s / 60, 2), **figures}
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def mean(self, name: str) -> dict[str, torch.Tensor]:
        """The running mean of a module's weights."""
        return self._means[name]

    def save(self) -> None:
        """Write the checkpoint; a reader never sees it half written."""
        state = {
            "modules": {name: module.state_dict() for name, module in self._modules.items()},
            "means": self._means,
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "steps": self.steps,
            "spent_s": self.spent_s,
        }
        half = self._path.with_suffix(".half")
        torch.save(state, half)
        os.replace(half, self._path)  # noqa: PTH105

    def _hidden(self) -> Iterator[nn.Linear]:
        """The linear layers between the first and the last: what Muon is for."""
        for name, module in self._modules.items():
            if name in _SHELLS:
                continue
            for part in module.modules():
                if isinstance(part, nn.Linear):
                    yield part

    def _resume(self) -> None:
        state = torch.load(self._path, weights_only=True, map_location=self._parameters[0].device)
        for name, module in self._modules.items():
            module.load_state_dict(state["modules"][name])
        self._means = state["means"]
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.steps, self.spent_s = state["steps"], state["spent_s"]


@dataclass(slots=True)
class Running:
    """Running means of figures, for the log."""

    keep: float = 0.97
    values: dict[str, float] = field(default_factory=dict)

    def add(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            old = self.values.get(name, value)
            self.values[name] = self.keep * old + (1 - self.keep) * value

    def rounded(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in self.values.items()}
