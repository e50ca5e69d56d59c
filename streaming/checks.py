"""
Rules read as yes/no logits: all rules of a camera side by side in one forward behind its memory, never to stay.

What their questions have in common from the first token on, which is what a family and the prompt put in front of every
rule and the words with which all of them begin, is computed once; of the vocabulary only yes and no are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .models.base import Chunk, VisionLanguageModel
from .types import Check, CheckResult
from .view import View

NEVER = (-1, 0)  # frame number and time where nothing was seen


@dataclass(frozen=True, slots=True)
class Bundle:
    """
    Questions side by side, behind any memory.

    ids: int64 [n], the shared tokens and then what each question has of its own.
    step: int64 [n], position ids counted from the memory's next one: every question goes on where the shared end.
    read: the row of each question's last token.
    """

    ids: NDArray[np.int64] = field(repr=False)
    step: NDArray[np.int64] = field(repr=False)
    shared: int
    blocks: tuple[int, ...]
    read: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Due:
    """A camera's rules that are evaluated. places: where their answers stand in the results, in order."""

    view: View
    bundles: tuple[Bundle, ...]
    places: Iterator[int]


class Checks:
    """
    Evaluates checks; max_tokens bounds the rows behind a memory at once, more rules take further rounds.

    A question that alone is longer, a camera that is not open and a memory without a frame are all "unknown".
    """

    def __init__(self, model: VisionLanguageModel, *, device: torch.device, max_tokens: int) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._words = torch.tensor((*model.dialogue.yes, *model.dialogue.no), device=device)
        self._device = device
        self._results: list[CheckResult] = []
        self._places: list[int] = []

    def start(self, checks: Sequence[Check], views: dict[str, View]) -> list[Tensor]:
        """Run the forwards; the p of each evaluated rule, on the device, as float64 tensors [k] for `collect`."""
        self._results, self._places = [], []
        due: list[_Due] = []
        for check in checks:
            view = views.get(check.camera)
            seq, ns = NEVER if view is None or view.newest is None else view.newest
            asked = [self._model.dialogue.check(text) for _, text in check.rules] if seq != NEVER[0] else []
            first = len(self._results)
            self._results += [CheckResult(check.camera, rule, None, seq, ns) for rule, _ in check.rules]
            fitting = [i for i, ids in enumerate(asked) if len(ids) <= self._max_tokens]
            if view is not None and fitting:
                bundles = bundled(tuple(asked[i] for i in fitting), self._max_tokens)
                due.append(_Due(view, bundles, iter([first + i for i in fitting])))
        # one bundle a camera and round: the bundles of one camera use the same rows behind its memory
        rounds = max((len(each.bundles) for each in due), default=0)
        return [self._round([each for each in due if at < len(each.bundles)], at) for at in range(rounds)]

    def collect(self, p: Sequence[float]) -> tuple[CheckResult, ...]:
        """The results in the order of the checks' rules, with the numbers that `start` left on the device."""
        for place, value in zip(self._places, p, strict=True):
            old = self._results[place]
            self._results[place] = CheckResult(old.camera, old.rule, value, old.frame_seq, old.frame_ns)
        return tuple(self._results)

    def _round(self, due: Sequence[_Due], at: int) -> Tensor:
        asked = [each.bundles[at] for each in due]
        ids = torch.from_numpy(np.concatenate([each.ids for each in asked])).to(self._device)
        parts = torch.split(self._model.embed(ids), [len(each.ids) for each in asked])
        chunks = [_chunk(each.view, one, part) for each, one, part in zip(due, asked, parts, strict=True)]
        for each, one in zip(due, asked, strict=True):
            self._places += itertools.islice(each.places, len(one.blocks))
        logits = self._model.forward(chunks, words=self._words)
        yes, no = torch.split(logits, [len(self._model.dialogue.yes), len(self._model.dialogue.no)], dim=1)
        return (yes.logsumexp(dim=-1) - no.logsumexp(dim=-1)).double().sigmoid()


@lru_cache(maxsize=256)  # a camera's rules are the same at every frame
def bundled(questions: tuple[tuple[int, ...], ...], max_tokens: int) -> tuple[Bundle, ...]:
    """
    Questions (token ids) in as few bundles of at most `max_tokens` rows as their order allows.

    None is empty or longer than that. What a bundle's questions begin with alike is there once; the last token of each
    is always its own, for there its answer is read.
    """
    bundles: list[Bundle] = []
    taken: list[tuple[int, ...]] = []
    shared = total = 0
    for question in questions:
        common = min(shared, _common(taken[0], question)) if taken else len(question)
        if taken and total + len(question) - common * len(taken) > max_tokens:
            bundles.append(_bundle(taken, shared))
            taken, total, common = [], 0, len(question)
        taken.append(question)
        total += len(question)
        shared = common
    return (*bundles, _bundle(taken, shared))


def _bundle(questions: Sequence[tuple[int, ...]], shared: int) -> Bundle:
    if len(questions) == 1:  # nobody to share with
        shared = 0
    lengths = [len(question) - shared for question in questions]
    return Bundle(
        ids=np.concatenate([questions[0][:shared], *(question[shared:] for question in questions)]).astype(np.int64),
        step=np.concatenate([np.arange(shared), *(np.arange(shared, shared + length) for length in lengths)]),
        shared=shared,
        blocks=tuple(lengths),
        read=tuple(shared + int(stop) - 1 for stop in np.cumsum(lengths)),
    )


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens both begin with, the last of either left out."""
    most = min(len(one), len(other)) - 1
    return next((i for i in range(most) if one[i] != other[i]), most)


def _chunk(view: View, asked: Bundle, embeds: Tensor) -> Chunk:
    return Chunk(
        embeds=embeds,
        pos=np.broadcast_to(asked.step + view.kv.cursor, (3, len(asked.ids))),
        target=view.kv.tail(),
        blocks=asked.blocks,
        shared=asked.shared,
        read=asked.read,
    )
