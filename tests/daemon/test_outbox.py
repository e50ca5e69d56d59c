"""Durable events across store outages: in order, each once, bounded, and the loss announced."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np

from clients.messages import Event
from daemon.outbox import Outbox, OutboxSettings
from daemon.session import Emission
from daemon.store import Draft, Fenced, Lease, StoreFull, StoreUnavailable

LEASE = Lease("dock", "w0", 1, 6000)
SETTINGS = OutboxSettings(max_events=5, retry_min_s=0.001, retry_max_s=0.002)


class Scripted:
    """An emitter whose outages are scripted; a real store cannot lose exactly one reply on demand."""

    def __init__(self, *, failures: int = 0, lost_replies: int = 0, fenced: bool = False, full: bool = False) -> None:
        self.failures, self.lost_replies, self.fenced, self.full = failures, lost_replies, fenced, full
        self.events: dict[str, Event] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def emit(self, draft: Draft, lease: Lease | None) -> Event:
        await self.open.wait()
        if self.fenced:
            raise Fenced("dock", 2)
        if self.full:
            raise StoreFull("the store is full")
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the store is away")
        event = Event(len(self.events) + 1, draft.id, draft.kind, draft.camera, draft.ts, draft.data)
        event = self.events.setdefault(draft.dedup, event)
        if self.lost_replies:
            self.lost_replies -= 1
            raise StoreUnavailable("no reply")
        return event


class Seen:
    def __init__(self) -> None:
        self.delivered: list[Emission] = []
        self.fenced: list[Lease] = []
        self.saved: list[str] = []


@asynccontextmanager
async def running(emitter: Scripted, *, disk_full: bool = False):
    seen = Seen()

    def save(event_id, image):
        if disk_full:
            raise OSError("no space left on device")
        seen.saved.append(event_id)
        return f"/v1/evidence/{event_id}.jpg"

    async def make_room():
        emitter.full = False

    outbox = Outbox(
        emitter,
        settings=SETTINGS,
        save_evidence=save,
        on_delivered=lambda emission, event: seen.delivered.append(emission),
        on_fenced=seen.fenced.append,
        make_room=make_room,
    )
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox, seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def draft(number: int, kind: str = "camera.state") -> Emission:
    return Emission(Draft(kind=kind, camera="dock", data={"n": number}, ts=1000 + number, dedup=f"d{number}"))


async def flushed(outbox: Outbox) -> None:
    await asyncio.wait_for(outbox.flushed(), 10)


def numbers(emitter: Scripted) -> list[int]:
    return [event.data["n"] for event in emitter.events.values() if "n" in event.data]


def test_an_outage_delays_but_neither_reorders_nor_repeats():
    """Failures and lost replies are retried with the same dedup key."""

    async def main():
        emitter = Scripted(failures=3, lost_replies=2)
        async with running(emitter) as (outbox, seen):
            for number in range(4):
                outbox.put(draft(number), LEASE)
            await flushed(outbox)
            assert numbers(emitter) == [0, 1, 2, 3]
            assert [emission.draft.data["n"] for emission in seen.delivered] == [0, 1, 2, 3]

    asyncio.run(main())


def test_past_the_bound_the_oldest_go_and_the_loss_is_a_gap():
    """Nine emissions into room for five: the newest survive, and one gap names the time of the lost ones."""

    async def main():
        emitter = Scripted()
        emitter.open.clear()
        async with running(emitter) as (outbox, _):
            for number in range(9):
                outbox.put(draft(number), LEASE)
            assert len(outbox) == 5
            emitter.open.set()
            await flushed(outbox)
        assert numbers(emitter)[-5:] == [4, 5, 6, 7, 8]
        (gap,) = (event for event in emitter.events.values() if event.kind == "gap")
        assert gap.data == {"from": 1000, "to": 1003, "reason": "overload", "events": 4}

    asyncio.run(main())


def test_a_fenced_worker_stops_speaking():
    """Another worker owns the camera: nothing is delivered, the lease is reported, the queue goes on."""

    async def main():
        async with running(Scripted(fenced=True)) as (outbox, seen):
            outbox.put(draft(1), LEASE)
            outbox.put(draft(2), LEASE)
            await flushed(outbox)
            assert seen.delivered == []
            assert seen.fenced == [LEASE, LEASE]

    asyncio.run(main())


def test_on_a_full_store_room_is_made_and_the_event_delivered():
    """Old history gives way to what happens now."""

    async def main():
        emitter = Scripted(full=True)
        async with running(emitter) as (outbox, _):
            outbox.put(draft(1), LEASE)
            await flushed(outbox)
        assert numbers(emitter) == [1]

    asyncio.run(main())


def test_evidence_is_saved_before_the_alert_and_a_full_disk_does_not_hold_it_back():
    """With room the event names its picture; without, it is delivered bare."""

    async def main(*, disk_full: bool) -> Event:
        emitter = Scripted()
        async with running(emitter, disk_full=disk_full) as (outbox, _):
            emission = Emission(draft(1, "alert.started").draft, evidence=np.zeros((2, 2, 3), np.uint8))
            outbox.put(emission, LEASE)
            await flushed(outbox)
        (event,) = emitter.events.values()
        return event

    with_picture = asyncio.run(main(disk_full=False))
    assert with_picture.data["evidence"]["jpg"] == f"/v1/evidence/{with_picture.id}.jpg"
    assert "evidence" not in asyncio.run(main(disk_full=True)).data
