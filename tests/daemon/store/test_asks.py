"""daemon/store/asks.py"""

from __future__ import annotations

import dataclasses

import pytest

from daemon.store import Draft, LimitReached, NotFound
from tests.daemon.store.conftest import QUICK
from tests.daemon.store.opened import DOCK, GATE, opened, question


async def test_pending_until_answered(valkey):
    """An ask waits, in the order of asking, until its answer is emitted."""
    async with opened(valkey.url, DOCK) as store:
        second, first = question("q_2", asked_ts=20), question("q_1", asked_ts=10)
        await store.put_ask(second)
        await store.put_ask(first)
        assert await store.pending_asks("dock") == [first | {"cancelled": False}, second | {"cancelled": False}]
        await store.emit(Draft("answer", "dock", {"ask": "q_1", "text": "", "status": "unknown"}, ts=1))
        assert [ask["ask"] for ask in await store.pending_asks("dock")] == ["q_2"]


async def test_cancelled_until_answered(valkey):
    """A cancelled ask is marked for a worker that has not heard of it, and told once to one that has."""
    async with opened(valkey.url, DOCK) as store:
        await store.put_ask(question("q_1"))
        await store.cancel_ask("q_1")
        await store.cancel_ask("q_1")
        assert [ask["cancelled"] for ask in await store.pending_asks("dock")] == [True]
        assert await store.newest_change() == "3"  # camera, ask, ask.cancel
        await store.emit(Draft("answer", "dock", {"ask": "q_1", "text": "", "status": "cancelled"}, ts=1))
        with pytest.raises(NotFound, match="no ask 'q_1'"):
            await store.cancel_ask("q_1")


async def test_bounded(valkey):
    """Asks are bounded per camera and in all; an answer makes room; an unknown camera takes none."""
    settings = dataclasses.replace(QUICK, max_asks_per_camera=2, max_asks=3)
    async with opened(valkey.url, DOCK, GATE, settings=settings) as store:
        await store.put_ask(question("q_1"))
        await store.put_ask(question("q_2"))
        with pytest.raises(LimitReached, match="this camera has 2 questions waiting already"):
            await store.put_ask(question("q_3"))
        await store.put_ask(question("q_4", "gate"))
        with pytest.raises(LimitReached, match="the daemon has 3 questions waiting") as caught:
            await store.put_ask(question("q_5", "gate"))
        assert (caught.value.scope, caught.value.limit) == ("daemon", 3)
        await store.emit(Draft("answer", "dock", {"ask": "q_1", "text": "", "status": "unknown"}, ts=1))
        await store.put_ask(question("q_5", "gate"))
        with pytest.raises(NotFound, match="no camera 'yard'"):
            await store.put_ask(question("q_6", "yard"))
