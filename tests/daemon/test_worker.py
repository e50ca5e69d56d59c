"""A worker in this process: the real engine, a real Valkey, synthetic cameras; what the store tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from PIL import Image as Picture

from clients.messages import CameraSpec, Event, RuleSpec
from daemon.cameras import RosterSettings
from daemon.store import Lease, Store
from daemon.worker import Worker, WorkerSettings, as_jpeg
from streaming import models
from streaming.admission import AdmissionSettings, Capacity
from streaming.clock import SystemClock
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.models.patches import PatchGrid
from streaming.privacy import GREY
from tests.daemon.store.server import Valkey
from tests.streaming.recorder import Recorder

YARD = CameraSpec(id="yard", source="synthetic:yard", fps=8)
GATE = CameraSpec(id="gate", source="synthetic:cuts", fps=8)
SETTINGS = WorkerSettings(
    model="tiny-random",
    stats_s=0.2,
    heartbeat_s=0.3,
    reconcile_s=0.5,
    engine=EngineSettings(max_cameras=2, max_asks=2, spare_slabs=1, max_budget_tokens=512),
    roster=RosterSettings(budget_tokens=512, lease_ttl_s=2),
)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def valkey():
    folder = Path(tempfile.mkdtemp(prefix="vg-"))
    server = Valkey(folder).start()
    yield server
    server.stop()
    shutil.rmtree(folder)


class Bench:
    """A store with a worker on it, and what the worker has emitted so far."""

    def __init__(self, store: Store, worker: Worker) -> None:
        self.store = store
        self.worker = worker
        self.seen: list[Event] = []

    async def until(self, wanted: Callable[[Event], bool], *, within_s: float = 30) -> Event:
        """The first event, from the last one waited for on, that `wanted` accepts."""
        after = self.seen[-1].seq if self.seen else 0
        async with asyncio.timeout(within_s), contextlib.aclosing(self.store.tail(after)) as tail:
            async for page in tail:
                for event in page:
                    self.seen.append(event)
                    if wanted(event):
                        return event
        raise AssertionError("a tail does not end")

    async def state(self, camera: str, state: str) -> Event:
        return await self.until(
            lambda event: event.kind == "camera.state" and event.camera == camera and event.data["state"] == state
        )

    async def ask(self, ask: str, camera: str = "yard", *, asked_ts: int | None = None, max_tokens: int = 6) -> None:
        asked_ts = SystemClock().now_ns() // 1_000_000 if asked_ts is None else asked_ts
        question = {"ask": ask, "camera": camera, "text": "What?", "max_tokens": max_tokens, "asked_ts": asked_ts}
        await self.store.put_ask(question)

    async def answer(self, ask: str) -> dict[str, Any]:
        """The answer's data, whichever of several came first."""

        def wanted(event: Event) -> bool:
            return event.kind == "answer" and event.data["ask"] == ask

        known = next(filter(wanted, self.seen), None)
        return (known or await self.until(wanted)).data


@contextlib.asynccontextmanager
async def running(
    valkey: Valkey,
    model_dir: Path,
    *cameras: CameraSpec,
    slot: str = "w0",
    spy: Callable[[VisionLanguageModel], Any] = lambda model: model,
    **changes: Any,
) -> AsyncIterator[Bench]:
    settings = replace(SETTINGS, **changes)
    executor = ThreadPoolExecutor(1)
    stop = asyncio.Event()
    try:
        model = models.load("tiny-random", cache_dir=model_dir)
        async with (
            await Store.connect(valkey.url, owner=slot) as store,
            await Store.connect(valkey.url, owner="test") as other,
        ):
            for camera in cameras:
                await other.put_camera(camera)
            engine = Engine(spy(model), settings=settings.engine)
            worker = Worker(
                settings,
                store,
                engine,
                executor,
                data_dir=valkey.data_dir,
                device="cpu",
                slot=slot,
                clock=SystemClock(),
            )
            task = asyncio.create_task(worker.run(stop))
            try:
                yield Bench(other, worker)
            finally:
                stop.set()
                await asyncio.wait_for(task, 20)
                engine.check()
    finally:
        executor.shutdown()


def test_cameras_come_change_and_go(valkey, model_dir):
    """Added while running: live. Another source: reopened. Removed: its alert ends; its lease and memory are free."""

    async def main():
        async with running(valkey, model_dir) as bench:
            await bench.store.put_camera(YARD)
            await bench.state("yard", "live")
            assert await bench.store.holder("yard") == "w0"
            await bench.store.put_camera(CameraSpec(id="yard", source="synthetic:nothing", fps=8))
            failed = await bench.state("yard", "failed")
            assert "nothing" in failed.data["reason"]
            await bench.store.put_camera(YARD)
            await bench.state("yard", "live")
            await bench.store.remove_camera("yard")
            await bench.store.put_camera(GATE)
            await bench.state("gate", "live")
            assert await bench.store.holder("yard") is None

    asyncio.run(main())


def test_an_alert_is_emitted_once_with_its_picture(valkey, model_dir):
    """A rule that any p satisfies: one alert.started with a JPEG that exists, ended when the rule goes."""

    async def main():
        async with running(valkey, model_dir, YARD) as bench:
            rule = RuleSpec(
                id="r_1", camera="yard", ask="Is it day?", on=1e-9, off=0.0, hold_s=0, cooldown_s=0, say="Day"
            )
            await bench.store.put_rule(rule)
            started = await bench.until(lambda event: event.kind == "alert.started")
            assert started.data["rule"] == "r_1"
            assert started.data["text"] == "Day"
            name = started.data["evidence"]["jpg"].removeprefix("/v1/evidence/")
            assert name == f"{started.id}.jpg"
            assert Picture.open(io.BytesIO((valkey.data_dir / "evidence" / name).read_bytes())).format == "JPEG"
            assert [alert["alert"] for alert in await bench.store.open_alerts("yard")] == [started.data["alert"]]
            await bench.store.delete_rule("r_1")
            ended = await bench.until(lambda event: event.kind == "alert.ended")
            assert ended.data["alert"] == started.data["alert"]
            assert [event.kind for event in bench.seen].count("alert.started") == 1

    asyncio.run(main())


class Eyes(Recorder):
    """A real model that also keeps the pictures that its encoder was given."""

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__(model)
        self.saw: list[PatchGrid] = []

    def encode(self, grids: Any, canvases: Any = ()) -> Any:
        self.saw += grids
        return super().encode(grids, canvases)


def masked(image: np.ndarray) -> bool:
    """Whether the left half of a decoded JPEG is flat grey, but for the blocks on its edge, and the right one is not."""
    half = image.shape[1] // 2 - 17
    return bool((np.abs(image[:, :half].astype(int) - GREY) <= 2).all()) and float(image[:, half + 34 :].std()) > 10


def test_no_masked_pixel_reaches_the_encoder_the_evidence_or_a_preview(valkey, model_dir):
    """On the real way of a frame, from the moment at which a running camera is given a mask."""
    left = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    rule = RuleSpec(id="r_1", camera="gate", ask="Is it day?", on=1e-9, off=0.0, hold_s=0, cooldown_s=0)
    eyes: list[Eyes] = []

    def spy(model: VisionLanguageModel) -> Eyes:
        eyes.append(Eyes(model))
        return eyes[0]

    def hidden(grid: PatchGrid) -> np.ndarray:
        """The patches of the cells that lie under the mask, but for the column at its edge."""
        h, w = grid.hw
        return grid.patches.reshape(h, w, -1)[:, : w // 2 - 1]

    async def main():
        async with running(valkey, model_dir, GATE, spy=spy) as bench:
            await bench.state("gate", "live")
            while not eyes[0].saw:
                await asyncio.sleep(0.05)  # between two looks at what the encoder was given
            unmasked = bench.worker._roster["gate"].capture
            await bench.store.put_camera(msgspec.structs.replace(GATE, masks=(left,)))
            while bench.worker._roster["gate"].capture in {unmasked, None}:
                await asyncio.sleep(0.05)  # between two looks at whether it was opened afresh
            unhidden = len(eyes[0].saw)
            await bench.store.put_rule(rule)
            started = await bench.until(lambda event: event.kind == "alert.started")
            name = started.data["evidence"]["jpg"].removeprefix("/v1/evidence/")
            assert masked(np.asarray(Picture.open(valkey.data_dir / "evidence" / name)))
            async with asyncio.timeout(20), contextlib.aclosing(bench.store.lossy()) as lossy:
                async for data in lossy:
                    message = msgpack.unpackb(data)
                    if message["topic"] == "preview":
                        assert masked(np.asarray(Picture.open(io.BytesIO(message["jpeg"]))))
                        break
            grey = [bool((hidden(grid) == GREY).all()) for grid in eyes[0].saw]
            assert grey == sorted(grey)  # first without the mask, then with it, and never without it again
            assert set(grey) == {False, True}
            assert all(grey[unhidden:])
            assert all(grid.patches.std() > 10 for grid in eyes[0].saw)

    asyncio.run(main())


def test_a_camera_of_another_model_fails_and_says_what_to_do(valkey, model_dir):
    """Until it names the one that is served, or none; where another worker serves it, it is that one's."""
    other = msgspec.structs.replace(YARD, model="qwen")

    async def main():
        async with running(valkey, model_dir, other) as bench:
            reason = (await bench.state("yard", "failed")).data["reason"]
            assert "no worker serves the model 'qwen', only 'tiny-random'" in reason
            await bench.store.put_camera(msgspec.structs.replace(YARD, model="tiny-random"))
            await bench.state("yard", "live")
            await bench.store.put_camera(other)
            await bench.state("yard", "failed")
            await bench.store.put_camera(YARD)
            await bench.state("yard", "live")
            await bench.store.heartbeat("w1", {"model": "qwen"}, ttl_ms=60_000)
            await bench.store.remove_camera("yard")
            # among equals it would be w0 that has the gate, and w1 that has the yard
            await bench.store.put_camera(msgspec.structs.replace(GATE, model="qwen"))
            await bench.store.put_camera(msgspec.structs.replace(YARD, model="tiny-random"))
            await bench.state("yard", "live")
            assert await bench.store.holder("gate") is None

    asyncio.run(main())


def test_questions_are_answered_cancelled_and_refused(valkey, model_dir):
    """Many at once are each answered; one cancelled before it began says so; one that is too old fails with a reason."""

    async def main():
        async with running(valkey, model_dir, YARD) as bench:
            await bench.until(lambda event: event.kind == "camera.state")
            while not (await bench.store.counters("yard") or {}).get("frames"):
                await asyncio.sleep(0.05)  # between two looks at the counters
            for number in range(6):
                await bench.ask(f"q_{number}")
            answers = {number: await bench.answer(f"q_{number}") for number in range(6)}
            assert {answer["status"] for answer in answers.values()} == {"completed"}
            assert all(answer["usage"]["ttft_ms"] is not None for answer in answers.values())
            await bench.ask("q_old", asked_ts=1)
            assert "too long" in (await bench.answer("q_old"))["reason"]
            await bench.ask("q_long", max_tokens=512)
            await bench.store.cancel_ask("q_long")
            assert (await bench.answer("q_long"))["status"] in {"cancelled", "completed"}
            assert await bench.store.pending_asks("yard") == []

    asyncio.run(main())


def test_a_camera_that_the_accelerator_cannot_carry_fails_with_the_figures(valkey, model_dir):
    """Once steps are measured, one camera too many is `failed`; the heartbeat tells it beforehand; alone, it is let in."""
    admission = AdmissionSettings(headroom=1e-4, min_share=1.0, least_steps=8)  # next to nothing may be used
    roster = replace(SETTINGS.roster, admission=admission)

    async def main():
        async with running(valkey, model_dir, YARD, roster=roster) as bench:
            await bench.state("yard", "live")
            while Capacity.from_map((await bench.store.workers())["w0"]["capacity"]).cost is None:
                await asyncio.sleep(0.05)  # between two looks at the heartbeat
            capacity = Capacity.from_map((await bench.store.workers())["w0"]["capacity"])
            assert len(capacity.loads) == 1
            assert capacity.refusal(8) is not None
            await bench.store.put_camera(GATE)
            failed = await bench.state("gate", "failed")
            assert re.match(
                r"2nd camera would run at 0\.\d fps: 1 take \d+ % of the accelerator", failed.data["reason"]
            )
            await bench.store.remove_camera("yard")
            await bench.state("gate", "live")

    asyncio.run(main())


def test_a_camera_beyond_the_limit_fails_with_the_figures_and_takes_a_freed_place(valkey, model_dir):
    """The third camera of an engine for two says so; when one goes, it comes."""

    async def main():
        third = CameraSpec(id="zz", source="synthetic:static", fps=8)
        async with running(valkey, model_dir, YARD, GATE, third) as bench:
            failed = await bench.state("zz", "failed")
            assert "2" in failed.data["reason"]
            await bench.store.put_camera(
                CameraSpec(id="zz", source="synthetic:static", fps=4)
            )  # has no memory to close
            await bench.store.remove_camera("gate")
            await bench.state("zz", "live")

    asyncio.run(main())


def test_a_lost_lease_silences_the_worker(valkey, model_dir):
    """When another takes the camera, this one stops without a word; it takes it back once it is free."""

    async def main():
        async with running(valkey, model_dir, YARD) as bench:
            await bench.state("yard", "live")
            lease = Lease("yard", "w0", int(await epoch_of(bench.store)), 2000)
            await bench.store.release(lease)
            stolen = await bench.store.acquire("yard", "thief", 1500)
            assert stolen is not None
            await bench.state("yard", "live")
            assert await bench.store.holder("yard") == "w0"

    async def epoch_of(store: Store) -> bytes:
        return await store._link.command("HGET", "vigil:1:{v}:epochs", "yard")

    asyncio.run(main())


def test_a_restarted_worker_goes_on_with_the_open_alert(valkey, model_dir):
    """The second worker ends the alert that the first one began, announces the gap, and does not start it again."""

    async def main():
        rule = RuleSpec(id="r_1", camera="yard", ask="Is it day?", on=1e-9, off=0.0, hold_s=0, cooldown_s=0)
        async with running(valkey, model_dir, YARD) as bench:
            await bench.store.put_rule(rule)
            started = await bench.until(lambda event: event.kind == "alert.started")
            while not (await bench.store.counters("yard") or {}).get("last_frame_ts"):
                await asyncio.sleep(0.05)  # between two looks at the counters
        await asyncio.sleep(1)  # nobody watches; the hole to be announced
        async with running(valkey, model_dir) as bench:
            gap = await bench.until(lambda event: event.kind == "gap")
            assert gap.data["reason"] == "worker_restart"
            await bench.store.put_rule(
                RuleSpec(id="r_1", camera="yard", ask="Is it day?", on=1.0, off=0.999999, hold_s=0, cooldown_s=0),
            )
            ended = await bench.until(lambda event: event.kind == "alert.ended")
            assert ended.data["alert"] == started.data["alert"]
            assert [event.kind for event in bench.seen].count("alert.started") == 1

    asyncio.run(main())


def test_the_store_may_die_and_return_under_a_worker(valkey, model_dir):
    """kill -9 of the store: the worker waits, then goes on; nothing that it emitted is lost or repeated."""

    async def main():
        async with running(valkey, model_dir, YARD) as bench:
            await bench.state("yard", "live")
            await asyncio.to_thread(valkey.kill)
            await asyncio.to_thread(valkey.start)
            await bench.store.put_camera(GATE)
            await bench.state("gate", "live")
            seqs = [event.seq for event in bench.seen]
            assert seqs == list(range(1, len(seqs) + 1))

    asyncio.run(main())


def test_lossy_messages_flow(valkey, model_dir):
    """Stats, previews and heat of every camera, as maps with a topic."""

    async def main():
        async with running(valkey, model_dir, YARD) as bench:
            seen: dict[str, dict[str, Any]] = {}
            async with asyncio.timeout(20), contextlib.aclosing(bench.store.lossy()) as lossy:
                async for data in lossy:
                    message = msgpack.unpackb(data)
                    seen[message["topic"]] = message
                    if {"stats", "preview", "heat"} <= set(seen) and seen["stats"]["fps_seen"]:
                        break
            assert seen["stats"]["camera"] == "yard"
            assert seen["stats"]["kv_tokens"] > 0
            assert Picture.open(io.BytesIO(seen["preview"]["jpeg"])).format == "JPEG"
            assert len(seen["heat"]["kept"]) == -(-seen["heat"]["hw"][0] * seen["heat"]["hw"][1] // 8)

    asyncio.run(main())


def test_pictures_are_scaled_down_never_up():
    """The long side is bounded; a small picture stays as it is."""
    picture = np.zeros((100, 200, 3), np.uint8)
    assert Picture.open(io.BytesIO(as_jpeg(picture, 80, 50))).size == (50, 25)
    assert Picture.open(io.BytesIO(as_jpeg(picture, 80, 500))).size == (200, 100)
