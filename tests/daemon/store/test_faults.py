"""kill -9 of the store, and damage to its files, under load."""

from __future__ import annotations

import asyncio
import random

import pytest

from daemon.store import Draft, EmbeddedSettings, Store, StoreFull, StoreReset, StoreUnavailable
from daemon.store.embedded import why_not
from tests.daemon.store.conftest import IMPATIENT
from tests.daemon.store.opened import DOCK, collect, lease_of, note, opened
from tests.daemon.store.server import Valkey

EMITTERS, EACH, KILLS = 12, 40, 6


async def test_killed_while_emitting(valkey):
    """kill -9, again and again, while many emit: nothing acknowledged is lost, no seq repeats, no hole, no duplicate."""
    dice = random.Random(7)
    acknowledged: dict[str, int] = {}
    drafts = {f"{who}-{n}": note(n, dedup=f"{who}-{n}") for who in range(EMITTERS) for n in range(EACH)}
    total = len(drafts)
    enough = asyncio.Condition()

    async with opened(valkey.url, DOCK) as store:
        lease = await lease_of(store, "dock")
        tail = asyncio.create_task(collect(store.tail(0), total, within_s=60))

        async def emitter(who: int) -> None:
            for n in range(EACH):
                event = await store.emit(drafts[f"{who}-{n}"], lease)
                assert event.id == drafts[f"{who}-{n}"].id
                async with enough:
                    acknowledged[f"{who}-{n}"] = event.seq
                    enough.notify_all()

        async def killer() -> None:
            for kill in range(KILLS):
                due = total * (kill + 0.5) / (KILLS + 1)
                async with enough:
                    await enough.wait_for(lambda due=due: len(acknowledged) >= due)
                for _ in range(dice.randrange(8)):
                    await asyncio.sleep(0)
                await asyncio.to_thread(valkey.kill)
                await asyncio.to_thread(valkey.start)

        async with asyncio.TaskGroup() as group:
            group.create_task(killer())
            for who in range(EMITTERS):
                group.create_task(emitter(who))

        assert sorted(acknowledged.values()) == list(range(1, total + 1))
        kept = await store.events_after(0, total + 10)
        assert [event.seq for event in kept] == list(range(1, total + 1))
        assert {event.id: event.seq for event in kept} == {drafts[key].id: seq for key, seq in acknowledged.items()}
        seen = await tail
        assert seen == kept
        assert await store.renew(lease)


async def test_killed_during_every_operation(valkey):
    """Specs, asks, counters and followers go on by themselves after the store was killed and returned."""
    async with opened(valkey.url, DOCK) as store:
        changes = asyncio.create_task(collect(store.changes(await store.newest_change()), 20, within_s=30))
        for n in range(20):
            if n % 5 == 2:
                await asyncio.to_thread(valkey.kill)
                returning = asyncio.create_task(asyncio.to_thread(valkey.start))
            await store.put_ask({"ask": f"q_{n}", "camera": "dock", "text": "?", "max_tokens": 1, "asked_ts": n})
            await store.set_counters("dock", {"n": n})
            if n % 5 == 2:
                await returning
        assert [ask["ask"] for ask in await store.pending_asks("dock")] == [f"q_{n}" for n in range(20)]
        assert [change.id for change in await changes] == [f"q_{n}" for n in range(20)]
        assert await store.counters("dock") == {"n": 19}


async def test_away_for_longer_than_patience(valkey):
    """A caller is told in time that the store is away; the same draft goes through when it is back."""
    async with opened(valkey.url, DOCK, settings=IMPATIENT) as store:
        draft = note()
        valkey.kill()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.emit(draft)
        valkey.start()
        assert (await store.emit(draft)).seq == 1


async def test_half_written_tail(valkey):
    """What a power cut left half written is cut off at start; what remains is whole, and the count goes on from it."""
    async with opened(valkey.url, DOCK) as store:
        for n in range(20):
            await store.emit(Draft("camera.state", "dock", {"state": "live", "n": n}, ts=n))
    valkey.kill()
    log = next(valkey.append_only_folder.glob("*.incr.aof"))
    log.write_bytes(log.read_bytes()[:-30])
    valkey.start()
    async with opened(valkey.url) as store:
        events = await store.events_after(0, 100)
        assert [event.seq for event in events] == list(range(1, 20))
        assert await store.newest_seq() == 19
        assert (await store.camera_states())["dock"]["n"] == 18  # the event and what it implies went together
        assert (await store.emit(note())).seq == 20


async def test_damaged_in_the_middle(valkey):
    """A file damaged in the middle is not guessed at: the server does not start, and one sentence says what to do."""
    async with opened(valkey.url, DOCK) as store:
        for n in range(20):
            await store.emit(note(n))
    valkey.kill()
    log = next(valkey.append_only_folder.glob("*.incr.aof"))
    data = log.read_bytes()
    command = data.index(b"$4\r\nXADD", len(data) // 2)
    log.write_bytes(data[:command] + b"?" * 8 + data[command + 8 :])
    with pytest.raises(RuntimeError) as caught:
        valkey.start()
    sentence = why_not(str(caught.value).splitlines())
    assert sentence is not None
    assert sentence.startswith("the store's append-only file is damaged in the middle")
    assert "\n" not in sentence


async def test_another_store(valkey):
    """When a store returns without what it had acknowledged, followers say so instead of waiting for ever."""
    async with opened(valkey.url, DOCK) as store:
        for n in range(5):
            await store.emit(note(n))
        tail, changes = store.tail(5), store.changes("1")
        waiting = asyncio.create_task(anext(tail)), asyncio.create_task(anext(changes))
        await store._link.command("FLUSHALL")
        valkey.kill()
        valkey.start()
        async with asyncio.timeout(10):
            with pytest.raises(StoreReset, match=r"newest entry of .*events is 0, but 5 was seen"):
                await waiting[0]
            assert (await waiting[1]).kind == "reset"
        await tail.aclose()
        await changes.aclose()


async def emit_for_ever(store: Store, acknowledged: list[int]) -> None:
    while True:
        acknowledged.append((await store.emit(note())).seq)


async def test_full_disk(short_dir):
    """With no room on the disk the store stops rather than acknowledge; all that it acknowledged is there afterwards."""
    server = Valkey(short_dir).start()
    try:
        async with opened(server.url, DOCK, settings=IMPATIENT) as store:
            acknowledged = [(await store.emit(note(0))).seq]
            server.limit_files(next(server.append_only_folder.glob("*.incr.aof")).stat().st_size + 5000)
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await emit_for_ever(store, acknowledged)
            server.wait()
            server.start()
            assert acknowledged[-1] > 5
            assert [event.seq for event in await store.events_after(0, 1000)] == acknowledged
            assert (await store.emit(note(-1))).seq == acknowledged[-1] + 1
    finally:
        server.stop()


async def test_full_disk_of_somebody_elses_store(short_dir):
    """A server that fsyncs once a second and has no room refuses writes as full, and goes on answering reads."""
    server = Valkey(short_dir, settings=EmbeddedSettings(fsync="everysec")).start()
    try:
        async with opened(server.url, DOCK, settings=IMPATIENT) as store:
            await store.emit(note(0))
            server.limit_files(next(server.append_only_folder.glob("*.incr.aof")).stat().st_size + 5000)
            with pytest.raises(StoreFull, match="cannot write to its disk"):
                await emit_for_ever(store, [])
            assert await store.cameras() == [DOCK]
    finally:
        server.stop()
