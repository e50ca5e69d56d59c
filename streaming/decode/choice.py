"""Which way decoding runs here: recorded steps, where they can be recorded and are right; else ordinary forwards."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from memory.kernels import allowed
from memory.kv import KV, Fork, Target
from memory.pool import SlabPool
from memory.types import TokenMeta
from streaming.models import VisionLanguageModel
from streaming.models.base import Chunk, text_ids

from .graphs import Captured
from .static import StaticDecode, Step, Steps, sizes_up_to

Record = Callable[[StaticDecode], Step]

STEPS: Final = 3  # of a trial: lengths change between replays


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are decoded, and why, for people. steps: None where each is an ordinary forward."""

    steps: Steps | None
    reason: str

    def __str__(self) -> str:
        if self.steps is None:
            return f"eager ({self.reason})"
        return f"cuda graphs, buckets 1..{self.steps.sizes[-1]} ({self.reason})"


def choose(
    model: VisionLanguageModel,
    *,
    prefixes: SlabPool,
    suffixes: SlabPool,
    most: int,
    graphs: bool = True,
    record: Record | None = None,
) -> Decoding:
    """
    Record a step of every size up to `most` questions, and try each against ordinary forwards.

    Args:
        prefixes, suffixes: pools of the cameras and of the questions, all of whose slabs are free: some are written.
        graphs: False takes none, to compare with.
        record: in place of a CUDA graph, whatever the device.
    Blocks, synchronises, allocates device memory.
    """
    if not graphs:
        return Decoding(None, "as asked")
    if record is None:
        if model.kv.device.type != "cuda":
            return Decoding(None, model.kv.device.type)
        if model.decoder.forward.name != "lean":
            return Decoding(None, f"the {model.decoder.forward.name} decoder is not recorded")
        if not model.attention.kernel.reads_in_place(prefixes, suffixes):
            return Decoding(None, "attention copies rows here")
        shared = torch.cuda.graph_pool_handle()
        record = lambda static: Captured(static, pool=shared)  # noqa: E731
    steps: list[Step] = []
    worst = 0.0
    try:
        for size in sizes_up_to(most):
            step, off = _tried(model, size, record, prefixes=prefixes, suffixes=suffixes)
            if not off <= allowed(model.kv.dtype):  # nan too
                return Decoding(None, f"{size} recorded questions are {off:.0e} off")
            steps.append(step)
            worst = max(worst, off)
    except (RuntimeError, TypeError, NotImplementedError) as error:  # what torch raises for what it cannot record
        return Decoding(None, f"no step could be recorded: {str(error).strip().splitlines()[0]}")
    return Decoding(Steps(steps), f"{worst:.0e} off ordinary forwards on trial")


@torch.inference_mode()
def _tried(
    model: VisionLanguageModel, size: int, record: Record, *, prefixes: SlabPool, suffixes: SlabPool
) -> tuple[Step, float]:
    """
    A recorded step, and how far it is off ordinary forwards of the same tokens: the rows that it stores, and what the
    tokens that it tells fall short of the most likely ones.
    """
    kv = KV(prefixes, budget=prefixes.rows)
    forks: list[Fork] = []
    try:
        head, question = model.dialogue.head, model.dialogue.question("What is there?")
        model.forward([_text(model, head, 0, kv.tail())])
        kv.commit(TokenMeta.prompt(text_ids(0, len(head))), cursor=len(head))
        n = max(1, min(size, suffixes.free) - (size > 2))  # a seat stays free where there are several
        forks = [kv.fork(suffixes) for _ in range(n)]
        parts = [question[: 1 + number % len(question)] for number in range(n)]  # each of another length
        chunks = [_text(model, part, kv.cursor, fork) for part, fork in zip(parts, forks, strict=True)]
        tokens = model.forward(chunks).argmax(dim=-1)
        for fork, part in zip(forks, parts, strict=True):
            fork.commit(len(part))
        cursors = [kv.cursor + fork.own for fork in forks]
        static = StaticDecode(model, size, prefixes=prefixes, suffixes=suffixes)
        static.load(forks, cursors, tokens)
        step = record(static)
        said = [tokens, *Steps([step]).run(forks, cursors, tokens, count=STEPS)]
        got = [_rows(suffixes, fork, STEPS) for fork in forks]
        short = []
        for at, (newest, told) in enumerate(itertools.pairwise(said)):
            embeds = torch.split(model.embed(newest), 1)
            places = zip(embeds, cursors, forks, strict=True)
            logits = model.forward(
                [Chunk(one, text_ids(cursor + at, 1), fork, (1,), read=(0,)) for one, cursor, fork in places]
            )
            short.append(_short(logits, told) / math.sqrt(1 + model.kv.layers))
            for fork in forks:
                fork.commit(1)
        want = [_rows(suffixes, fork, STEPS, back=STEPS) for fork in forks]
        return step, float(torch.stack((_apart(got, want), *short)).max())  # nan where one is
    finally:
        for fork in forks:
            fork.close()
        kv.close()


def _rows(pool: SlabPool, fork: Fork, count: int, *, back: int = 0) -> Tensor:
    """`count` rows behind the fork's own, or `back` before their end: [2, layers, kv_heads, count, head_dim]."""
    own = fork.held[1]
    rows = slice(own.rows - back, own.rows - back + count)
    return torch.stack((pool.keys[own.slab, :, :, rows], pool.values[own.slab, :, :, rows])).float()


def _short(logits: Tensor, tokens: Tensor) -> Tensor:
    """By how much tokens [n] are not the likeliest of logits [n, vocabulary], the most, 1 being what any token is."""
    best = logits.amax(dim=-1)
    lost = best - logits.gather(1, tokens[:, None])[:, 0]
    return (lost / (best - logits.mean(dim=-1))).max()


def _apart(got: Sequence[Tensor], want: Sequence[Tensor]) -> Tensor:
    """The largest distance in a layer as a share of its length, per root of the layers up to there."""
    worst = []
    for a, b in zip(got, want, strict=True):
        for depth, (mine, other) in enumerate(zip(a.unbind(1), b.unbind(1), strict=True)):
            worst.append((mine - other).norm() / other.norm() / math.sqrt(1 + depth))
    return torch.stack(worst).max()


def _text(model: VisionLanguageModel, ids: Sequence[int], start: int, target: Target) -> Chunk:
    """These tokens from the id `start`, whose last row is read."""
    embeds = model.embed(torch.tensor(ids, device=model.kv.device))
    return Chunk(embeds, text_ids(start, len(ids)), target, (len(ids),), read=(len(ids) - 1,))
