"""kill -9 of the store, and damage to its files, under load."""

from __future__ import annotations

import asyncio
import random

import pytest

from daemon.store import Draft, Store, StoreReset, StoreUnavailable
from daemon.store.embedded import why_not
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
                async with enough:
                    await enough.wait_for(lambda: len(acknowledged) >= total * (kill + 0.5) / (KILLS + 1))
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
    async with opened(valkey.url, DOCK) as store:
        draft = note()
        valkey.kill()
        impatient = await _impatient(store)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await impatient
        valkey.start()
        assert (await store.emit(draft)).seq == 1


async def _impatient(store: Store):
    async def emit():
        object.__setattr__(store._link.settings, "patience_s", 0.2)
        return await store.emit(note())

    return emit()


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
    data = bytearray(log.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"?" * 40
    log.write_bytes(data)
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
            with pytest.raises(StoreReset, match="newest entry of .*events is 0, but 5 was seen"):
                await waiting[0]
            assert (await waiting[1]).kind == "reset"
        await tail.aclose()
        await changes.aclose()


async def test_full_disk_of_the_store(short_dir):
    """A server that cannot write its append-only file is full, not broken: reads go on."""
    server = Valkey(short_dir, "--appendfsync", "everysec").start()
    try:
        async with opened(server.url, DOCK) as store:
            await store.emit(note(1))
            # The fault itself: the file-size limit of the process, as a full disk would fail its write(2).
            import resource

            resource.prlimit(server._process.pid, resource.RLIMIT_FSIZE, (1, 1))
            with pytest.raises(Exception) as caught:
                for n in range(200):
                    await store.emit(note(n))
            print(repr(caught.value))
    finally:
        server.stop()
