"""
Durable events on their way to the store: in order, across store outages, bounded.

Every emission keeps its dedup key, so that a retry after a lost reply is not a second event. Past the bound the oldest
are given up, and what was given up is announced as a `gap` of its camera when the store is back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from clients.messages import Event
from streaming.types import Image

from .session import Emission
from .store import Draft, Fenced, Lease, StoreError, StoreFull

log = structlog.get_logger(__name__)


class Emitter(Protocol):
    """The part of the store that the outbox needs."""

    async def emit(self, draft: Draft, lease: Lease | None) -> Event: ...


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """max_events: emissions held while the store is away. retry_min_s, retry_max_s: pause between tries, doubling."""

    max_events: int = 10_000
    retry_min_s: float = 0.1
    retry_max_s: float = 2.0


@dataclass(frozen=True, slots=True)
class _Item:
    emission: Emission
    lease: Lease


@dataclass(slots=True)
class _Lost:
    first_ts: int
    last_ts: int
    events: int
    lease: Lease


class Outbox:
    """
    save_evidence: writes a picture as JPEG and returns its wire path; blocking, run in a thread.
    on_delivered: called with each emission that the store has acknowledged.
    on_fenced: called with the lease that another worker has taken over; its emissions are discarded.
    make_room: called before an emission is tried again on a full store; may raise StoreError.
    """

    def __init__(
        self,
        store: Emitter,
        *,
        settings: OutboxSettings,
        save_evidence: Callable[[str, Image], str],
        on_delivered: Callable[[Emission, Event], None],
        on_fenced: Callable[[Lease], None],
        make_room: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._save_evidence = save_evidence
        self._on_delivered = on_delivered
        self._on_fenced = on_fenced
        self._make_room = make_room
        self._items: deque[_Item] = deque()
        self._lost: dict[str, _Lost] = {}
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.delivered = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, emission: Emission, lease: Lease) -> None:
        """Queue an emission under the lease of its camera; never blocks."""
        if len(self._items) >= self._settings.max_events:
            self._give_up(self._items.popleft())
        self._items.append(_Item(emission, lease))
        self._empty.clear()
        self._filled.set()

    async def flushed(self) -> None:
        """Return once everything queued has been delivered or discarded."""
        await self._empty.wait()

    async def run(self) -> None:
        """Deliver for ever; cancel to stop. An emission being delivered is not lost by the cancellation."""
        while True:
            await self._filled.wait()
            while self._items:
                item = self._items[0]
                await self._deliver(item)
                if self._items and self._items[0] is item:  # put() may have given it up meanwhile
                    self._items.popleft()
            self._filled.clear()
            self._empty.set()

    async def _deliver(self, item: _Item) -> None:
        draft = item.emission.draft
        if item.emission.evidence is not None:
            draft = await self._with_evidence(draft, item.emission.evidence)
        event = await self._emit(draft, item.lease)
        if event is not None:
            self.delivered += 1
            self._on_delivered(item.emission, event)
        lost = self._lost.pop(item.lease.camera, None)
        if lost is not None:
            await self._emit(_gap_for(lost), lost.lease)

    async def _with_evidence(self, draft: Draft, image: Image) -> Draft:
        try:
            path = await asyncio.to_thread(self._save_evidence, draft.id, image)
        except OSError as error:  # a full disk must not hold back the alert
            log.warning("evidence.failed", event_id=draft.id, reason=str(error))
            return draft
        return replace(draft, data=draft.data | {"evidence": {"jpg": path}})

    async def _emit(self, draft: Draft, lease: Lease) -> Event | None:
        """Emit until the store answers; None when another worker owns the camera by now."""
        pause_s = self._settings.retry_min_s
        while True:
            try:
                return await self._store.emit(draft, lease)
            except Fenced:
                log.warning("emit.fenced", camera=lease.camera, epoch=lease.epoch, kind=draft.kind)
                self._on_fenced(lease)
                return None
            except StoreError as error:
                log.warning("emit.retry", kind=draft.kind, waiting=len(self._items), reason=str(error))
                if isinstance(error, StoreFull):
                    await self._try_to_make_room()
            await asyncio.sleep(pause_s)
            pause_s = min(self._settings.retry_max_s, 2 * pause_s)

    async def _try_to_make_room(self) -> None:
        try:
            await self._make_room()
        except StoreError as error:
            log.warning("emit.no_room", reason=str(error))

    def _give_up(self, item: _Item) -> None:
        draft = item.emission.draft
        lost = self._lost.setdefault(item.lease.camera, _Lost(draft.ts, draft.ts, 0, item.lease))
        lost.last_ts, lost.events, lost.lease = draft.ts, lost.events + 1, item.lease


def _gap_for(lost: _Lost) -> Draft:
    data = {"from": lost.first_ts, "to": lost.last_ts, "reason": "overload", "events": lost.events}
    dedup = f"gap:{lost.lease.camera}:{lost.lease.epoch}:{lost.first_ts}"
    return Draft(kind="gap", camera=lost.lease.camera, data=data, dedup=dedup, ts=lost.last_ts)
