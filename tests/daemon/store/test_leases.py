"""daemon/store/leases.py"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from daemon.store import Fenced, Lease, NotFound
from tests.daemon.store.opened import DOCK, GATE, lease_of, note, opened


async def test_one_owner(valkey):
    """While one holds the lease no other gets it; the same owner takes it over at once, under a new epoch."""
    async with opened(valkey.url, DOCK) as store:
        assert await store.acquire("dock", "w0", 60_000) == Lease("dock", "w0", 1, 60_000)
        assert await store.acquire("dock", "w1", 60_000) is None
        assert await store.holder("dock") == "w0"
        assert await store.acquire("dock", "w0", 60_000) == Lease("dock", "w0", 2, 60_000)


async def test_many_want_it(valkey):
    """Of many workers that ask at once exactly one gets the camera."""
    async with opened(valkey.url, DOCK) as store:
        leases = await asyncio.gather(*(store.acquire("dock", f"w{n}", 60_000) for n in range(30)))
        assert sum(lease is not None for lease in leases) == 1


async def test_a_lease_runs_out(valkey):
    """After its ttl another may take the camera, and the first owner is told when it renews."""
    async with opened(valkey.url, DOCK) as store:
        old = await lease_of(store, "dock", ttl_ms=50)
        async with asyncio.timeout(5):
            while (new := await store.acquire("dock", "w1", 60_000)) is None:
                await asyncio.sleep(0.01)
        assert new.epoch == old.epoch + 1
        assert not await store.renew(old)
        assert await store.renew(new)


async def test_untaken_is_still_held(valkey):
    """A lease that ran out while nobody wanted the camera is renewed without a new epoch: a stalled store costs none."""
    async with opened(valkey.url, DOCK) as store:
        lease = await lease_of(store, "dock", ttl_ms=1)
        async with asyncio.timeout(5):
            while await store.holder("dock") is not None:
                await asyncio.sleep(0.01)
        await store.emit(note(), lease)
        assert await store.renew(dataclasses.replace(lease, ttl_ms=60_000))
        assert await store.holder("dock") == "w0"


async def test_renew_many(valkey):
    """Many leases are renewed in one call, which names those that are over."""
    async with opened(valkey.url, DOCK, GATE) as store:
        dock, gate = await lease_of(store, "dock"), await lease_of(store, "gate")
        await lease_of(store, "gate")
        assert await store.renew_all([dock, gate]) == {"gate"}
        assert await store.renew_all([]) == set()


async def test_released_is_over(valkey):
    """After release another gets the camera at once, and the old lease is fenced; a second release harms nobody."""
    async with opened(valkey.url, DOCK) as store:
        old = await lease_of(store, "dock")
        await store.release(old)
        with pytest.raises(Fenced):
            await store.emit(note(), old)
        new = await lease_of(store, "dock", "w1")
        await store.release(old)
        assert await store.holder("dock") == "w1"
        assert await store.renew(new)


async def test_no_such_camera(valkey):
    """There is no lease on a camera that is not there."""
    async with opened(valkey.url) as store:
        with pytest.raises(NotFound, match="no camera 'dock'"):
            await store.acquire("dock", "w0", 1000)
