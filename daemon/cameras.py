"""
The cameras of one worker: which it owns, and bringing them to what the store says.

`Roster.reconcile` compares the specifications in the store with what runs here and opens, changes and closes cameras
until the two agree. It is called at every change, and on a timer, so that a missed change heals itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from clients.messages import CameraSpec, RuleSpec
from streaming.admission import AdmissionSettings, Capacity, Cost, Load
from streaming.clock import Clock
from streaming.errors import StreamingError
from streaming.mailbox import Mailbox
from streaming.sources import Capture, Limits, Status
from streaming.types import CameraSettings, CameraState

from .outbox import Outbox
from .placement.serving import Serves, place, refusal, served
from .session import Emission, OpenAlert, Session, SessionSettings
from .store import Lease, NotFound, Store

log = structlog.get_logger(__name__)

MS = 1_000_000
OPENED_WITH = ("source", "fps", "model", "zones", "never_drop", "masks")  # another one of these starts it afresh
BEHIND = 8  # events waiting for the store from which no more notes are begun: each holds a whole picture
Argument = TypeVar("Argument")


class Memories(Protocol):
    """The part of the engine that the roster needs; cameras are opened and closed on the accelerator thread."""

    @property
    def max_cameras(self) -> int: ...
    @property
    def camera_bytes(self) -> int: ...
    @property
    def max_frame_tokens(self) -> int: ...
    def open(self, settings: CameraSettings) -> None: ...
    def close(self, camera: str) -> None: ...


@dataclass(frozen=True, slots=True)
class RosterSettings:
    """
    lease_ttl_s: how long after a worker's death another may take its cameras.
    stop_s: how long a camera's decoder may take to stop.
    budget_tokens, drop, policy, budget_bytes: what every camera's memory is opened with; 0 bytes is no bound.
    max_frames: cameras in one step of the engine, for the prediction of what one more camera costs.
    """

    lease_ttl_s: float = 6.0
    stop_s: float = 3.0
    budget_tokens: int = 2048
    drop: str = CameraSettings("").drop
    policy: str = CameraSettings("").policy
    budget_bytes: int = 0
    max_frames: int = 16
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    limits: Limits = field(default_factory=Limits)
    media_dir: Path | None = None
    session: SessionSettings = field(default_factory=SessionSettings)


class Watch:
    """One camera that this worker owns: its lease, its session, its mailbox and, while it has memory, its capture."""

    def __init__(self, spec: CameraSpec, lease: Lease, session: Session, outbox: Outbox) -> None:
        self.spec = spec
        self.lease = lease
        self.session = session
        self.mailbox = Mailbox()
        self.capture: Capture | None = None
        self.refusal: str | None = None  # why it has no memory yet; the first reason stands while it is refused
        self._outbox = outbox

    @property
    def behind(self) -> bool:
        """The store takes events more slowly than they come, or is away."""
        return len(self._outbox) >= BEHIND

    def emit(self, emission: Emission) -> None:
        self._outbox.put(emission, self.lease)

    def counters(self, now_ns: int) -> dict[str, Any]:
        """What `stats` and `camera.get` show; see Session.counters."""
        fps_in = self.capture.counters.fps_in if self.capture is not None else 0.0
        return {"fps_in": round(fps_in, 2)} | self.session.counters(now_ns)


class Roster(Mapping[str, Watch]):
    """
    The cameras owned here, by id.

    executor: the accelerator thread; memories are opened and closed on it, never during a step.
    on_frame, on_gone: called on the event loop, when a frame waits, and before a camera is closed (id, reason).
    cost: what steps cost as of now, None while nobody knows.
    """

    def __init__(
        self,
        store: Store,
        memories: Memories,
        outbox: Outbox,
        *,
        worker: str,
        settings: RosterSettings,
        model: str,
        executor: Executor,
        on_frame: Callable[[], None],
        on_gone: Callable[[str, str], None],
        new_id: Callable[[str], str],
        clock: Clock,
        cost: Callable[[], Cost | None] = lambda: None,
    ) -> None:
        self._store = store
        self._cost = cost
        self._memories = memories
        self._outbox = outbox
        self._worker = worker
        self._settings = settings
        self._model = model
        self._executor = executor
        self._on_frame = on_frame
        self._on_gone = on_gone
        self._new_id = new_id
        self._clock = clock
        self._watches: dict[str, Watch] = {}
        self._serves: Serves = {worker: model}
        self._lock = asyncio.Lock()

    def __getitem__(self, camera: str) -> Watch:
        return self._watches[camera]

    def __iter__(self) -> Iterator[str]:
        return iter(self._watches)

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def capacity(self) -> Capacity:
        """What this worker carries and how much more it could."""
        settings = self._settings
        return Capacity(
            cost=self._cost(),
            loads=tuple(self._load(watch) for watch in self._watches.values() if watch.capture is not None),
            cells=self._memories.max_frame_tokens,
            slots=self._memories.max_cameras,
            camera_bytes=self._memories.camera_bytes,
            max_frames=settings.max_frames,
            headroom=settings.admission.headroom,
            min_share=settings.admission.min_share,
        )

    async def reconcile(self) -> None:
        """Make what runs here agree with the store. Raises StoreError, having closed nothing, if it is away."""
        async with self._lock:
            specs = {spec.id: spec for spec in await self._store.cameras()}
            self._serves = served(await self._store.workers()) | {self._worker: self._model}
            rules: dict[str, list[RuleSpec]] = {}
            for rule in await self._store.rules():
                rules.setdefault(rule.camera, []).append(rule)
            mine = {spec.id for spec in specs.values() if place(spec.id, spec.model, self._serves) == self._worker}
            for camera in [camera for camera in self._watches if camera not in mine]:
                reason = "camera removed" if camera not in specs else "another worker has the camera now"
                await self._close(camera, reason, for_good=camera not in specs)
            for camera in sorted(mine):
                await self._bring_to(specs[camera], rules.get(camera, []))

    async def renew(self) -> None:
        """Hold on to the leases; a camera whose lease is lost is given up without a word, its new owner speaks."""
        leases = {watch.lease.camera: watch.lease for watch in self._watches.values()}
        for camera in await self._store.renew_all(leases.values()):
            await self.lose(camera, leases[camera])

    async def lose(self, camera: str, lease: Lease) -> None:
        """Give a camera up, if it is still held under this lease."""
        async with self._lock:
            watch = self._watches.get(camera)
            if watch is not None and watch.lease == lease:
                log.warning("camera.lost", camera=camera, epoch=lease.epoch)
                await self._close(camera, "another worker has the camera now", for_good=False)

    async def stop(self) -> None:
        """Stop every capture; memories and leases stay, so that what is queued can still be emitted."""
        async with self._lock:
            await asyncio.gather(*(self._stop_capture(watch) for watch in self._watches.values()))

    async def release(self) -> None:
        """Let the leases go, so that another worker need not wait for their end."""
        for watch in self._watches.values():
            await self._store.release(watch.lease)

    # --- private; under the lock

    async def _bring_to(self, spec: CameraSpec, rules: list[RuleSpec]) -> None:
        watch = self._watches.get(spec.id)
        if watch is not None and _needs_reopening(watch.spec, spec):
            await self._shut(watch)
        if watch is None:
            watch = await self._take_over(spec, rules)
            if watch is None:
                return
        watch.spec = watch.session.spec = spec
        now_ns = self._clock.now_ns()
        for emission in watch.session.set_rules(rules, now_ns):
            watch.emit(emission)
        if watch.capture is None:
            await self._start(watch)

    async def _take_over(self, spec: CameraSpec, rules: list[RuleSpec]) -> Watch | None:
        try:
            lease = await self._store.acquire(spec.id, self._worker, int(1000 * self._settings.lease_ttl_s))
        except NotFound:  # removed since it was listed
            return None
        if lease is None:
            return None
        alerts = [
            OpenAlert(
                rule=alert["rule"],
                alert=alert["alert"],
                started_ns=int(alert.get("frame_ts") or alert["ts"]) * MS,
                delivered_ns=int(alert["ts"]) * MS,
            )
            for alert in await self._store.open_alerts(spec.id)
        ]
        last_ts = (await self._store.counters(spec.id) or {}).get("last_frame_ts")
        notes = await self._store.notes(spec.id)
        session = Session(spec, settings=self._settings.session, model=self._model, new_id=self._new_id)
        watch = Watch(spec, lease, session, self._outbox)
        now_ns = self._clock.now_ns()
        emissions = session.set_rules(rules, now_ns)
        session.restore(None if last_ts is None else int(last_ts) * MS, alerts)
        session.scribe.restore(notes)
        for emission in emissions + session.orphans(alerts, now_ns):
            watch.emit(emission)
        self._watches[spec.id] = watch
        log.info(
            "camera.owned",
            camera=spec.id,
            epoch=lease.epoch,
            rules=len(rules),
            open_alerts=len(alerts),
            notes=len(notes),
        )
        return watch

    async def _start(self, watch: Watch) -> None:
        """
        Give the camera memory and start its decoder.

        Without room, or with a model that nobody serves, it stands as `failed` and is tried again.
        """
        settings = self._settings
        spec = watch.spec
        memory = CameraSettings(
            spec.id,
            fps=spec.fps,
            budget_tokens=settings.budget_tokens,
            budget_bytes=settings.budget_bytes,
            drop=settings.drop,
            policy=settings.policy,
            zones=spec.zones,
            never_drop=spec.never_drop,
        )
        refused = refusal(spec.model, self._serves.values()) or self.capacity.refusal(spec.fps)
        if refused is None:
            try:
                await self._on_accelerator(self._memories.open, memory)
            except StreamingError as error:
                refused = str(error)
        if refused is not None:
            watch.refusal = watch.refusal or refused
            self._on_status(watch, Status(spec.id, CameraState.FAILED, watch.refusal))
            return
        watch.refusal = None
        loop = asyncio.get_running_loop()

        def on_status(status: Status) -> None:
            loop.call_soon_threadsafe(self._on_status, watch, status)

        def on_frame() -> None:
            loop.call_soon_threadsafe(self._on_frame)

        watch.capture = Capture(
            spec.id,
            spec.source,
            spec.fps,
            limits=settings.limits,
            media_dir=settings.media_dir,
            mailbox=watch.mailbox,
            clock=self._clock,
            on_status=on_status,
            on_frame=on_frame,
            masks=spec.masks,
        )
        watch.capture.start()

    async def _close(self, camera: str, reason: str, *, for_good: bool) -> None:
        watch = self._watches[camera]
        self._on_gone(camera, reason)
        await self._shut(watch)
        if for_good:
            for emission in watch.session.close(reason, self._clock.now_ns()):
                watch.emit(emission)
        del self._watches[camera]
        log.info("camera.closed", camera=camera, reason=reason)

    async def _shut(self, watch: Watch) -> None:
        """Stop the decoder and give the memory back; a camera that was refused has neither."""
        await self._stop_capture(watch)
        if watch.capture is not None:
            await self._on_accelerator(self._memories.close, watch.spec.id)
        watch.capture = watch.refusal = None
        watch.mailbox = Mailbox()
        watch.session.forget_picture()  # it may show what a mask hides from now on

    async def _stop_capture(self, watch: Watch) -> None:
        if watch.capture is not None:
            await asyncio.to_thread(watch.capture.stop, self._settings.stop_s)

    def _load(self, watch: Watch) -> Load:
        """A camera that has not shown anything yet is taken for the largest."""
        load = watch.session.load
        return load if load.cells else replace(load, cells=self._memories.max_frame_tokens)

    def _on_status(self, watch: Watch, status: Status) -> None:
        if self._watches.get(watch.spec.id) is not watch:
            return
        for emission in watch.session.on_status(status.state, status.reason, self._clock.now_ns(), status.gap):
            watch.emit(emission)

    async def _on_accelerator(self, do: Callable[[Argument], None], argument: Argument) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, do, argument)


def _needs_reopening(old: CameraSpec, new: CameraSpec) -> bool:
    return any(getattr(old, name) != getattr(new, name) for name in OPENED_WITH)
