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

from .drop.base import Grid
from .glance import glance
from .models.base import Chunk, Encoded, Layout, VisionLanguageModel
from .models.canvas import Canvas
from .models.patches import PatchGrid, VisionShape, grid, patchify
from .reuse import Reuse
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


@dataclass(frozen=True, slots=True)
class _New:
    """What a frame leaves in its memory. rows: bool [n] of the layout, the tokens to be written."""

    item: _Seen
    code: Encoded
    said: Decided
    layout: Layout
    rows: NDArray[np.bool_]


class Perception:
    """
    Takes the frames of a step into their cameras' memories.

    repeat: how often one frame is repeated to fill a temporal patch (the encoder's temporal size), or 1 to wait for its
    neighbours. limit_ids: the cursor at which ids are rebased. free_slab(view): ends forks that hold the camera's rows.
    reuse: what of a picture is encoded again, for cameras that have a canvas.
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
        reuse: Reuse,
    ) -> None:
        self._model = model
        self._shape = shape
        self._repeat = repeat
        self._low = low
        self._limit_ids = limit_ids
        self._free_slab = free_slab
        self._reuse = reuse

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
            grids = [self._patches(item, through) for item, through in opened]
            encoded = self._encode([item.view for item, _ in opened], grids)
            decided = decide(looks, passed, encoded)
            self._prefill([item for item, _ in opened], encoded, decided)
            for (item, through), grid_, said in zip(opened, grids, decided, strict=True):
                tokens = len(said.mask) if grid_.cells is None else len(grid_.cells)
                results.append(_result(item, said.mask, tokens_encoded=tokens, key=through.due))
        return tuple(results), tuple(failed)

    def _look(self, view: View, frame: Frame) -> _Seen | None:
        """The frame with its temporal neighbours, or None while those are awaited. Raises: ValueError."""
        hw = grid(frame.image, self._shape)
        self._refuse_too_large(view, frame, hw)
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

    def _refuse_too_large(self, view: View, frame: Frame, hw: Grid) -> None:
        """A narrow picture, rounded up to one cell, has more cells than its area allows. Raises: ValueError."""
        needed = hw[0] * hw[1] + self._model.frame_overhead()
        if view.kv.budget - view.kv.pinned < needed:
            height, width = frame.image.shape[:2]
            raise ValueError(
                f"a picture of {width}x{height} takes up to {needed} tokens beside the prompt's {view.kv.pinned}, "
                f"the camera's memory holds {view.kv.budget}; crop it, or raise the camera's budget_tokens to "
                f"{needed + view.kv.pinned}"
            )

    def _gate(self, seen: Sequence[_Seen], results: list[FrameResult]) -> list[tuple[_Seen, Passed]]:
        """The frames to encode; the others are done with here."""
        opened = []
        for item, said in zip(seen, gate([item.look for item in seen], self._model.kv.device), strict=True):
            if said.opened:
                opened.append((item, said))
            else:
                self._pass_by(item)
                results.append(_result(item, np.zeros(len(item.look.luma), np.bool_)))
        return opened

    def _pass_by(self, item: _Seen) -> None:
        """A frame without a kept token leaves no trace but the ids it would have had: its time passes."""
        item.view.kv.cursor = self._layout(item).end
        item.view.newest = (item.frame.seq, item.frame.pts_ns)

    def _patches(self, item: _Seen, through: Passed) -> PatchGrid:
        """What of the frame goes through the encoder."""
        view, hw, cells = item.view, item.look.hw, None
        if view.canvas is not None and view.canvas.hw == hw and not through.whole and through.changed is not None:
            cells = self._reuse.cells(through.changed, hw, self._model.windows(hw), since=view.repainted)
        view.repainted = 0.0 if cells is None else view.repainted + len(cells) / (hw[0] * hw[1])
        return patchify([one.image for one in item.group], self._shape, cells=cells)

    def _encode(self, views: Sequence[View], grids: Sequence[PatchGrid]) -> list[Encoded]:
        """
        In order. The encoder sees pictures of one size side by side, so that its attention need not gather them; those
        without a canvas that they fit on take a call of their own.
        """
        found: dict[int, Encoded] = {}
        fitting = [self._fitting(view, grid) for view, grid in zip(views, grids, strict=True)]
        order = sorted(range(len(grids)), key=lambda i: grids[i].hw)
        for with_canvas in (False, True):
            chosen = [i for i in order if (fitting[i] is not None) == with_canvas]
            if chosen:
                canvases = [canvas for i in chosen if (canvas := fitting[i]) is not None]
                found |= zip(chosen, self._model.encode([grids[i] for i in chosen], canvases), strict=True)
        return [found[i] for i in range(len(grids))]

    def _fitting(self, view: View, grid: PatchGrid) -> Canvas | None:
        canvas = view.canvas
        return canvas if canvas is not None and canvas.fits(grid.hw, self._shape.merge) else None

    def _layout(self, item: _Seen) -> Layout:
        """Where the frame's tokens go; may rebase the memory's ids before."""
        view = item.view
        if view.kv.cursor >= self._limit_ids:
            self._rewrite(view, self._rebase(view))
        return self._model.layout(item.look.hw, time_s=view.seconds(item.at_ns), start=view.kv.cursor)

    def _prefill(self, seen: Sequence[_Seen], encoded: Sequence[Encoded], decided: Sequence[Decided]) -> None:
        """Write what is kept into the memories, in one forward."""
        new: list[_New] = []
        for item, code, said in zip(seen, encoded, decided, strict=True):
            if not said.mask.any():
                self._pass_by(item)
                continue
            layout = self._layout(item)
            rows = ~layout.visual
            rows[layout.visual] = said.mask
            self._rewrite(item.view, partial(item.view.make_room, int(rows.sum()), low=self._low))
            new.append(_New(item, code, said, layout, rows))
        if new:
            self._model.forward(self._chunks(new))
        for each in new:
            meta, item = _meta(each.item.frame, each.layout, each.rows, each.said), each.item
            item.view.kv.commit(meta, cursor=each.layout.end)
            item.view.newest = (item.frame.seq, item.frame.pts_ns)
            if bool(np.any(meta.kind == Kind.KEY)):
                item.view.saw_whole(item.look.hw, item.frame.seq, item.frame.pts_ns)

    def _chunks(self, new: Sequence[_New]) -> list[Chunk]:
        """The rows of all cameras, each gathered with the others: a few operations, however many cameras there are."""
        visual = [np.flatnonzero(each.layout.visual[each.rows]) for each in new]
        sizes = [int(each.rows.sum()) for each in new]
        starts = np.cumsum(sizes) - sizes
        seen = torch.cat([each.code.embeds for each in new])
        ids, kept, at = (
            torch.from_numpy(numbers).to(seen.device, non_blocking=True)
            for numbers in (
                np.concatenate([each.layout.ids[each.rows] for each in new]),
                np.flatnonzero(np.concatenate([each.said.mask for each in new])),
                np.concatenate([start + rows for start, rows in zip(starts, visual, strict=True)]),
            )
        )
        text = self._model.embed(ids)
        embeds = torch.split(text.index_copy(0, at, seen[kept].to(text.dtype)), sizes)
        features = [
            torch.split(torch.cat(layer)[kept], [len(rows) for rows in visual])
            for layer in zip(*(each.code.deepstack for each in new), strict=True)
        ]
        return [
            Chunk(
                embeds=embeds[i],
                pos=each.layout.pos[:, each.rows],
                target=each.item.view.kv.tail(),
                blocks=(sizes[i],),
                visual=visual[i],
                deepstack=tuple(layer[i] for layer in features),
            )
            for i, each in enumerate(new)
        ]

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


def _result(item: _Seen, mask: NDArray[np.bool_], *, tokens_encoded: int = 0, key: bool = False) -> FrameResult:
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
        encoded=tokens_encoded > 0,
        key=key,
        tokens_encoded=tokens_encoded,
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
