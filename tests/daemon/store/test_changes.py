"""daemon/store/changes.py and lossy.py: what is told, durably and not."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from daemon.store import Change, StoreRefused, StoreReset
from tests.daemon.store.opened import DOCK, PERSON, collect, note, opened, question


async def test_every_write_is_told(valkey):
    """Whoever takes the cursor first and reads everything then misses no change."""
    async with opened(valkey.url) as store:
        cursor = await store.newest_change()
        await store.put_camera(DOCK)
        await store.put_rule(PERSON)
        await store.put_ask(question("q_1"))
        await store.cancel_ask("q_1")
        await store.delete_rule("r_1")
        await store.remove_camera("dock")
        told = await collect(store.changes(cursor), 6)
        assert [(change.kind, change.id, change.camera) for change in told] == [
            ("camera", "dock", "dock"),
            ("rule", "r_1", "dock"),
            ("ask", "q_1", "dock"),
            ("ask.cancel", "q_1", "dock"),
            ("rule", "r_1", "dock"),
            ("camera", "dock", "dock"),
        ]


async def test_far_behind_reads_everything(valkey):
    """A follower for whom changes were trimmed away is told to read everything, then follows on."""
    async with opened(valkey.url, DOCK) as store:
        for n in range(1500):
            await store.put_camera(msgspec.structs.replace(DOCK, fps=1 + n % 9))
        told = await collect(store.changes("0"), 2)
        assert told[0] == Change("reset", "", "")
        assert told[1] == Change("camera", "dock", "dock")
        newest = int(await store.newest_change())
        assert newest == 1501
        assert await store._link.command("XLEN", "vigil:1:{v}:changes") < 1200


async def test_lossy_reaches_who_listens(valkey):
    """What is published reaches every listener of that moment, as the same bytes, and nobody else."""
    async with opened(valkey.url) as store:
        await store.publish(b"nobody hears this")
        listeners = [asyncio.create_task(collect(store.lossy(), 3)) for _ in range(2)]
        async with asyncio.timeout(5):
            while (await store._link.command("PUBSUB", "NUMSUB", "vigil:1:{v}:lossy"))[1] < 2:
                await asyncio.sleep(0.01)
        messages = [b"\x00\xff", b"second", b"x" * 300_000]
        for message in messages:
            await store.publish(message)
        assert await asyncio.gather(*listeners) == [messages, messages]


async def test_lossy_returns_with_the_store(valkey):
    """A listener is there again after the store was killed and returned."""
    async with opened(valkey.url) as store:
        heard = asyncio.create_task(collect(store.lossy(), 1))

        async def until_subscribed() -> None:
            while (await store._link.command("PUBSUB", "NUMSUB", "vigil:1:{v}:lossy"))[1] < 1:
                await asyncio.sleep(0.01)

        async with asyncio.timeout(10):
            await until_subscribed()
            valkey.kill()
            valkey.start()
            await until_subscribed()
            await store.publish(b"again")
            assert await heard == [b"again"]


async def test_closing_the_store_ends_its_iterators(valkey):
    """Iterators left open do not outlive the store they came from: they raise, and keep no connection."""
    async with opened(valkey.url) as store:
        waiting = [
            asyncio.create_task(anext(iterator)) for iterator in (store.lossy(), store.tail(0), store.changes("0"))
        ]
        async with asyncio.timeout(5):
            while len(await store._link.command("CLIENT", "LIST", "TYPE", "pubsub")) == 0 or len(store._twins) < 3:
                await asyncio.sleep(0.01)
        await store.aclose()
        done, _ = await asyncio.wait(waiting, timeout=5)
        assert [type(task.exception()) for task in done] == [StoreRefused] * 3
        assert store._twins == []
        with pytest.raises(StoreRefused, match="has been closed"):
            await store.ping()


async def test_a_store_emptied_under_a_follower_is_noticed(valkey):
    """FLUSHALL while it is reachable: a tail says so after one silent read, and changes tell "reset"."""
    async with opened(valkey.url, DOCK) as store:
        await store.emit(note(1))
        tail = store.tail(0)
        assert [event.seq for event in await anext(tail)] == [1]
        changes = store.changes(await store.newest_change())
        await store._link.command("FLUSHALL")
        with pytest.raises(StoreReset):
            await asyncio.wait_for(anext(tail), 10)
        assert (await asyncio.wait_for(anext(changes), 10)).kind == "reset"
        await changes.aclose()
