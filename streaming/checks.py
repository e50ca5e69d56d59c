"""
Rules read as yes/no logits: all rules of a camera side by side in one forward behind its memory, never to stay.

Rules that look at a part of the picture alone run in the same forward, as a batch a part that sees its rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memory.kv import Target

from .answers import text_ids
from .models.base import Chunk, VisionLanguageModel
from .types import Check, CheckResult, FrameResult, Polygon
from .view import View
from .zones import cells_in

NEVER = (-1, 0)  # frame number and time where nothing was seen


@dataclass(frozen=True, slots=True)
class _Question:
    """
    place: where its answer stands in the results.
    zone: the part of the picture that it looks at, None for the whole.
    """

    place: int
    ids: tuple[int, ...]
    zone: Polygon | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Questions side by side, what they see, and the id of their first tokens."""

    questions: Sequence[_Question]
    target: Target
    cursor: int


def due(check: Check, seen: FrameResult | None) -> Check | None:
    """What of a check is to be evaluated, given what this step made of the camera's frame; None for nothing."""
    if not check.only_if_changed:
        return check
    if seen is None or not seen.tokens_kept:
        return None
    if not check.zones:
        return check
    zones = dict(check.zones)
    kept = np.unpackbits(np.frombuffer(seen.kept, np.uint8), count=seen.tokens_in).astype(np.bool_)
    changed = tuple(
        rule for rule in check.rules if rule[0] not in zones or kept[cells_in((zones[rule[0]],), seen.hw)].any()
    )
    return replace(check, rules=changed) if changed else None


class Checks:
    """
    Evaluates checks; max_tokens bounds the questions behind a memory at once, more rules take further rounds.

    A question that alone is longer, a camera that is not open, and a memory without a frame or without a row of the
    part that is looked at are all "unknown".
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
            zones = dict(check.zones)
            for rule, text in check.rules:
                if view is not None and view.newest is not None:
                    question = _Question(len(self._results), self._model.dialogue.check(text), zones.get(rule))
                    questions.append(question)
                self._results.append(CheckResult(check.camera, rule, None, seq, ns))
            if view is not None:
                waiting.append((view, [one for one in questions if len(one.ids) <= self._max_tokens]))
        found: list[Tensor] = []
        while any(questions for _, questions in waiting):
            # so many tokens a camera and round: its rounds use the same rows behind its memory
            batches = [
                batch for view, questions in waiting for batch in _parts(view, _fitting(questions, self._max_tokens))
            ]
            if batches:  # none where no row shows what is asked about
                found.append(self._round(batches))
        return found

    def collect(self, p: Sequence[float]) -> tuple[CheckResult, ...]:
        """The results in the order of the checks' rules, with the numbers that `start` left on the device."""
        for place, value in zip(self._places, p, strict=True):
            old = self._results[place]
            self._results[place] = CheckResult(old.camera, old.rule, value, old.frame_seq, old.frame_ns)
        return tuple(self._results)

    def _round(self, batches: Sequence[_Batch]) -> Tensor:
        ids = [[token for question in batch.questions for token in question.ids] for batch in batches]
        embeds = self._model.embed(torch.tensor([token for each in ids for token in each], device=self._device))
        parts = torch.split(embeds, [len(each) for each in ids])
        chunks = [_chunk(batch, part) for batch, part in zip(batches, parts, strict=True)]
        self._places += [question.place for batch in batches for question in batch.questions]
        logits = self._model.forward(chunks)
        yes = logits[:, self._yes].logsumexp(dim=-1)
        no = logits[:, self._no].logsumexp(dim=-1)
        return (yes - no).double().sigmoid()


def _chunk(batch: _Batch, embeds: Tensor) -> Chunk:
    lengths = tuple(len(question.ids) for question in batch.questions)
    return Chunk(
        embeds=embeds,
        pos=np.concatenate([text_ids(batch.cursor, length) for length in lengths], axis=1),
        target=batch.target,
        blocks=lengths,
        read=tuple(int(stop) - 1 for stop in np.cumsum(lengths)),
    )


def _parts(view: View, questions: Sequence[_Question]) -> list[_Batch]:
    """A batch for each part of the picture that is looked at; without those of which the memory holds no row."""
    by_zone: dict[Polygon | None, list[_Question]] = {}
    for question in questions:
        by_zone.setdefault(question.zone, []).append(question)
    batches = []
    for zone, members in sorted(by_zone.items(), key=lambda item: item[0] is not None):  # the whole one first
        target: Target
        if zone is None:
            target = view.kv.tail()
        elif len(rows := view.rows_in(zone)):
            target = view.kv.part(rows)
        else:
            continue
        batches.append(_Batch(members, target, view.kv.cursor))
    return batches


def _fitting(questions: list[_Question], max_tokens: int) -> list[_Question]:
    """Take from the front as many questions as fit together; mutates `questions`."""
    total, count = 0, 0
    while count < len(questions) and total + len(questions[count].ids) <= max_tokens:
        total += len(questions[count].ids)
        count += 1
    taken = questions[:count]
    del questions[:count]
    return taken
