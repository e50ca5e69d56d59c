"""
`vigild bench pipeline`: how long a frame takes to a decision, and how many cameras share the machine.

The real path (source → mailbox → scheduler → engine → session → store) in a real worker process on a real embedded
Valkey, with 1, 4 and 16 synthetic cameras of one rule each. A frame's latency runs from the moment it was taken until a
listener of the store has its decision. Two baselines in the same run, on the most cameras: one camera a step instead of
a batch, and no token drop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgpack

from clients.messages import CameraSpec, RuleSpec
from daemon.config import Config, for_children, load
from daemon.devices import resolve
from daemon.errors import DaemonError
from daemon.offline import temporary_store
from daemon.store import Store

from .form import Options, Report, Row, Say, quantile

SUMMARY: Final = "frame to decision: latency, tokens, drops and memory with 1, 4 and 16 synthetic cameras"

CAMERAS: Final = (1, 4, 16)
FPS: Final = 2.0
STAGGER_S: Final = 1 / FPS / max(CAMERAS)  # cameras of a site don't tick together
RULE: Final = "Is there a person in the yard?"
START_S: Final = 120.0
SLOT: Final = "bench"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run: its name in the table and the settings that make it."""

    name: str
    settings: Mapping[str, str | int] = field(default_factory=dict)


DEFAULT: Final = Variant("vigild")
ONE_BY_ONE: Final = Variant("one camera a step", {"engine.frames_per_step": 1})
NO_DROP: Final = Variant("no token drop", {"camera.drop": "none"})


@dataclass(frozen=True, slots=True)
class Measured:
    """What one number of cameras did in `seconds`."""

    variant: str
    cameras: int
    seconds: float
    latencies_ms: Sequence[float]
    frames: int
    dropped: int
    tokens_in: int
    tokens_kept: int
    events: int
    memory_bytes: int
    worker_rss_mb: float

    def row(self) -> Row:
        sent = self.frames + self.dropped
        return {
            "how": self.variant,
            "cameras": self.cameras,
            "p50_ms": quantile(self.latencies_ms, 0.5),
            "p95_ms": quantile(self.latencies_ms, 0.95),
            "p99_ms": quantile(self.latencies_ms, 0.99),
            "frames": self.frames,
            "fps_per_camera": self.frames / self.seconds / self.cameras,
            "frames_dropped": self.dropped,
            "frames_dropped_share": self.dropped / sent if sent else 0.0,
            "tokens_in": self.tokens_in,
            "tokens_kept": self.tokens_kept,
            "drop_ratio": self.drop_ratio,
            "events_per_s": self.events / self.seconds,
            "bytes_per_camera": self.memory_bytes / self.cameras,
            "worker_rss_mb": self.worker_rss_mb,
        }

    @property
    def drop_ratio(self) -> float:
        return 1 - self.tokens_kept / self.tokens_in if self.tokens_in else 0.0

    def p(self, q: float) -> float:
        return quantile(self.latencies_ms, q)


def run(options: Options, say: Say) -> Report:
    """Measure; blocks for about a minute in the short form and four in the long one."""
    warm_s, measure_s = (2.0, 5.0) if options.short else (6.0, 30.0)
    device = resolve([options.device])[0]
    most = max(CAMERAS)
    plan = [(DEFAULT, CAMERAS), (ONE_BY_ONE, (most,)), (NO_DROP, (most,))]
    done: dict[tuple[str, int], Measured] = {}
    for variant, counts in plan:
        with tempfile.TemporaryDirectory(prefix="vg-") as folder:
            config = load(
                environ={},
                flags={
                    "data.dir": folder,
                    "model.name": options.model,
                    "engine.max_cameras": most,
                    "log.level": "error",
                    **variant.settings,
                },
            )
            for measured in asyncio.run(measure(config, variant, counts, device, options.seed, warm_s, measure_s, say)):
                done[variant.name, measured.cameras] = measured
    ours, one_by_one, no_drop = (done[variant.name, most] for variant in (DEFAULT, ONE_BY_ONE, NO_DROP))
    return Report(
        settings={
            "seed": options.seed,
            "device": device,
            "model": options.model,
            "fps": FPS,
            "measured_s": measure_s,
            "rules_per_camera": 1,
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        },
        rows=[measured.row() for measured in done.values()],
        figures={
            "p50_ms_1": done[DEFAULT.name, 1].p(0.5),
            "p95_ms_1": done[DEFAULT.name, 1].p(0.95),
            "p95_ms_4": done[DEFAULT.name, 4].p(0.95),
            "p95_ms_16": ours.p(0.95),
            "drop_ratio": ours.drop_ratio,
            "bytes_per_camera": ours.memory_bytes / most,
            "one_by_one_over_batched_p95_16": one_by_one.p(0.95) / ours.p(0.95),
            "no_drop_over_drop_p95_16": no_drop.p(0.95) / ours.p(0.95),
            "frames_dropped_share_16": ours.dropped / (ours.frames + ours.dropped),
        },
        notes=("latency: from the time a frame was taken to its decision at a listener of the store",),
    )


async def measure(
    config: Config,
    variant: Variant,
    counts: Sequence[int],
    device: str,
    seed: int,
    warm_s: float,
    measure_s: float,
    say: Say,
) -> list[Measured]:
    """Run one worker and measure it with each number of cameras, fewer first."""
    out = []
    say(f"{variant.name}: starting the store and a worker")
    async with (
        temporary_store(config.data_dir) as url,
        await Store.connect(url, owner="bench") as store,
        worker(config, url, device) as process,
        listening(store) as heard,
    ):
        await alive(store, process)
        added = 0
        for count in counts:
            for number in range(added, count):
                await add_camera(store, number, seed)
                await asyncio.sleep(STAGGER_S)
            added = count
            say(f"{variant.name}: {count} cameras, warming up")
            await heard.frames_from(count, process)
            await asyncio.sleep(warm_s)
            say(f"{variant.name}: {count} cameras, measuring")
            out.append(await watch(store, heard, variant.name, count, measure_s))
    return out


async def watch(store: Store, heard: Heard, variant: str, count: int, seconds: float) -> Measured:
    before, seq = dict(heard.stats), await store.newest_seq()
    heard.latencies_ms.clear()
    started = time.monotonic()
    await asyncio.sleep(seconds)
    elapsed_s = time.monotonic() - started
    latencies_ms, after = list(heard.latencies_ms), dict(heard.stats)
    events = await store.newest_seq() - seq
    if not latencies_ms:
        raise DaemonError(f"{count} cameras gave no frame in {seconds:.0f} s")

    def grown(name: str) -> int:
        return sum(int(after[camera][name]) - int(before[camera][name]) for camera in before)

    info = (await store.workers()).get(SLOT, {})
    return Measured(
        variant=variant,
        cameras=count,
        seconds=elapsed_s,
        latencies_ms=latencies_ms,
        frames=len(latencies_ms),
        dropped=grown("queue_drops"),
        tokens_in=grown("tokens_in"),
        tokens_kept=grown("tokens_kept"),
        events=events,
        memory_bytes=sum(int(stats["kv_bytes"]) for stats in after.values()),
        worker_rss_mb=int(info.get("rss_bytes", 0)) / 2**20,
    )


async def add_camera(store: Store, number: int, seed: int) -> None:
    """One more yard with a rule; each its own scene, all following from `seed`."""
    camera = f"cam{number:02d}"
    source = f"synthetic:yard?seed={1000 * seed + number}"
    await store.put_camera(CameraSpec(id=camera, source=source, fps=FPS), expect="new")
    rule = RuleSpec(id=f"r_{camera}", camera=camera, ask=RULE, on=0.2, off=0.1, hold_s=0, cooldown_s=0)  # alerts flow
    await store.put_rule(rule, expect="new")


@dataclass(slots=True)
class Heard:
    """What the store's listeners were told: the newest stats of each camera, and each frame's latency."""

    stats: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, message: Mapping[str, Any], now_ms: float) -> None:
        if message["topic"] == "stats":
            self.stats[message["camera"]] = message
        elif message["topic"] == "heat":
            self.latencies_ms.append(now_ms - message["frame_ts"])
        self.changed.set()

    async def frames_from(self, count: int, process: asyncio.subprocess.Process) -> None:
        """Return once this many cameras have had a frame decided. Raises DaemonError: not within START_S."""
        with refusing_to_wait(process, f"not all of {count} cameras gave frames"):
            async with asyncio.timeout(START_S):
                while sum(1 for stats in self.stats.values() if stats["frames"] > 0) < count:
                    self.changed.clear()
                    await self.changed.wait()


@contextlib.asynccontextmanager
async def listening(store: Store) -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        async with contextlib.aclosing(store.lossy()) as messages:  # type: ignore[type-var]
            async for message in messages:
                heard.take(msgpack.unpackb(message), time.time_ns() / 1e6)

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def worker(config: Config, url: str, device: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process as `vigild serve` starts it; what it says goes to our stderr."""
    settings = replace(config, store=replace(config.store, redis_url=url))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "daemon", "worker", "--slot", SLOT, "--device", device),
        env={**os.environ, **for_children(settings)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,  # its progress; what goes wrong it says on stderr
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def alive(store: Store, process: asyncio.subprocess.Process) -> None:
    """Return once the worker has loaded its model and said so. Raises DaemonError: it ended or took too long."""
    with refusing_to_wait(process, "the worker did not start"):
        async with asyncio.timeout(START_S):
            while SLOT not in await store.workers():
                if process.returncode is not None:
                    raise DaemonError(f"the worker ended with exit status {process.returncode}")
                await asyncio.sleep(0.05)


@contextlib.contextmanager
def refusing_to_wait(process: asyncio.subprocess.Process, what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        ended = "" if process.returncode is None else f"; the worker ended with exit status {process.returncode}"
        raise DaemonError(f"{what} within {START_S:.0f} s{ended}") from None
