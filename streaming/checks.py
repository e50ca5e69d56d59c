"""Rules read as yes/no logits: all rules of a camera side by side in one forward behind its memory, never to stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .answers import text_ids
from .models.base import Chunk, VisionLanguageModel
from .types import Check, CheckResult
from .view import View

NEVER = (-1, 0)  # frame number and time where nothing was seen


@dataclass(frozen=True, slots=True)
class _Question:
    """place: where its answer stands in the results."""

    place: int
    ids: tuple[int, ...]


class Checks:
    """
    Evaluates checks; max_tokens bounds the questions behind a memory at once, more rules take further rounds.

    A question that alone is longer, a camera that is not open and a memory without a frame are all "unknown".
    """

    def __init__(self, model: VisionLanguageModel, *, device: torch.device, max_tokens: int) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._yes = torch.tensor(model.dialogue.yes, device=device)
        self._no = torch.tensor(model.dialogue.no, device=device)
        self._device = device
        self._results: list[CheckResult] = []
        self._places: list[int] = []

    def start(self, checks: Sequence[Check], views: dict[str, View]) -> list[Tensor]:
        """Run the forwards; the p of each evaluated rule, on the device, as float64 tensors [k] for `collect`."""
        self._results, self._places = [], []
        waiting: list[tuple[View, list[_Question]]] = []
        for check in checks:
            view = views.get(check.camera)
            seq, ns = NEVER if view is None or view.newest is None else view.newest
            questions = []
            for rule, text in check.rules:
                if view is not None and view.newest is not None:
                    questions.append(_Question(len(self._results), self._model.dialogue.check(text)))
                self._results.append(CheckResult(check.camera, rule, None, seq, ns))
            if view is not None:
                waiting.append((view, [one for one in questions if len(one.ids) <= self._max_tokens]))
        found: list[Tensor] = []
        while any(questions for _, questions in waiting):
            # one batch a camera and round: the batches of one camera use the same rows behind its memory
            found.append(self._round([(view, _fitting(questions, self._max_tokens)) for view, questions in waiting]))
        return found

    def collect(self, p: Sequence[float]) -> tuple[CheckResult, ...]:
        """The results in the order of the checks' rules, with the numbers that `start` left on the device."""
        for place, value in zip(self._places, p, strict=True):
            old = self._results[place]
            self._results[place] = CheckResult(old.camera, old.rule, value, old.frame_seq, old.frame_ns)
        return tuple(self._results)

    def _round(self, batches: Sequence[tuple[View, Sequence[_Question]]]) -> Tensor:
        due = [(view, questions) for view, questions in batches if questions]
        ids = [[token for question in questions for token in question.ids] for _, questions in due]
        embeds = self._model.embed(torch.tensor([token for each in ids for token in each], device=self._device))
        parts = torch.split(embeds, [len(each) for each in ids])
        chunks = [self._chunk(view, questions, part) for (view, questions), part in zip(due, parts, strict=True)]
        self._places += [question.place for _, questions in batches for question in questions]
        logits = self._model.forward(chunks)
        yes = logits[:, self._yes].logsumexp(dim=-1)
        no = logits[:, self._no].logsumexp(dim=-1)
        return (yes - no).double().sigmoid()

    def _chunk(self, view: View, questions: Sequence[_Question], embeds: Tensor) -> Chunk:
        lengths = tuple(len(question.ids) for question in questions)
        return Chunk(
            embeds=embeds,
            pos=np.concatenate([text_ids(view.kv.cursor, length) for length in lengths], axis=1),
            target=view.kv.tail(),
            blocks=lengths,
            read=tuple(int(stop) - 1 for stop in np.cumsum(lengths)),
        )


def _fitting(questions: list[_Question], max_tokens: int) -> list[_Question]:
    """Take from the front as many questions as fit together; mutates `questions`."""
    total, count = 0, 0
    while count < len(questions) and total + len(questions[count].ids) <= max_tokens:
        total += len(questions[count].ids)
        count += 1
    taken = questions[:count]
    del questions[:count]
    return taken
