"""A store with cameras in it, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from clients.messages import CameraSpec, RuleSpec
from daemon.store import Draft, Lease, Store, StoreSettings
from tests.daemon.store.conftest import QUICK

DOCK = CameraSpec(id="dock", source="synthetic:yard")
GATE = CameraSpec(id="gate", source="rtsp://user:secret@camera/1")
PERSON = RuleSpec(id="r_1", camera="dock", ask="Is a person at the door?")


@contextlib.asynccontextmanager
async def opened(url: str, *cameras: CameraSpec, settings: StoreSettings = QUICK) -> AsyncIterator[Store]:
    async with await Store.connect(url, owner="test", settings=settings) as store:
        for camera in cameras:
            await store.put_camera(camera)
        yield store


async def lease_of(store: Store, camera: str, owner: str = "w0", ttl_ms: int = 60_000) -> Lease:
    lease = await store.acquire(camera, owner, ttl_ms)
    assert lease is not None
    return lease


def note(n: int = 0, camera: str = "dock", **fields: object) -> Draft:
    return Draft("note", camera, {"text": f"note {n}"}, ts=1000 + n, **fields)


def started(alert: str, rule: str = "r_1", camera: str = "dock", ts: int = 5000) -> Draft:
    return Draft("alert.started", camera, {"rule": rule, "alert": alert, "p": 0.9}, ts=ts)


def ended(alert: str, rule: str = "r_1", camera: str = "dock", ts: int = 9000) -> Draft:
    return Draft("alert.ended", camera, {"rule": rule, "alert": alert, "duration_s": 4.0}, ts=ts)


def question(ask: str, camera: str = "dock", asked_ts: int = 1) -> dict[str, object]:
    return {"ask": ask, "camera": camera, "text": "Where is the dög?", "max_tokens": 8, "asked_ts": asked_ts}


async def collect(source, count: int, within_s: float = 10.0) -> list:
    """The first `count` items of an async iterator of lists or items; fails when they do not come in time."""
    items: list = []
    async with asyncio.timeout(within_s), contextlib.aclosing(source):
        async for item in source:
            items += item if isinstance(item, list) else [item]
            if len(items) >= count:
                break
    return items
