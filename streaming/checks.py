"""
Rules read as yes/no logits: all rules of a camera side by side in one forward behind its memory, never to stay.

What questions have in common from the first token on, which is what a family and the prompt put in front of every rule
and the words with which some of them begin, is computed once; of the vocabulary only yes and no are.

Rules that look at a part of the picture see other rows: they run in the same forward, in bundles of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from memory.kv import Target

from .bundles import Bundle, bundled
from .models.base import Chunk, VisionLanguageModel
from .types import Check, CheckResult, FrameResult, Polygon
from .view import View
from .zones import cells_in

NEVER = (-1, 0)  # frame number and time where nothing was seen


@dataclass(frozen=True, slots=True)
class _Group:
    """
    Rules of a camera that see the same: the whole picture, or one part of it.

    target: what they see. cursor: the id of their first tokens. places: where their answers stand in the results, in
    order.
    """

    target: Target
    cursor: int
    bundles: tuple[Bundle, ...]
    places: Iterator[int]


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
    Evaluates checks; max_tokens bounds the rows behind a memory at once, more rules take further rounds.

    A question that alone is longer, a camera that is not open, and a memory without a frame or without a row of the
    part that is looked at are all "unknown".
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
        groups: list[_Group] = []
        for check in checks:
            view = views.get(check.camera)
            seq, ns = NEVER if view is None or view.newest is None else view.newest
            first = len(self._results)
            self._results += [CheckResult(check.camera, rule, None, seq, ns) for rule, _ in check.rules]
            if view is not None and view.newest is not None:
                groups += self._groups(check, view, first)
        # one bundle a group and round: the bundles on the whole picture use the same rows behind the camera's memory
        rounds = max((len(group.bundles) for group in groups), default=0)
        return [self._round([group for group in groups if at < len(group.bundles)], at) for at in range(rounds)]

    def collect(self, p: Sequence[float]) -> tuple[CheckResult, ...]:
        """The results in the order of the checks' rules, with the numbers that `start` left on the device."""
        for place, value in zip(self._places, p, strict=True):
            old = self._results[place]
            self._results[place] = CheckResult(old.camera, old.rule, value, old.frame_seq, old.frame_ns)
        return tuple(self._results)

    def _groups(self, check: Check, view: View, first: int) -> Iterator[_Group]:
        """The camera's rules by what they see, the whole picture first. first: the place of the check's first rule."""
        zones = dict(check.zones)
        by_zone: dict[Polygon | None, dict[int, tuple[int, ...]]] = {None: {}}
        for place, (rule, text) in enumerate(check.rules, first):
            ids = self._model.dialogue.check(text)
            if len(ids) <= self._max_tokens:
                by_zone.setdefault(zones.get(rule), {})[place] = ids
        for zone, asked in by_zone.items():
            if asked and (target := _target(view, zone)) is not None:
                yield _Group(target, view.kv.cursor, bundled(tuple(asked.values()), self._max_tokens), iter(asked))

    def _round(self, groups: Sequence[_Group], at: int) -> Tensor:
        asked = [group.bundles[at] for group in groups]
        ids = torch.from_numpy(np.concatenate([one.ids for one in asked])).to(self._device, non_blocking=True)
        parts = torch.split(self._model.embed(ids), [len(one.ids) for one in asked])
        chunks = [_chunk(group, one, part) for group, one, part in zip(groups, asked, parts, strict=True)]
        for group, one in zip(groups, asked, strict=True):
            places = list(itertools.islice(group.places, len(one.order)))
            self._places += (places[number] for number in one.order)
        logits = self._model.forward(chunks, words=self._words)
        yes, no = torch.split(logits, [len(self._model.dialogue.yes), len(self._model.dialogue.no)], dim=1)
        return (yes.logsumexp(dim=-1) - no.logsumexp(dim=-1)).double().sigmoid()


def _target(view: View, zone: Polygon | None) -> Target | None:
    """What a rule on this part of the picture sees; None where the memory holds no row of it."""
    if zone is None:
        return view.kv.tail()
    rows = view.rows_in(zone)
    return view.kv.part(rows) if len(rows) else None


def _chunk(group: _Group, asked: Bundle, embeds: Tensor) -> Chunk:
    return Chunk(
        embeds=embeds,
        pos=np.broadcast_to(asked.step + group.cursor, (3, len(asked.ids))),
        target=group.target,
        blocks=asked.blocks,
        after=asked.after,
        read=asked.read,
    )
