"""
Frames into memories: gate, vision encoder, drop, prefill, each in one batch over all cameras of a step.

Two host synchronisations: which frames the gate lets through, and the keep masks. What follows from them (which rows,
which ids) is worked out on the host. A frame that the gate holds back costs a glance: it is neither scaled for the
encoder nor encoded, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from memory.errors import PoolExhausted
from memory.types import Kind, TokenMeta

from .glance import glance
from .models.base import Chunk, Encoded, Layout, VisionLanguageModel
from .models.patches import PatchGrid, VisionShape, grid, patchify
from .sieve import Decided, Look, Passed, decide, gate
from .types import Frame, FrameResult
from .view import View


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame on its way into a memory, with its temporal neighbours: group, oldest first, the frame itself last."""

    view: View
    group: tuple[Frame, ...]
    at_ns: int
    look: Look = field(repr=False)

    @property
    def frame(self) -> Frame:
        return self.group[-1]


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

        Mutates the cameras' memories, synchronises at most twice.
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
        opened = self._gate(seen, results)
        if opened:
            looks, passed = [item.look for item, _ in opened], [said for _, said in opened]
            encoded = self._model.encode([self._patches(item) for item, _ in opened])
            decided = decide(looks, passed, encoded)
            self._prefill([item for item, _ in opened], encoded, decided)
            for (item, through), said in zip(opened, decided, strict=True):
                results.append(_result(item, said.mask, encoded=True, key=through.due))
        return tuple(results), tuple(failed)

    def _look(self, view: View, frame: Frame) -> _Seen | None:
        """The frame with its temporal neighbours, or None while those are awaited. Raises: ValueError."""
        hw = grid(frame.image, self._shape)
        group = (*view.waiting, frame)
        if len(group) * self._repeat < self._shape.temporal:
            view.waiting.append(frame)
            return None
        view.waiting.clear()
        # the published timestamp of a temporal patch: the mean of its first and last picture
        at_ns = (group[0].pts_ns + group[-1].pts_ns) // 2
        if view.origin_ns is None:
            view.origin_ns = group[0].pts_ns
        pictures = [] if view.drop.pixels is None else [one.image for one in group]
        return _Seen(view, group, at_ns, Look(view, hw, glance(pictures, hw), frame.pts_ns))

    def _gate(self, seen: Sequence[_Seen], results: list[FrameResult]) -> list[tuple[_Seen, Passed]]:
        """The frames to encode; the others are done with here."""
        opened = []
        for item, said in zip(seen, gate([item.look for item in seen], self._model.kv.device), strict=True):
            if said.opened:
                opened.append((item, said))
            else:
                self._pass_by(item)
                results.append(_result(item, np.zeros(len(item.look.luma), np.bool_), encoded=False))
        return opened

    def _pass_by(self, item: _Seen) -> None:
        """A frame without a kept token leaves no trace but the ids it would have had: its time passes."""
        item.view.kv.cursor = self._layout(item).end
        item.view.newest = (item.frame.seq, item.frame.pts_ns)

    def _patches(self, item: _Seen) -> PatchGrid:
        return patchify([one.image for one in item.group for _ in range(self._repeat)], self._shape)

    def _layout(self, item: _Seen) -> Layout:
        """Where the frame's tokens go; may rebase the memory's ids before."""
        view = item.view
        if view.kv.cursor >= self._limit_ids:
            self._rewrite(view, self._rebase(view))
        return self._model.layout(item.look.hw, time_s=view.seconds(item.at_ns), start=view.kv.cursor)

    def _prefill(self, seen: Sequence[_Seen], encoded: Sequence[Encoded], decided: Sequence[Decided]) -> None:
        """Write what is kept into the memories, in one forward."""
        chunks: list[Chunk] = []
        written: list[tuple[_Seen, TokenMeta, int]] = []
        for item, code, said in zip(seen, encoded, decided, strict=True):
            if not said.mask.any():
                self._pass_by(item)
                continue
            layout = self._layout(item)
            rows = ~layout.visual
            rows[layout.visual] = said.mask
            self._rewrite(item.view, partial(item.view.make_room, int(rows.sum()), low=self._low))
            chunks.append(self._chunk(item.view, code, layout, rows, said.mask))
            written.append((item, _meta(item.frame, layout, rows, said), layout.end))
        if chunks:
            self._model.forward(chunks)
        for item, meta, end in written:
            item.view.kv.commit(meta, cursor=end)
            item.view.newest = (item.frame.seq, item.frame.pts_ns)
            if bool(np.any(meta.kind == Kind.KEY)):
                item.view.saw_whole(item.look.hw, item.frame.seq, item.frame.pts_ns)

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

    def _rebase(self, view: View) -> Callable[[], None]:
        model = self._model
        return partial(view.rebase, self._limit_ids // 2, model.rope, ids_per_second=model.ids_per_second)

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


def _meta(frame: Frame, layout: Layout, rows: NDArray[np.bool_], said: Decided) -> TokenMeta:
    visual = layout.visual[rows]
    score = np.zeros(len(visual), np.float32)
    score[visual] = said.change[said.mask]
    cell = np.full(len(visual), -1, np.int32)
    cell[visual] = np.flatnonzero(said.mask)
    seen = Kind.KEY if bool(said.mask.all()) else Kind.VISION
    return TokenMeta(
        frame=np.full(len(visual), frame.seq, np.int64),
        t_ns=np.full(len(visual), frame.pts_ns, np.int64),
        pos=layout.pos[:, rows],
        kind=np.where(visual, np.uint8(seen), np.uint8(Kind.TEXT)),
        score=score,
        cell=cell,
        weight=np.ones(len(visual), np.float32),
    )


def _result(item: _Seen, mask: NDArray[np.bool_], *, encoded: bool, key: bool = False) -> FrameResult:
    return FrameResult(
        camera=item.frame.camera,
        seq=item.frame.seq,
        pts_ns=item.frame.pts_ns,
        tokens_in=len(mask),
        tokens_kept=int(mask.sum()),
        hw=item.look.hw,
        kept=np.packbits(mask).tobytes(),
        memory_tokens=len(item.view.kv),
        memory_bytes=item.view.kv.slab_bytes,
        encoded=encoded,
        key=key,
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
        encoded=False,
    )
