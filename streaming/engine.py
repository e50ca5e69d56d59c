"""
One accelerator's engine: memories of cameras, and a step that runs everything due in a few batches.

    frames ─▶ encode (one call) ─▶ drop (one operation) ─▶ prefill (one forward)      Perception
    checks ─▶ all rules behind their memories (one forward)                            Checks
    asks   ─▶ forks: questions (one forward), then a forward per decoded token         Answers

A step synchronises with the device twice: for the keep masks, and at the end for every number the host must know.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from memory import policies
from memory.archive import Archive, Shelf
from memory.errors import IntegrityError, PoolExhausted
from memory.kernels.flash import in_pages
from memory.kv import KV
from memory.policies import Policy
from memory.pool import SlabPool
from memory.types import KVShape, TokenMeta

from . import drop
from .answers import Answers
from .checks import Checks, due
from .decode import Decoding
from .errors import LimitError, ModelError, StreamingError, UnknownCamera
from .models.base import Chunk, VisionLanguageModel, text_ids
from .models.canvas import Canvas
from .perceive import Perception, shape_within
from .settings import EngineSettings, cameras_within, recall_rows, slab_rows
from .threads import ThreadChoice, Threaded
from .types import CameraSettings, StepPlan, StepResult
from .view import View

__all__ = ["Engine", "EngineSettings", "MemoryView"]


@dataclass(frozen=True, slots=True)
class MemoryView:
    """
    How full a camera's memory is.

    bytes: what its slab takes on the device. t0_ns, t1_ns: the oldest and newest picture held, Unix epoch nanoseconds.
    archived_tokens, archived_bytes: what it holds in host memory besides.
    """

    tokens: int
    budget_tokens: int
    bytes: int
    archived_tokens: int
    archived_bytes: int
    t0_ns: int | None
    t1_ns: int | None


class Engine:
    """Synchronous and owned by one thread; every call may block on the accelerator."""

    def __init__(self, model: VisionLanguageModel, *, settings: EngineSettings | None = None) -> None:
        """
        Allocates the KV pools, and records decoding where the device can; blocks for that long.

        Raises: ModelError: too little device memory. StreamingError: the bounds in bytes hold no camera or no span.
        """
        self._settings = settings = settings or EngineSettings()
        self._model = model = _on_threads(model, settings.threads)
        self._device = model.kv.device
        self._shape = shape_within(model.vision, settings.max_pixels)
        self._rope = model.rope
        self._max_cameras = cameras_within(settings, model.kv.row_bytes)
        slabs, rows = self._max_cameras + settings.spare_slabs, slab_rows(settings)
        self._pool = self._allocated(
            model.kv,
            slabs=slabs,
            rows=rows,
            what=f"the memory of {self._max_cameras} cameras",
            advice="engine.max_cameras or camera.budget_tokens",
        )
        self._archive = self._open_archive()
        self._canvases = self._open_canvases()
        limit_ids = min(settings.rebase_at, model.max_positions * 3 // 4)
        self._views: dict[str, View] = {}
        self._perception = Perception(
            model,
            shape=self._shape,
            repeat=self._shape.temporal if settings.pairing == "repeat" else 1,
            low=settings.low_watermark,
            limit_ids=limit_ids,
            free_slab=self._free_slab,
            reuse=settings.reuse,
        )
        self._checks = Checks(model, device=self._device, max_tokens=settings.max_check_tokens)
        self._answers = Answers(
            model,
            prefixes=self._pool,
            device=self._device,
            max_asks=settings.max_asks,
            max_question=settings.max_question_tokens,
            max_answer=settings.max_answer_tokens,
            max_notes=settings.max_note_tokens,
            max_recall=recall_rows(settings),
            reach=limit_ids,
            graphs=settings.graphs,
        )

    @property
    def model_name(self) -> str:
        return self._model.name

    @property
    def decoding(self) -> Decoding:
        """How answers are decoded, and why."""
        return self._answers.decoding

    @property
    def cameras(self) -> tuple[str, ...]:
        """The open cameras."""
        return tuple(self._views)

    @property
    def max_cameras(self) -> int:
        """How many cameras there is memory for."""
        return self._max_cameras

    @property
    def camera_bytes(self) -> int:
        """What each camera's memory takes on the device."""
        return self._pool.slab_bytes

    @property
    def max_frame_tokens(self) -> int:
        """The cells of the largest frame that is looked at."""
        return self._shape.max_tokens

    @property
    def min_budget_tokens(self) -> int:
        """The smallest budget: the prompt and one whole frame of the largest size."""
        return len(self._model.dialogue.head) + self._shape.max_tokens + self._model.frame_overhead()

    @torch.inference_mode()
    def open(self, settings: CameraSettings) -> None:
        """
        Give a camera its memory and read the prompt into it.

        Raises: LimitError: no slab left, or a budget out of bounds. StreamingError: unknown drop rule or policy, or
        the camera is open already.
        """
        self._admit(settings)
        try:
            stages = drop.stages(settings.drop, self._settings.drop_options)
            policy = policies.create(settings.policy, **self._settings.policy_options.get(settings.policy, {}))
        except ValueError as error:
            raise StreamingError(str(error)) from error
        if policy.archives and self._archive is None:
            raise StreamingError(f"policy '{policy.kind}' sends old tokens to host memory; set archive_bytes")
        budget = self._budget(settings)
        try:
            kv = KV(self._pool, budget=budget, rope=self._rope)
        except PoolExhausted:  # questions hold what cameras have moved away from
            self._answers.fail(
                "the memory it read was needed for another camera", where=lambda _, fork: not self._live(fork.slab)
            )
            kv = KV(self._pool, budget=budget, rope=self._rope)
        kv.shelf = self._shelf(settings, policy)
        self._prompt(kv)
        self._views[settings.camera] = View(settings, kv, stages, policy, canvas=self._canvas(stages))

    def close(self, camera: str) -> None:
        """Give the memory back and fail the camera's questions in the next step. Raises: UnknownCamera."""
        view = self._view(camera)
        self._answers.fail(f"camera '{camera}' was removed", where=lambda ask, _: ask.camera == camera)
        view.close()
        del self._views[camera]

    def forget(self, camera: str) -> None:
        """Forget everything seen, as after a long gap; running questions keep what they saw. Raises: UnknownCamera."""
        view = self._view(camera)
        try:
            view.forget()
        except PoolExhausted:
            self._free_slab(view)
            view.forget()

    @property
    def rows_taken(self) -> int:
        """Rows of all pools that somebody holds, in whole slabs and blocks; 0 once all is closed and answered."""
        archive = None if self._archive is None else self._archive.pool
        pools = (pool for pool in (self._pool, self._answers.suffixes, archive, self._canvases) if pool is not None)
        return sum(pool.used * pool.rows for pool in pools)

    def memory(self, camera: str) -> MemoryView:
        """How full the camera's memory is. Raises: UnknownCamera."""
        kv = self._view(camera).kv
        span = kv.span
        return MemoryView(
            tokens=len(kv),
            budget_tokens=kv.budget,
            bytes=kv.slab_bytes,
            archived_tokens=kv.shelf.rows if kv.shelf else 0,
            archived_bytes=kv.shelf.bytes if kv.shelf else 0,
            t0_ns=span.t0_ns if span else None,
            t1_ns=span.t1_ns if span else None,
        )

    @torch.inference_mode()
    def step(self, plan: StepPlan) -> StepResult:
        """
        Run a plan: cancel, frames, checks, start, advance.

        What is wrong with one frame or question is told in the result. Raises: ValueError: two frames or checks of one
        camera, or one question twice.
        """
        _refuse_doubles(plan)
        began = time.perf_counter()
        self._answers.cancel(plan.cancel)
        frames, failed = self._perception.take(plan.frames, self._views)
        seen = {result.camera: result for result in frames}
        checks = [due(check, seen.get(check.camera)) for check in plan.checks]
        found = self._checks.start([check for check in checks if check is not None], self._views)
        advance = [ask for ask in plan.advance if ask not in {new.id for new in plan.start}]
        self._answers.start(plan.start, self._views)
        self._answers.advance(advance, plan.decode_tokens)
        numbers = _fetch(found + self._answers.fresh())
        count = sum(p.shape[0] for p in found)
        return StepResult(
            frames=frames,
            checks=self._checks.collect(numbers[:count]),
            answers=self._answers.collect([int(number) for number in numbers[count:]]),
            failed=failed,
            gpu_ms=1000 * (time.perf_counter() - began),
        )

    def check(self) -> None:
        """Prove that every slab is free or read by someone we know, and every budget kept. Raises: IntegrityError."""
        self._pool.check()
        self._answers.check()
        if self._archive is not None:
            self._archive.check()
        if self._canvases is not None:
            self._canvases.check()
            if self._canvases.used != sum(view.canvas is not None for view in self._views.values()):
                raise IntegrityError("a canvas has no camera")
        known = {view.kv.slab for view in self._views.values()}
        if len(known) != len(self._views):
            raise IntegrityError("two cameras share a slab")
        known |= {fork.slab for fork in self._answers.forks}
        if len(known) != self._pool.used:
            raise IntegrityError(f"{self._pool.used} slabs are taken, {len(known)} are known")
        for camera, view in self._views.items():
            if len(view.kv) > view.kv.budget:
                raise IntegrityError(f"camera '{camera}' holds {len(view.kv)} rows, its budget is {view.kv.budget}")

    def _admit(self, settings: CameraSettings) -> None:
        if settings.camera in self._views:
            raise StreamingError(f"camera '{settings.camera}' is open already")
        if len(self._views) >= self._max_cameras:
            bound = "max_cameras" if self._max_cameras == self._settings.max_cameras else "max_memory_bytes"
            raise LimitError(
                "cameras",
                asked=len(self._views) + 1,
                limit=self._max_cameras,
                advice=f"remove one, or raise {bound}",
            )
        if settings.budget_tokens > self._settings.max_budget_tokens:
            raise LimitError(
                "tokens of memory",
                asked=settings.budget_tokens,
                limit=self._settings.max_budget_tokens,
                advice="ask for less, or raise max_budget_tokens",
            )
        if (budget := self._budget(settings)) < self.min_budget_tokens:
            raise StreamingError(
                f"a memory of {budget} tokens is too small: the prompt and one frame take up to "
                f"{self.min_budget_tokens}; ask for more, or lower max_pixels"
            )

    def _budget(self, settings: CameraSettings) -> int:
        """The camera's bound in tokens."""
        if not settings.budget_bytes:
            return settings.budget_tokens
        return min(settings.budget_tokens, settings.budget_bytes // self._model.kv.row_bytes)

    def _open_archive(self) -> Archive | None:
        if not self._settings.archive_bytes:
            return None
        try:
            return Archive(self._model.kv, budget_bytes=self._settings.archive_bytes, rope=self._rope)
        except ValueError as error:
            raise StreamingError(f"archive_bytes: {error}") from error

    def _open_canvases(self) -> SlabPool | None:
        """Room for the pictures of as many cameras as there is memory for; None where they are encoded whole."""
        if not self._settings.canvas_bytes:
            return None
        rows = in_pages(self._shape.max_tokens * self._shape.merge**2)
        slab_bytes = rows * self._model.canvas.row_bytes
        slabs = min(self._max_cameras, self._settings.canvas_bytes // slab_bytes)
        if not slabs:
            raise StreamingError(
                f"canvas_bytes: {self._settings.canvas_bytes} hold no picture: one takes {slab_bytes} bytes; raise it, "
                "lower max_pixels, or set 0"
            )
        return self._allocated(
            self._model.canvas,
            slabs=slabs,
            rows=rows,
            what=f"the pictures of {slabs} cameras",
            advice="engine.canvas_mb",
        )

    def _allocated(self, shape: KVShape, *, slabs: int, rows: int, what: str, advice: str) -> SlabPool:
        """Raises: ModelError: what it is for, and what to lower, where the memory is not there."""
        try:
            return SlabPool(shape, slabs=slabs, rows=rows)
        except RuntimeError as error:  # what torch raises, on every device, for memory that is not there
            gib = slabs * rows * shape.row_bytes / 2**30
            raise ModelError(
                self._model.name, f"{gib:.1f} GiB for {what} are not free on {self._device}; lower {advice}"
            ) from error

    def _canvas(self, stages: drop.Stages) -> Canvas | None:
        """A canvas for a camera whose drop says which cells changed, while there is one."""
        if self._canvases is None or stages.pixels is None or not self._canvases.free:
            return None
        return Canvas(self._canvases)

    def _shelf(self, settings: CameraSettings, policy: Policy) -> Shelf | None:
        """The camera's part of the archive, where its policy uses one."""
        if self._archive is None or not policy.archives:
            return None
        return self._archive.shelf(budget_bytes=settings.archive_bytes or None)

    def _prompt(self, kv: KV) -> None:
        """Write the text before the first frame into an empty memory."""
        ids = torch.tensor(self._model.dialogue.head, device=self._device)
        pos = text_ids(0, len(ids))
        self._model.forward([Chunk(self._model.embed(ids), pos, kv.tail(), blocks=(len(ids),))])
        kv.commit(TokenMeta.prompt(pos), cursor=len(ids))

    def _view(self, camera: str) -> View:
        view = self._views.get(camera)
        if view is None:
            raise UnknownCamera(camera)
        return view

    def _live(self, slab: int) -> bool:
        return any(view.kv.slab == slab for view in self._views.values())

    def _free_slab(self, view: View) -> None:
        """End the questions that keep this camera from rewriting its rows, those first that nobody waits for."""
        slab = view.kv.slab
        self._answers.fail("the memory it read had to make room", where=lambda ask, _: ask.background)
        if self._pool.free or not view.kv.forked:
            return
        self._answers.fail("the memory it read had to make room; ask again", where=lambda _, fork: fork.slab == slab)


def _fetch(tensors: Sequence[torch.Tensor]) -> list[float]:
    """Bring all numbers of a step to the host at once; token ids are exact in float64."""
    if not tensors:
        return []
    numbers: list[float] = torch.cat([tensor.double() for tensor in tensors]).tolist()
    return numbers


def _on_threads(model: VisionLanguageModel, threads: int) -> VisionLanguageModel:
    """The model, run on so many CPU threads; 0: on as many as make it faster, up to torch's own number."""
    if threads:
        torch.set_num_threads(threads)
        return model
    most = torch.get_num_threads()
    if most == 1 or model.kv.device.type != "cpu":
        return model
    return cast("VisionLanguageModel", Threaded(model, ThreadChoice(most)))


def _refuse_doubles(plan: StepPlan) -> None:
    for what, names in (
        ("frame", [frame.camera for frame in plan.frames]),
        ("check", [check.camera for check in plan.checks]),
        ("question", [ask.id for ask in plan.start]),
    ):
        if len(set(names)) != len(names):
            raise ValueError(f"a plan holds one {what} of a kind, not two")
