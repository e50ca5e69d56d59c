"""
The encoder learns to see: every token tells what is in its cell and what the whole picture shows.

The heads are linear, shared by all tokens, and thrown away. That each token knows the whole picture is what makes
dropping tokens cheap: whichever is kept of a frame, it brings the frame along.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from .feed import ahead
from .labels import IGNORED
from .loop import Pace, Running, Stage
from .pictures import HEADS, Batch, batches, patches
from .precision import mixed
from .shape import CELLS, GRID, MERGE

PICTURES = "pocket_pictures"
_CELLS, _EMPTY = 6.0, 0.15  # weights of a head that tells of a cell, and of its class "nothing"
_PATCHES = CELLS * MERGE * MERGE


def _picture_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,  # noqa: ARG001  # the encoder passes it by name
    **_kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention inside each picture of a packed batch of equal pictures, [1, heads, n * patches, d]."""

    def apart(x: Tensor) -> Tensor:
        heads, total, d = x.shape[1:]
        return x[0].view(heads, total // _PATCHES, _PATCHES, d).transpose(0, 1)  # [n, heads, patches, d]

    seen = nn.functional.scaled_dot_product_attention(apart(query), apart(key), apart(value))
    return seen.permute(0, 2, 1, 3).flatten(0, 1)[None], None


AttentionInterface.register(PICTURES, _picture_attention)


class Eyes(nn.Module):
    """A vision tower over batches of pictures of one size."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        tower.config._attn_implementation = PICTURES  # noqa: SLF001  # the setter walks over submodules it lacks
        grid = torch.tensor([[1, GRID[0] * MERGE, GRID[1] * MERGE]])
        indices, weights = get_vision_interpolation_indices_and_weights(
            grid,
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=MERGE,
        )
        self._indices, self._weights = indices, weights
        self._positions = get_vision_position_ids(grid, MERGE)

    def forward(self, images: NDArray[np.uint8]) -> tuple[Tensor, list[Tensor]]:
        """uint8 [n, 96, 128, 3] to tokens [n, cells, hidden] and DeepStack features of the same shape."""
        n, device = len(images), next(self.tower.parameters()).device
        pixels = torch.from_numpy(patches(images)).to(device).float().div_(127.5).sub_(1.0)
        output = self.tower(
            pixels,
            grid_thw=None,
            return_dict=True,
            interp_indices=self._indices.to(device).repeat(n, 1),
            interp_weights=self._weights.to(device).repeat(n, 1),
            position_ids=self._positions.to(device).repeat(n, 1),
            cu_seqlens=torch.tensor([0, n * _PATCHES], dtype=torch.int32),
        )
        tokens = output.pooler_output.unflatten(0, (n, CELLS))
        return tokens, [features.unflatten(0, (n, CELLS)) for features in output.deepstack_features]


class Heads(nn.Module):
    """What each token tells, as logits side by side; thrown away after training."""

    def __init__(self, hidden: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, sum(self.sizes))

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return torch.split(self.out(self.norm(tokens)), self.sizes, dim=-1)


def targets(batch: Batch) -> Tensor:
    """int64 [n, cells, heads] in the order of HEADS."""
    whole = np.broadcast_to(batch.pictures[:, None], (*batch.cells.shape[:2], batch.pictures.shape[1]))
    return torch.from_numpy(np.concatenate((batch.cells, whole), axis=2))


def loss_and_hits(logits: Sequence[Tensor], wanted: Tensor) -> tuple[Tensor, dict[str, float]]:
    """
    Mean cross-entropy over heads, and each head's share of right tokens.

    The cells weigh most: what is where comes first, and what the picture shows follows from it. An empty cell counts
    little, as most are.
    """
    total = torch.zeros((), device=wanted.device)
    weights = 0.0
    hits = {}
    for index, (name, out) in enumerate(zip(HEADS, logits, strict=True)):
        flat, target = out.flatten(0, -2).float(), wanted[..., index].flatten()
        is_cell = name.startswith("cell")
        rare = None
        if is_cell:
            rare = torch.ones(flat.shape[-1], device=flat.device)
            rare[0] = _EMPTY
        weight = _CELLS if is_cell else 1.0
        total = total + weight * nn.functional.cross_entropy(flat, target, weight=rare, ignore_index=IGNORED)
        weights += weight
        counted = target > 0 if is_cell else target != IGNORED
        if counted.any():
            hits[name] = float((flat.argmax(-1)[counted] == target[counted]).float().mean())
    return total / weights, hits


def train(
    tower: Any,
    folder: Path,
    *,
    pace: Pace,
    seed: int,
    size: int = 32,
    limit_s: float = math.inf,
    tell: Callable[[float, str], None],
) -> float:
    """
    Train the tower in place, from where `folder` left off; leaves the running mean of its weights in it.

    limit_s: of this stretch. tell: called with the share done and a phrase. Returns what is left of the stretch in
    seconds, 0 where it ended first.
    """
    device = next(tower.parameters()).device
    eyes, heads = Eyes(tower), Heads(tower.config.out_hidden_size, list(HEADS.values())).to(device)
    deep = nn.ModuleList(Heads(tower.config.out_hidden_size, list(HEADS.values())) for _ in tower.deepstack_merger_list)
    stage = Stage(folder, "eyes", {"tower": tower, "heads": heads, "deep": deep.to(device)}, pace)
    running = Running()
    began, before = time.monotonic(), stage.spent_s
    with closing(ahead(batches(seed + 1000 * stage.steps, size=size))) as feed:
        for share in stage.steps_left(limit_s=limit_s):
            batch = next(feed)
            wanted = targets(batch).to(device)
            with mixed(device):
                tokens, features = eyes(batch.images)
                loss, hits = loss_and_hits(heads(tokens), wanted)
                for part, head in zip(features, deep, strict=True):
                    loss = loss + 0.3 * loss_and_hits(head(part), wanted)[0]
            stage.step(loss)
            running.add({"loss": float(loss.detach()), **hits})
            if stage.steps % 50 == 0:
                stage.note(**running.rounded())
                tell(share, f"eyes: loss {running.values['loss']:.3f}, cells {running.values['cell_kind']:.3f}")
            if stage.steps % 250 == 0:
                stage.save()
    if stage.spent_s > before:
        stage.save()
    tower.load_state_dict(stage.mean("tower"))
    over = stage.pace.done(stage.spent_s, stage.steps) >= 1.0
    return max(0.0, limit_s - (time.monotonic() - began)) if over else 0.0
