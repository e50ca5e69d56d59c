"""
The worker process: cameras in, events out.

This file starts everything that runs in a worker: the accelerator thread, the event loop's tasks, and through the
roster two threads a camera. What they do stands in `cameras`, `stepper`, `session`, `outbox`.
"""

from __future__ import annotations

import asyncio
import io
import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack
import psutil
import structlog
import torch
from PIL import Image as Picture

from clients.messages import Event
from streaming import models
from streaming.clock import Clock, SystemClock
from streaming.engine import Engine, EngineSettings
from streaming.scheduler import Scheduler, SchedulerSettings
from streaming.types import Ask, Image

from .cameras import Roster, RosterSettings
from .errors import first_of
from .outbox import Outbox, OutboxSettings
from .session import Emission
from .stepper import Stepper
from .store import Evidence, Lease, Store, StoreError, reached

log = structlog.get_logger(__name__)

MS = 1_000_000
EVENTS_KEPT_WHEN_FULL = 1000  # a full store is thinned down to this, and no further


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """
    stats_s: period of `stats`, previews and counters.
    preview_px: the long side of a preview. jpeg_quality: of evidence.
    heartbeat_s: how often the worker says that it lives; it counts as gone after three of them.
    reconcile_s: how often specifications are read even when nothing has announced a change.
    ask_ttl_s: a question older than this when a worker finds it is answered `failed` instead of late.
    drain_s: what a stop may take to deliver what is queued.
    """

    model: str = "pocket"
    dtype: torch.dtype | None = None
    stats_s: float = 1.0
    preview_px: int = 480
    jpeg_quality: int = 85
    heartbeat_s: float = 2.0
    reconcile_s: float = 5.0
    ask_ttl_s: float = 60.0
    drain_s: float = 5.0
    evidence_max_bytes: int = 2 << 30
    evidence_max_age_s: float = 14 * 86400.0
    events_max: int = 1_000_000
    events_max_age_s: float = 30 * 86400.0
    engine: EngineSettings = field(default_factory=EngineSettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    roster: RosterSettings = field(default_factory=RosterSettings)
    outbox: OutboxSettings = field(default_factory=OutboxSettings)


async def run_worker(
    settings: WorkerSettings,
    *,
    store_url: str,
    data_dir: Path,
    device: str = "cpu",
    slot: str = "w0",
    stop: asyncio.Event,
    clock: Clock | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> None:
    """
    Run one worker until `stop` is set, then drain.

    Args:
        device: "cpu", "cuda:0", …
        slot: this worker's name in the store; a restarted worker of the same name takes its cameras back at once.
        progress: told about model loading, as (what, share 0..1).
    Raises: StreamingError: the model cannot be loaded; StoreError: the store is unusable (not merely away).
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="accelerator")
    loop = asyncio.get_running_loop()
    try:
        async with reached(store_url, stop, owner=slot) as store:  # before the model, which may take minutes
            if store is None:
                return
            model = await loop.run_in_executor(
                executor,
                lambda: models.load(
                    settings.model,
                    device=device,
                    dtype=settings.dtype,
                    cache_dir=data_dir / "models",
                    progress=progress,
                ),
            )
            if remark := models.remark(settings.model):
                log.warning("model.limited", model=settings.model, remark=remark)
            log.info("model.computes", attention=str(model.attention), products=str(model.products))
            engine = await loop.run_in_executor(executor, lambda: Engine(model, settings=settings.engine))
            log.info(
                "engine.ready",
                model=settings.model,
                attention=str(model.attention),
                decoder=str(model.decoder),
                decode=str(engine.decoding),
            )
            worker = Worker(
                settings,
                store,
                engine,
                executor,
                data_dir=data_dir,
                device=device,
                slot=slot,
                clock=clock or SystemClock(),
            )
            await worker.run(stop)
    except BaseExceptionGroup as group:  # what ended one of the tasks
        failure = first_of(group)
        if failure is None:
            raise
        raise failure from None
    finally:
        executor.shutdown(wait=True)


class Worker:
    """The parts of one worker, wired; `run` starts and stops them."""

    def __init__(
        self,
        settings: WorkerSettings,
        store: Store,
        engine: Engine,
        executor: ThreadPoolExecutor,
        *,
        data_dir: Path,
        device: str,
        slot: str,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._device = device
        self._slot = slot
        self._clock = clock
        self._model = settings.model
        self._lossy: deque[bytes] = deque(maxlen=4096)
        self._lossy_filled = asyncio.Event()
        self._fenced: asyncio.Queue[Lease] = asyncio.Queue(maxsize=1024)
        self._previewed: dict[str, int] = {}
        self._evidence = Evidence(
            data_dir / "evidence", max_bytes=settings.evidence_max_bytes, max_age_s=settings.evidence_max_age_s
        )
        self._outbox = Outbox(
            store,
            settings=settings.outbox,
            save_evidence=self._save_evidence,
            on_delivered=self._on_delivered,
            on_fenced=self._on_fenced,
            make_room=self._make_room,
        )
        most = min(settings.scheduler.max_running, settings.engine.max_asks)
        self._scheduler = Scheduler(replace(settings.scheduler, max_running=most))
        self._roster = Roster(
            store,
            engine,
            self._outbox,
            worker=slot,
            settings=settings.roster,
            model=settings.model,
            executor=executor,
            on_frame=self._on_frame,
            on_gone=self._on_gone,
            new_id=new_id,
            clock=clock,
            cost=lambda: self._stepper.cost.cost,
        )
        self._stepper = Stepper(
            engine,
            self._scheduler,
            self._roster,
            executor=executor,
            publish=self._publish,
            new_id=new_id,
            clock=clock,
            admission=settings.roster.admission,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`; then stop the cameras, finish the step in flight, deliver what is queued, let go."""
        try:
            async with asyncio.TaskGroup() as group:
                newest_change = await self._first_contact()
                tasks = [
                    group.create_task(self._stepper.run(), name="step"),
                    group.create_task(self._outbox.run(), name="emit"),
                    group.create_task(self._send_lossy(), name="lossy"),
                    group.create_task(self._follow_changes(newest_change), name="changes"),
                    group.create_task(self._lose_fenced(), name="fenced"),
                    group.create_task(self._every(self._settings.heartbeat_s, self._heartbeat), name="heartbeat"),
                    group.create_task(self._every(self._settings.reconcile_s, self._reconcile), name="reconcile"),
                    group.create_task(self._every(self._settings.stats_s, self._tell_stats), name="stats"),
                    group.create_task(self._every(60.0, self._sweep), name="sweep"),
                ]
                log.info("worker.ready", worker=self._slot, model=self._model, device=self._device)
                await stop.wait()
                await self._drain()
                for task in tasks:
                    task.cancel()
        finally:
            await self._roster.stop()

    async def _drain(self) -> None:
        await self._roster.stop()
        try:
            async with asyncio.timeout(self._settings.drain_s):
                await self._outbox.flushed()
                await self._roster.release()
        except (TimeoutError, StoreError) as error:
            log.warning("worker.undelivered", events=len(self._outbox), reason=str(error) or "out of time")

    async def _first_contact(self) -> str:
        """Read where the changes stand *before* the first full read, so that none falls between; retried for ever."""
        while True:
            try:
                newest = await self._store.newest_change()
                await self._heartbeat()
                await self._reconcile()
            except StoreError as error:
                log.warning("store.away", reason=str(error))
                await asyncio.sleep(self._settings.heartbeat_s)
            else:
                return newest

    async def _every(self, period_s: float, do: Callable[[], Awaitable[None]]) -> None:
        """Call `do` every period; a store that is away is logged and tried again at the next one."""
        while True:
            try:
                await do()
            except StoreError as error:
                log.warning("store.away", reason=str(error))
            await asyncio.sleep(period_s)

    async def _follow_changes(self, newest: str) -> None:
        async for change in self._store.changes(newest):
            try:
                match change.kind:
                    case "ask":
                        await self._take_asks(change.camera)
                    case "ask.cancel":
                        self._stepper.cancel(change.id)
                    case _:
                        await self._roster.reconcile()
            except StoreError as error:
                log.warning("store.away", reason=str(error))

    async def _reconcile(self) -> None:
        await self._roster.reconcile()
        for camera in list(self._roster):
            await self._take_asks(camera)

    async def _take_asks(self, camera: str) -> None:
        """Take up the questions that wait for this camera; those already taken up are known to the stepper."""
        if camera not in self._roster:
            return
        now_ns = self._clock.now_ns()
        for pending in await self._store.pending_asks(camera):
            asked_ns = int(pending["asked_ts"]) * MS
            ask = Ask(pending["ask"], camera, pending["text"], int(pending["max_tokens"]), asked_ns)
            if pending["cancelled"] and not self._stepper.knows(ask.id):
                self._stepper.drop(ask)
            elif now_ns - asked_ns > self._settings.ask_ttl_s * 1e9:
                self._stepper.refuse(ask, "the question waited too long for its camera's worker; ask again")
            else:
                self._stepper.ask(ask)

    async def _heartbeat(self) -> None:
        await self._store.heartbeat(
            self._slot,
            {
                "pid": os.getpid(),
                "device": self._device,
                "model": self._model,
                "cameras": len(self._roster),
                "rss_bytes": psutil.Process().memory_info().rss,
                "steps": self._stepper.counters.steps,
                "busy_ms": round(self._stepper.counters.busy_ms),
                "undelivered": len(self._outbox),
                "capacity": self._roster.capacity.as_map(),
            },
            ttl_ms=int(3000 * self._settings.heartbeat_s),
        )
        await self._roster.renew()

    async def _tell_stats(self) -> None:
        now_ns = self._clock.now_ns()
        counters = {camera: watch.counters(now_ns) for camera, watch in self._roster.items()}
        for camera, watch in list(self._roster.items()):
            stats = {"topic": "stats", "camera": camera, "state": str(watch.session.state)}
            self._publish(stats | counters.get(camera, {}))
            frame = watch.session.last_frame
            if frame is not None and self._previewed.get(camera) != frame.seq:
                self._previewed[camera] = frame.seq
                jpeg = await asyncio.to_thread(as_jpeg, frame.image, 70, self._settings.preview_px)
                self._publish({
                    "topic": "preview",
                    "camera": camera,
                    "frame_ts": frame.pts_ns // MS,
                    "jpeg": jpeg,
                })  # fmt: skip
        await self._store.set_all_counters(counters)  # last: it is a write, which a full or read-only store refuses

    async def _sweep(self) -> None:
        await asyncio.to_thread(self._evidence.sweep)
        oldest_ts = self._clock.now_ns() // MS - int(1000 * self._settings.events_max_age_s)
        await self._store.trim(max_len=self._settings.events_max, min_ts=oldest_ts)
        await self._forget_trimmed()

    async def _make_room(self) -> None:
        """A full store: what happens now matters more than the oldest tenth of what happened."""
        newest, oldest = await self._store.newest_seq(), await self._store.oldest_seq()
        held = newest - oldest + 1
        if held > EVENTS_KEPT_WHEN_FULL:
            forgotten = await self._store.trim(max_len=max(EVENTS_KEPT_WHEN_FULL, held * 9 // 10), min_ts=0)
            log.warning("store.full", forgotten=forgotten, held=held - forgotten)
            await self._forget_trimmed()

    async def _forget_trimmed(self) -> None:
        """No answer rests on a note that history no longer shows."""
        oldest = await self._store.oldest_seq()
        for watch in self._roster.values():
            watch.session.scribe.notebook.forget_before(oldest)

    def _on_frame(self) -> None:
        self._stepper.wake()

    def _on_gone(self, camera: str, reason: str) -> None:
        self._stepper.drop_camera(camera, reason)

    def _publish(self, message: dict[str, Any]) -> None:
        self._lossy.append(msgpack.packb(message))
        self._lossy_filled.set()

    async def _send_lossy(self) -> None:
        while True:
            await self._lossy_filled.wait()
            self._lossy_filled.clear()
            while self._lossy:
                try:
                    await self._store.publish(self._lossy.popleft())
                except StoreError:
                    self._lossy.clear()  # lossy by contract; the durable side reports that the store is away

    async def _lose_fenced(self) -> None:
        while True:
            lease = await self._fenced.get()
            await self._roster.lose(lease.camera, lease)

    def _on_fenced(self, lease: Lease) -> None:
        if not self._fenced.full():  # a full queue holds this camera's lease already
            self._fenced.put_nowait(lease)

    def _on_delivered(self, emission: Emission, event: Event) -> None:
        if event.camera is None or event.camera not in self._roster:
            return
        session = self._roster[event.camera].session
        if emission.rule is not None:
            session.delivered(emission.rule, self._clock.now_ns())
        if event.kind == "note":
            session.scribe.remember(event)

    def _save_evidence(self, event_id: str, image: Image) -> str:
        name = f"{event_id}.jpg"
        self._evidence.save(name, as_jpeg(image, self._settings.jpeg_quality))
        return f"/v1/evidence/{name}"


def as_jpeg(image: Image, quality: int, long_side_px: int | None = None) -> bytes:
    """The picture as JPEG, scaled down to `long_side_px` if it is larger."""
    picture = Picture.fromarray(image)
    if long_side_px is not None:
        picture.thumbnail((long_side_px, long_side_px))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def new_id(prefix: str) -> str:
    """A fresh id, as `e_…` or `a_…`."""
    return f"{prefix}_{secrets.token_hex(8)}"
