"""Tokens dropped from a recording, in many ways: what the decoder must bear is more than what one rule does."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .recording import Recording
from .shape import CELLS, GRID

Kept = NDArray[np.bool_]  # [n, cells]
Shown = NDArray[np.bool_]  # [n]

WAYS = {"gate": 0.55, "feature": 0.15, "random": 0.12, "frames": 0.06, "full": 0.12}


def drop(recording: Recording, way: str, random: np.random.Generator) -> tuple[Kept, Shown]:
    """
    Which tokens of a recording are kept, and behind which pictures the stream tells what there is to see.

    The first picture is kept whole. Where a rule keeps nothing, nothing changed; where chance does, who knows.

    way: "gate" as vigild's default (a gate on brightness, then the tokens that are unlike the last kept), "feature" as
    the paper (unlike the picture before), "random" tokens, whole "frames" now and then, or "full".
    """
    n = len(recording)
    if way == "full":
        return np.ones((n, CELLS), np.bool_), np.ones(n, np.bool_)
    if way == "frames":
        kept = np.repeat(random.random((n, 1)) < random.uniform(0.1, 0.6), CELLS, axis=1)
    elif way == "random":
        kept = random.random((n, CELLS)) < random.uniform(0.05, 0.6)
    elif way == "feature":
        kept = _unlike_before(recording, float(random.uniform(0.3, 0.95)))
    else:
        kept = _gated(recording, random)
    if random.random() < 0.6:
        kept[:: int(random.choice([20, 40, 60]))] = True  # key frames
    lossy = random.random() < 0.15
    if lossy:  # pictures lost on the way
        kept[random.random(n) < random.uniform(0.05, 0.5)] = False
    kept[0] = True
    shown: Shown = np.ones(n, np.bool_)
    if lossy or way in ("frames", "random"):
        shown = np.any(kept, axis=1)
    return kept, shown


def _unlike_before(recording: Recording, threshold: float) -> Kept:
    tokens = torch.nn.functional.normalize(recording.tokens.cpu().float(), dim=-1)
    like = (tokens[1:] * tokens[:-1]).sum(-1).numpy() > threshold
    return np.concatenate((np.ones((1, CELLS), np.bool_), ~like))


def _gated(recording: Recording, random: np.random.Generator) -> Kept:
    least = float(random.uniform(0.8, 2.2)) + float(random.uniform(1.5, 2.6)) * 0.28 * recording.noise
    threshold = float(random.choice([1.0, random.uniform(0.3, 0.95)]))  # 1: all that moved is kept
    floor = int(random.choice([1, 4, 4, 8]))
    grow = random.random() < 0.4
    tokens = torch.nn.functional.normalize(recording.tokens.cpu().float(), dim=-1).numpy()
    kept = np.zeros((len(recording), CELLS), np.bool_)
    kept[0] = True
    reference, last = recording.luma[0].copy(), tokens[0].copy()
    for number in range(1, len(recording)):
        away = recording.luma[number] - reference
        moved = np.abs(away - np.median(away, axis=1, keepdims=True)).mean(axis=1)
        ratio = moved / least
        if ratio.max() < 1.5:
            continue
        mask = ratio > 1
        if grow:
            mask = _around(mask)
        reference[mask] = recording.luma[number][mask]
        unlike = 1.0 - (tokens[number] * last).sum(-1)
        chosen = mask & (unlike >= 1.0 - threshold)
        if chosen.sum() < floor:
            order = np.argsort(np.where(mask, -unlike, 1.0))
            chosen[order[: min(floor, int(mask.sum()))]] = True
        kept[number] = chosen
        last[chosen] = tokens[number][chosen]
    return kept


def _around(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grid = np.pad(mask.reshape(GRID), 1)
    grown = grid[1:-1, 1:-1] | grid[:-2, 1:-1] | grid[2:, 1:-1] | grid[1:-1, :-2] | grid[1:-1, 2:]
    return grown.ravel()
