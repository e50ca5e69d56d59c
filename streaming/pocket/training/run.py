"""From nothing to a checkpoint: eyes, then mind, each resumed where a folder left off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from . import eyes, mind, model
from .loop import Pace
from .plots import plot

CHECKPOINT = "checkpoint"
_EYES = 0.35  # share of the time for the encoder


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How much is trained. eyes, mind: the two stages. pictures, streams: of one step. questions: of one stream.
    recordings: held at once.
    """

    eyes: Pace
    mind: Pace
    pictures: int = 32
    streams: int = 2
    questions: int = 40
    recordings: int = 400

    @staticmethod
    def of(minutes: float) -> Plan:
        """A plan for so many minutes of computing."""
        return Plan(Pace(minutes * _EYES, 1.2e-3), Pace(minutes * (1 - _EYES), 2e-3))


SMOKE = Plan(Pace(0, 2e-3, steps=2), Pace(0, 2e-3, steps=2), pictures=8, streams=2, questions=6, recordings=4)


def train(
    folder: Path,
    *,
    minutes: float = 240.0,
    seed: int = 0,
    smoke: bool = False,
    device: str = "cpu",
    stretch_minutes: float = float("inf"),
    start: Path | None = None,
    tell: Callable[[float, str], None] = lambda _share, _said: None,
) -> Path:
    """
    Train a pocket model in `folder`, or go on with it; returns the checkpoint's folder, which is written in any case.

    Besides, the folder holds what is needed to go on (eyes.pt, mind.pt), the logs as JSON lines, and their plots.

    start: a checkpoint folder whose weights to begin with; the throw-away heads begin anew.
    minutes: of computing, over all stretches. stretch_minutes: after how many of them to stop for now. smoke: a few
    steps of everything, to prove that it runs. tell: called with the share done and a phrase.
    Blocks for that long. Raises: OSError: the folder cannot be written.
    """
    plan = SMOKE if smoke else Plan.of(minutes)
    words = model.tokenizer()
    pocket = (model.untrained(words, seed=seed) if start is None else model.trained(start)).to(device)
    left_s = eyes.train(
        pocket.model.visual,
        folder,
        pace=plan.eyes,
        seed=seed,
        size=plan.pictures,
        limit_s=60 * stretch_minutes,
        tell=lambda share, said: tell(share * _EYES, said),
    )
    if left_s > 0:
        mind.train(
            pocket,
            words,
            folder,
            pace=plan.mind,
            seed=seed,
            size=plan.streams,
            questions=plan.questions,
            pool=plan.recordings,
            limit_s=left_s,
            tell=lambda share, said: tell(_EYES + share * (1 - _EYES), said),
        )
    model.save(pocket.to("cpu"), words, folder / CHECKPOINT)
    for log in folder.glob("*.jsonl"):
        plot(log)
    tell(1.0, f"written to {folder / CHECKPOINT}")
    return folder / CHECKPOINT


def use_threads(threads: int) -> None:
    """CPU threads of one operation: as many as cores that nothing else uses; one more makes all of them wait."""
    torch.set_num_threads(threads)
