"""
The drop rules of a step, over all its cameras at once: which frames are encoded, then which of their tokens are kept.

Each stage is one device operation per rule and one transfer to the host. What a rule remembers stays on the device, in
the cameras' views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .drop import Drop
from .drop.base import Cells, Grid
from .models.base import Encoded
from .view import View
from .zones import cells_in


@dataclass(frozen=True, slots=True)
class Look:
    """
    A frame before any rule.

    luma: uint8 [n, k], the brightness of its cells (see glance), for the rules on pixels.
    pts_ns: when it was taken, Unix epoch nanoseconds.
    """

    view: View
    hw: Grid
    luma: NDArray[np.uint8] = field(repr=False)
    pts_ns: int


@dataclass(frozen=True, slots=True)
class Passed:
    """
    What the gate said of a frame.

    opened: False: nothing in it changed, and it needs no encoder.
    due: it is kept whole whatever it shows. whole: it is kept whole, due or as another scene.
    candidates: bool [n] on the device, the cells that changed where changes matter; None is all. changed: the same on
        the host, where a rule on pixels has said so.
    """

    opened: bool
    due: bool
    whole: bool
    candidates: Tensor | None = field(repr=False)
    changed: NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Decided:
    """What is kept of a frame: mask bool [n] and change float32 [n], both on the host."""

    mask: NDArray[np.bool_]
    change: NDArray[np.float32]


def gate(looks: Sequence[Look], device: torch.device) -> list[Passed]:
    """
    Which frames to encode. Mutates the views' pixel references; synchronises once, if any camera has a rule on pixels.

    A frame that is due to be kept whole, or whose camera has zones that are never dropped, is always encoded.
    """
    due = [_due(look) for look in looks]
    passed = [Passed(True, whole, whole, _where(look, device)) for look, whole in zip(looks, due, strict=True)]
    rules = _by_rule([look.view.drop.pixels for look in looks])
    cuts: list[Tensor] = []  # bool [cameras] each
    masks: dict[int, Tensor] = {}
    for rule, members in rules.items():
        chosen = [looks[i] for i in members]
        now = torch.from_numpy(np.concatenate([look.luma for look in chosen])).to(device, non_blocking=True)
        parts = torch.split(now, [len(look.luma) for look in chosen])
        known = [_fitting(look.view.pixels, look.hw) for look in chosen]
        reference = [rule.blank(part) if old is None else old for part, old in zip(parts, known, strict=True)]
        grids = tuple(look.hw for look in chosen)
        cells = Cells(
            now,
            torch.cat(reference),
            grids,
            candidates=_candidates([passed[i] for i in members], [len(look.luma) for look in chosen], device),
            forced=_forced(chosen, [due[i] for i in members], device),
        )
        kept = rule.keep(cells)
        cuts.append(kept.mask.new_zeros(len(chosen)) if kept.cut is None else kept.cut)
        sizes = [len(look.luma) for look in chosen]
        masks |= dict(zip(members, torch.split(kept.mask, sizes), strict=True))
        for look, part in zip(chosen, torch.split(kept.reference, sizes), strict=True):
            look.view.pixels = (part.clone(), look.hw)  # a clone, so that one camera does not hold the others' batch
    if cuts:
        order = [i for members in rules.values() for i in members]
        cut, *changed = np.split(
            torch.cat((*cuts, *(masks[i] for i in order))).cpu().numpy(),
            np.cumsum([len(order), *(len(masks[i]) for i in order)])[:-1],
        )
        for at, i in enumerate(order):
            passed[i] = Passed(bool(changed[at].any()), due[i], due[i] or bool(cut[at]), masks[i], changed[at])
    return passed


def decide(looks: Sequence[Look], passed: Sequence[Passed], encoded: Sequence[Encoded]) -> list[Decided]:
    """What to keep of encoded frames. Mutates the views' references; synchronises once."""
    device = encoded[0].embeds.device
    rules = _by_rule([look.view.drop.features for look in looks])
    masks: dict[int, tuple[Tensor, Tensor]] = {}
    for rule, members in rules.items():
        chosen = [looks[i] for i in members]
        now = [encoded[i].embeds for i in members]
        known = [_fitting(look.view.reference, look.hw) for look in chosen]
        kept = rule.keep(
            Cells(
                torch.cat(now),
                torch.cat([rule.blank(part) if old is None else old for part, old in zip(now, known, strict=True)]),
                tuple(look.hw for look in chosen),
                candidates=_candidates([passed[i] for i in members], [len(part) for part in now], device),
                forced=_forced(chosen, [passed[i].whole for i in members], device),
            )
        )
        sizes = [len(part) for part in now]
        masks |= dict(
            zip(members, zip(torch.split(kept.mask, sizes), torch.split(kept.change, sizes), strict=True), strict=True)
        )
        for look, part in zip(chosen, torch.split(kept.reference, sizes), strict=True):
            look.view.reference = (part.clone(), look.hw)
    order = [masks[i] for i in range(len(looks))]
    both = torch.stack((torch.cat([mask.float() for mask, _ in order]), torch.cat([change for _, change in order])))
    stops = np.cumsum([len(mask) for mask, _ in order])[:-1]
    mask, change = both.cpu().numpy()
    return [Decided(m > 0, c) for m, c in zip(np.split(mask, stops), np.split(change, stops), strict=True)]


def _due(look: Look) -> bool:
    """Whether this frame is to be kept whole: asked for, of another size, or the last such one is too old."""
    view = look.view
    if view.key_due or view.hw != look.hw or view.key_ns is None:
        return True
    key_s = view.drop.key_s
    return key_s > 0 and look.pts_ns - view.key_ns >= key_s * 1e9


def _by_rule(rules: Sequence[Drop | None]) -> dict[Drop, list[int]]:
    """Who shares a rule: equal settings are one rule, and one operation."""
    found: dict[Drop, list[int]] = {}
    for i, rule in enumerate(rules):
        if rule is not None:
            found.setdefault(rule, []).append(i)
    return found


def _fitting(known: tuple[Tensor, Grid] | None, hw: Grid) -> Tensor | None:
    return known[0] if known is not None and known[1] == hw else None


def _forced(looks: Sequence[Look], whole: Sequence[bool], device: torch.device) -> Tensor | None:
    """The cells that are kept whatever the rule says, bool [n]; None where there are none."""
    parts = []
    for look, all_of_it in zip(looks, whole, strict=True):
        zones = look.view.settings.never_drop
        n = look.hw[0] * look.hw[1]
        parts.append(cells_in(zones, look.hw) if zones and not all_of_it else np.full(n, all_of_it))
    forced = np.concatenate(parts)
    return torch.from_numpy(forced).to(device, non_blocking=True) if forced.any() else None


def _where(look: Look, device: torch.device) -> Tensor | None:
    """The cells in which changes matter, bool [n]; None where that is everywhere."""
    zones = look.view.settings.zones
    return torch.tensor(cells_in(zones, look.hw), device=device) if zones else None


def _candidates(passed: Sequence[Passed], sizes: Sequence[int], device: torch.device) -> Tensor | None:
    if all(each.candidates is None for each in passed):
        return None
    parts = [
        torch.ones(n, dtype=torch.bool, device=device) if each.candidates is None else each.candidates
        for each, n in zip(passed, sizes, strict=True)
    ]
    return torch.cat(parts)
