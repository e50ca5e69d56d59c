"""A scene as the decoder meets it: what the encoder made of each picture, and all that can be asked then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streaming.pocket.chronicle import Chronicle
from streaming.pocket.questions import Question, Topic, ask, describe
from streaming.pocket.seeds import TRAINING_SEEDS
from streaming.pocket.world import World

from .eyes import Eyes
from .pictures import any_world, shot
from .precision import mixed
from .shape import CELLS, GRID

Moment = tuple[int, Question]  # the picture's number, and what is asked behind it
_AT_ONCE = 64
_SIDE = 4  # a cell's brightness is kept as 4 x 4 values


@dataclass(frozen=True, slots=True)
class Recording:
    """
    times_s: [n], since the recording began. tokens, deep: bfloat16 [n, cells, hidden].
    luma: float32 [n, cells, 16]. noise: the lens's, in levels.
    moments: by kind of question, by answer. sentences: what describes each picture, None where it is unclear.
    """

    times_s: NDArray[np.float64]
    tokens: Tensor = field(repr=False)
    deep: Tensor = field(repr=False)
    luma: NDArray[np.float32] = field(repr=False)
    noise: float
    moments: dict[str, dict[str, list[Moment]]] = field(repr=False)
    sentences: list[str | None] = field(repr=False)

    def __len__(self) -> int:
        return len(self.times_s)


def record(eyes: Eyes, random: np.random.Generator, *, seconds: float) -> Recording:
    """A part of a random scene of up to a minute, sampled at 1 to 4 pictures a second, through `eyes`."""
    fps = float(random.choice([1.0, 2.0, 4.0], p=[0.1, 0.75, 0.15]))
    scene = any_world(random, int(random.integers(TRAINING_SEEDS)), seconds=60.0, paces=(0.15, 0.5, 0.35))
    begin = float(random.uniform(0.0, 60.0 - seconds)) if seconds < 60 else 0.0
    times_s = np.arange(0.0, seconds, 1 / fps)
    images = np.stack([shot(scene, begin + float(t), random, large=0.05) for t in times_s])
    moments, sentences = _moments(scene, begin + times_s)
    tokens, deep = see(eyes, images)
    return Recording(times_s, tokens, deep, _luma(images), scene.lens.noise, moments, sentences)


@torch.no_grad()
def see(eyes: Eyes, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """bfloat16 [n, cells, hidden] twice: the tokens, and the first DeepStack features."""
    tokens, deep = [], []
    with mixed(next(eyes.parameters()).device):
        for at in range(0, len(images), _AT_ONCE):
            out, features = eyes(images[at : at + _AT_ONCE])
            tokens.append(out.to(torch.bfloat16))
            deep.append(features[0].to(torch.bfloat16))
    return torch.cat(tokens), torch.cat(deep)


def _moments(scene: World, times_s: NDArray[np.float64]) -> tuple[dict[str, dict[str, list[Moment]]], list[str | None]]:
    chronicle = Chronicle(tuple(event for event in scene.script.events() if event.t_s >= times_s[0]))
    found: dict[str, dict[str, list[Moment]]] = defaultdict(lambda: defaultdict(list))
    sentences = []
    for number, t_s in enumerate(times_s):
        chronicle.add(scene.truth(float(t_s)))
        for question in ask(chronicle, float(t_s)):
            if question.kind == "just" and number < 2:
                continue  # nothing came before
            found[question.kind][question.answer].append((number, question))
        sentences.append(describe(chronicle.now))
    return found, sentences


def _luma(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = images @ np.array([0.299, 0.587, 0.114], np.float32)
    h, w = GRID
    px = images.shape[1] // (h * _SIDE)
    blocks = grey.reshape(len(images), h, _SIDE, px, w, _SIDE, px).mean(axis=(3, 6))
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 2, 4)).reshape(len(images), CELLS, _SIDE * _SIDE)


class Balance:
    """Chooses questions so that over time each answer of a kind is asked for equally often."""

    def __init__(
        self,
        random: np.random.Generator,
        weights: Mapping[Topic, float],
        hard: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """weights: of a topic's kinds. hard: kinds that are asked so many times as often besides."""
        self._random = random
        self._weights = weights
        self._hard = hard
        self._asked: dict[tuple[str, str], int] = defaultdict(int)

    def choose(self, recording: Recording, count: int, shown: NDArray[np.bool_]) -> list[Moment]:
        """`count` questions behind pictures that were `shown`, bool [at most n]; fewer where there are none."""
        kinds = list(recording.moments)
        weight = np.array([self._weight(recording.moments[kind]) for kind in kinds])
        chosen: list[Moment] = []
        for kind_index in self._random.choice(len(kinds), 2 * count, p=weight / weight.sum()):
            kind = kinds[kind_index]
            by_answer = recording.moments[kind]
            answers = list(by_answer)
            rare = np.array([1.0 / (1.0 + self._asked[kind, answer]) ** 1.5 for answer in answers])
            answer = answers[int(self._random.choice(len(answers), p=rare / rare.sum()))]
            moment = self._shown(by_answer[answer], shown)
            if moment is not None:
                self._asked[kind, answer] += 1
                chosen.append(moment)
                if len(chosen) == count:
                    break
        return chosen

    def _weight(self, by_answer: dict[str, list[Moment]]) -> float:
        question = next(iter(by_answer.values()))[0][1]
        return self._weights[question.topic] * self._hard.get(question.kind, 1.0)

    def _shown(self, moments: Sequence[Moment], shown: NDArray[np.bool_]) -> Moment | None:
        for _ in range(4):
            moment = moments[int(self._random.integers(len(moments)))]
            if moment[0] < len(shown) and shown[moment[0]]:
                return moment
        return None
