"""daemon/store/states.py, workers.py and tokens.py: what is known now."""

from __future__ import annotations

import asyncio

from daemon.store import Token
from tests.daemon.store.opened import DOCK, GATE, opened


async def test_counters(valkey):
    """The latest counters of a camera replace the earlier; those of unknown cameras are not kept."""
    async with opened(valkey.url, DOCK, GATE) as store:
        assert await store.counters("dock") is None
        await store.set_counters("dock", {"seen": 1})
        await store.set_all_counters({"dock": {"seen": 2}, "gate": {"seen": 5}, "yard": {"seen": 9}})
        assert await store.counters("dock") == {"seen": 2}
        assert await store.all_counters() == {"dock": {"seen": 2}, "gate": {"seen": 5}}
        assert await store.counters("dock", max_age_ms=-1) is None
        assert await store.all_counters(max_age_ms=-1) == {}
        await store.set_all_counters({})


async def test_workers_are_forgotten(valkey):
    """A worker is known for its ttl, and forgotten for good with the next heartbeat of any other."""
    async with opened(valkey.url) as store:
        await store.heartbeat("w0", {"pid": 1}, ttl_ms=60_000)
        await store.heartbeat("w1", {"pid": 2}, ttl_ms=30)
        assert set(await store.workers()) <= {"w0", "w1"}
        async with asyncio.timeout(5):
            while "w1" in await store.workers():
                await asyncio.sleep(0.01)
        assert await store.workers() == {"w0": {"pid": 1}}
        await store.heartbeat("w0", {"pid": 3}, ttl_ms=60_000)
        assert await store._link.command("HLEN", "vigil:1:{v}:workers") == 1
        assert await store.workers() == {"w0": {"pid": 3}}


async def test_tokens(valkey):
    """Tokens are kept by hash, listed by name, removed once."""
    async with opened(valkey.url) as store:
        await store.put_token("h2", "viewer", "wall")
        await store.put_token("h1", "admin", "ann")
        assert await store.tokens() == [Token("h1", "admin", "ann"), Token("h2", "viewer", "wall")]
        assert await store.remove_token("h1")
        assert not await store.remove_token("h1")
        assert await store.tokens() == [Token("h2", "viewer", "wall")]
