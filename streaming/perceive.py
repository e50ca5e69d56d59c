"""
Frames into memories: pixels, vision encoder, drop, prefill, each in one batch over all cameras of a step.

One host synchronisation: the keep masks. What follows from them (which rows, which ids) is worked out on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory.errors import PoolExhausted
from memory.types import Kind, TokenMeta

from .drop import Drop
from .drop.base import Cells
from .models.base import Chunk, Encoded, Layout, VisionLanguageModel
from .models.patches import PatchGrid, VisionShape, grid, patchify
from .types import Frame, FrameResult
from .view import View


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame on its way into a memory."""

    view: View
    frame: Frame
    time_s: float
    patches: PatchGrid = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What the drop rule said: mask bool [n] and change float32 [n] on the host, the next reference on the device."""

    mask: NDArray[np.bool_]
    change: NDArray[np.float32]
    reference: Tensor = field(repr=False)


class Perception:
    """
    Takes the frames of a step into their cameras' memories.

    repeat: how often one frame is repeated to fill a temporal patch (the encoder's temporal size), or 1 to wait for its
    neighbours. limit_ids: the cursor at which ids are rebased. free_slab(view): ends forks that hold the camera's rows.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        shape: VisionShape,
        repeat: int,
        low: float,
        limit_ids: int,
        free_slab: Callable[[View], None],
    ) -> None:
        self._model = model
        self._shape = shape
        self._repeat = repeat
        self._low = low
        self._limit_ids = limit_ids
        self._free_slab = free_slab

    def take(
        self, frames: Sequence[Frame], views: dict[str, View]
    ) -> tuple[tuple[FrameResult, ...], tuple[tuple[str, str], ...]]:
        """
        Results, and (camera, reason) of frames that could not be used; a failed frame leaves its memory as it was.

        Mutates the cameras' memories, synchronises once.
        """
        results: list[FrameResult] = []
        failed: list[tuple[str, str]] = []
        seen: list[_Seen] = []
        for frame in frames:
            view = views.get(frame.camera)
            if view is None:
                failed.append((frame.camera, f"no camera '{frame.camera}' is open"))
                continue
            try:
                ready = self._look(view, frame)
            except ValueError as error:
                failed.append((frame.camera, str(error)))
                continue
            if ready is None:
                results.append(_waits(view, frame))
            else:
                seen.append(ready)
        if seen:
            encoded = self._model.encode([item.patches for item in seen])
            results += self._prefill(seen, encoded, self._decide(seen, encoded))
        return tuple(results), tuple(failed)

    def _look(self, view: View, frame: Frame) -> _Seen | None:
        """The frame's patches with its temporal neighbours, or None while those are awaited. Raises: ValueError."""
        grid(frame.image, self._shape)
        group = [*view.waiting, frame]
        if len(group) * self._repeat < self._shape.temporal:
            view.waiting.append(frame)
            return None
        view.waiting.clear()
        patches = patchify([one.image for one in group for _ in range(self._repeat)], self._shape)
        origin_ns = group[0].pts_ns if view.origin_ns is None else view.origin_ns
        # the published timestamp of a temporal patch: the mean of its first and last picture
        time_s = max(0.0, ((group[0].pts_ns + group[-1].pts_ns) / 2 - origin_ns) / 1e9)
        view.origin_ns = origin_ns
        return _Seen(view, frame, time_s, patches)

    def _decide(self, seen: Sequence[_Seen], encoded: Sequence[Encoded]) -> list[_Decided]:
        """Every drop rule once, over all its cameras; one transfer brings all masks over."""
        decisions: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        rules: dict[Drop, list[int]] = {}
        for i, item in enumerate(seen):
            rules.setdefault(item.view.drop, []).append(i)
        for rule, members in rules.items():
            now = torch.cat([encoded[i].embeds for i in members])
            references = [seen[i].view.reference_for(encoded[i].hw) for i in members]
            reference = torch.cat(
                [
                    torch.zeros_like(encoded[i].embeds) if known is None else known
                    for i, known in zip(members, references, strict=True)
                ]
            )
            kept = rule.keep(Cells(now, reference, tuple(encoded[i].hw for i in members)))
            counts = [encoded[i].embeds.shape[0] for i in members]
            parts = tuple(torch.split(part, counts) for part in (kept.mask, kept.change, kept.reference))
            decisions |= {i: (parts[0][at], parts[1][at], parts[2][at]) for at, i in enumerate(members)}
        order = [decisions[i] for i in range(len(seen))]
        masks = torch.cat([mask.float() for mask, _, _ in order])
        host = torch.stack((masks, torch.cat([change.float() for _, change, _ in order]))).cpu().numpy()
        stops = np.cumsum([mask.shape[0] for mask, _, _ in order])
        return [
            _Decided(mask > 0, change, reference.clone())  # a clone, so that one camera does not hold the others' batch
            for mask, change, (_, _, reference) in zip(
                np.split(host[0], stops[:-1]), np.split(host[1], stops[:-1]), order, strict=True
            )
        ]

    def _prefill(
        self, seen: Sequence[_Seen], encoded: Sequence[Encoded], decided: Sequence[_Decided]
    ) -> list[FrameResult]:
        """Write what is kept into the memories, in one forward."""
        chunks: list[Chunk] = []
        written: list[tuple[_Seen, TokenMeta, int]] = []
        for item, code, said in zip(seen, encoded, decided, strict=True):
            kv = item.view.kv
            if kv.cursor >= self._limit_ids:
                self._rewrite(item.view, partial(item.view.rebase, self._limit_ids // 2, self._model.inv_freq))
            layout = self._model.layout(code.hw, time_s=item.time_s, start=kv.cursor)
            if not said.mask.any():  # a frame without a kept token leaves no trace, its time neither
                kv.cursor = layout.end
                continue
            rows = ~layout.visual
            rows[layout.visual] = said.mask
            self._rewrite(item.view, partial(item.view.make_room, int(rows.sum()), low=self._low))
            chunks.append(self._chunk(item.view, code, layout, rows, said.mask))
            written.append((item, _meta(item.frame, layout, rows, said), layout.end))
        if chunks:
            self._model.forward(chunks)
        for item, meta, end in written:
            item.view.kv.commit(meta, cursor=end)
        for item, code, said in zip(seen, encoded, decided, strict=True):
            _remember(item.view, item.frame, code, said)
        return [_result(item, code, said) for item, code, said in zip(seen, encoded, decided, strict=True)]

    def _chunk(
        self, view: View, code: Encoded, layout: Layout, rows: NDArray[np.bool_], mask: NDArray[np.bool_]
    ) -> Chunk:
        device = code.embeds.device
        kept = torch.from_numpy(np.flatnonzero(mask)).to(device)
        visual = np.flatnonzero(layout.visual[rows])
        embeds = self._model.embed(torch.from_numpy(layout.ids[rows]).to(device)).clone()
        embeds[torch.from_numpy(visual).to(device)] = code.embeds[kept].to(embeds.dtype)
        return Chunk(
            embeds=embeds,
            pos=layout.pos[:, rows],
            target=view.kv.tail(),
            blocks=(int(rows.sum()),),
            visual=visual,
            deepstack=tuple(features[kept] for features in code.deepstack),
        )

    def _rewrite(self, view: View, action: Callable[[], None]) -> None:
        """Run an action that may rewrite rows; where forks hold them and no slab is spare, those forks end first."""
        try:
            action()
        except PoolExhausted:
            self._free_slab(view)
            action()


def shape_within(shape: VisionShape, max_pixels: int) -> VisionShape:
    """The family's bounds, with an area of at most `max_pixels` (at least one token)."""
    largest = max(shape.cell_px**2, min(shape.max_pixels, max_pixels))
    return replace(shape, max_pixels=largest, min_pixels=min(shape.min_pixels, largest))


def _meta(frame: Frame, layout: Layout, rows: NDArray[np.bool_], said: _Decided) -> TokenMeta:
    visual = layout.visual[rows]
    score = np.zeros(len(visual), np.float32)
    score[visual] = said.change[said.mask]
    return TokenMeta(
        frame=np.full(len(visual), frame.seq, np.int64),
        t_ns=np.full(len(visual), frame.pts_ns, np.int64),
        pos=layout.pos[:, rows],
        kind=np.where(visual, np.uint8(Kind.VISION), np.uint8(Kind.TEXT)),
        score=score,
    )


def _remember(view: View, frame: Frame, code: Encoded, said: _Decided) -> None:
    """What the next frame of this camera needs to know of this one."""
    if bool(said.mask.all()):
        view.key = frame.seq
        view.reference = (said.reference, code.hw)
    elif view.reference is not None:
        view.reference = (said.reference, code.hw)
    view.newest = (frame.seq, frame.pts_ns)


def _result(item: _Seen, code: Encoded, said: _Decided) -> FrameResult:
    return FrameResult(
        camera=item.frame.camera,
        seq=item.frame.seq,
        pts_ns=item.frame.pts_ns,
        tokens_in=len(said.mask),
        tokens_kept=int(said.mask.sum()),
        hw=code.hw,
        kept=np.packbits(said.mask).tobytes(),
        memory_tokens=len(item.view.kv),
        memory_bytes=item.view.kv.slab_bytes,
    )


def _waits(view: View, frame: Frame) -> FrameResult:
    return FrameResult(
        camera=frame.camera,
        seq=frame.seq,
        pts_ns=frame.pts_ns,
        tokens_in=0,
        tokens_kept=0,
        hw=(0, 0),
        kept=b"",
        memory_tokens=len(view.kv),
        memory_bytes=view.kv.slab_bytes,
        paired=False,
    )
