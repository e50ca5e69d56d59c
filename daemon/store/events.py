"""The durable event stream: emitted through one function, read by cursor, followed live, trimmed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from clients.messages import Event

from .codec import pack, unpack
from .follow import entries_after
from .keys import EVENTS, SEQ
from .leases import Lease
from .link import Link
from .verdict import judged

PAGE: Final = 500  # events a round trip while history is searched
TAIL_PAGE: Final = 500
NOTES_PAGE: Final = 500


def new_event_id() -> str:
    return f"e_{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An event before it has a seq.

    data: the wire fields of its kind. ts: Unix epoch ms. dedup: emitting two drafts of the same `dedup` within dedup_ms
    is one event; empty is `id`, so that emitting the same draft again is always safe. An `alert.ended` is one event per
    alert and an `answer` one per ask, whatever their `dedup`.
    """

    kind: str
    camera: str | None
    data: dict[str, Any]
    ts: int
    dedup: str = ""
    id: str = field(default_factory=new_event_id)


class Events:
    """Part of Store."""

    _link: Link
    _twins: list[Link]
    dedup_ms: int

    async def emit(self, draft: Draft, lease: Lease | None = None) -> Event:
        """
        Append the event; what it implies (camera state, open alert, answered ask) changes in the same step.

        Returns: the event in the stream; of a repeated emission the first one. Cancelled or failed, it may or may not
            have been appended: emit the same draft again.
        Raises: Fenced: the lease is over. StoreUnavailable, StoreFull: emit the same draft again, later.
        """
        subject, latest = _implied(draft)
        words = await self._link.call(
            "emit",
            draft.camera or "",
            "" if lease is None else lease.epoch,
            _request(draft),
            self.dedup_ms,
            draft.id,
            draft.kind,
            draft.ts,
            pack(draft.data),
            subject,
            latest,
        )
        seq, event_id, ts = judged(words, camera=draft.camera or "")
        return Event(int(seq), event_id, draft.kind, draft.camera, int(ts), draft.data)

    async def newest_seq(self) -> int:
        """The seq of the newest event ever emitted, 0 before the first."""
        return int(await self._link.command("GET", SEQ) or 0)

    async def oldest_seq(self) -> int:
        """The oldest event still held; newest_seq() + 1 when none is."""
        first = await self._link.command("XRANGE", EVENTS, "-", "+", "COUNT", 1)
        return _seq(first[0][0]) if first else await self.newest_seq() + 1

    async def events_after(self, seq: int, limit: int) -> list[Event]:
        """Events with a greater seq, oldest first, at most `limit`."""
        entries = await self._link.command("XRANGE", EVENTS, max(0, seq) + 1, "+", "COUNT", limit)
        return [as_event(entry) for entry in entries]

    async def list_events(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        camera: str | None = None,
        kind: str | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """
        History, oldest first, of events with after < seq < before that match.

        Without `after` the newest `limit` of them, else the first `limit` behind it. Reads PAGE events a round trip
        until it has found enough, so a rare camera costs a walk through the history, never a long command.
        """
        newest_first = after is None
        low = max(0, after or 0) + 1
        high = await self.newest_seq() if before is None else before - 1
        found: list[Event] = []
        while low <= high and len(found) < limit:
            if newest_first:
                page = await self._link.command("XREVRANGE", EVENTS, high, low, "COUNT", PAGE)
            else:
                page = await self._link.command("XRANGE", EVENTS, low, high, "COUNT", PAGE)
            events = [as_event(entry) for entry in page]
            found += (event for event in events if camera in {None, event.camera} and kind in {None, event.kind})
            if len(page) < PAGE:
                break
            low, high = (low, events[-1].seq - 1) if newest_first else (events[-1].seq + 1, high)
        return found[:limit][::-1] if newest_first else found[:limit]

    async def notes(self, camera: str) -> list[Event]:
        """
        The camera's newest notes that are still held, oldest first, as many as the store lists (5,000).

        Those of a removed camera are not listed any more, though history shows them: who adds it anew begins anew.
        """
        found: list[Event] = []
        last, full = -1, True
        while full:  # page by page from the newest
            words = judged(await self._link.call("notes", camera, last - NOTES_PAGE + 1, last))
            full, last = int(words[0]) == NOTES_PAGE, last - NOTES_PAGE
            found[:0] = [
                Event(int(seq), event, "note", camera, int(ts), unpack(data))
                for seq, event, ts, data in zip(*(words[i::4] for i in range(1, 5)), strict=True)
            ]
        return found

    async def tail(self, after: int) -> AsyncIterator[list[Event]]:
        """
        Every event with a greater seq, in order, exactly once, for ever; in lists of at most TAIL_PAGE as they come.

        Uses a connection of its own and outlives restarts of the store. What was trimmed meanwhile is a hole in the
        seqs. Raises: StoreReset: the store's newest event is older than one already seen.
        """
        link = self._link.twin()
        self._twins.append(link)
        try:
            async for page in entries_after(link, EVENTS, SEQ, after, TAIL_PAGE):
                yield [as_event(entry) for entry in page]
        finally:
            self._twins.remove(link)
            await link.aclose()

    async def trim(self, max_len: int, min_ts: int) -> int:
        """
        Forget all but the newest `max_len` events, and those older than `min_ts` (Unix epoch ms), on a full store too.

        Returns: how many were forgotten.
        """
        forgotten = 0
        more = True
        while more:
            removed, _oldest, again = judged(await self._link.call("trim", max_len, min_ts))
            forgotten += int(removed)
            more = again == "1"
        return forgotten


def as_event(entry: Sequence[Any]) -> Event:
    """The event in a stream entry [id, [field, value, …]]."""
    words = entry[1]
    fields = {words[i]: words[i + 1] for i in range(0, len(words), 2)}
    return Event(
        seq=_seq(entry[0]),
        id=str(fields[b"id"], "utf-8"),
        kind=str(fields[b"kind"], "utf-8"),
        camera=str(fields[b"camera"], "utf-8") or None,
        ts=int(fields[b"ts"]),
        data=unpack(fields[b"data"]),
    )


def _seq(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _request(draft: Draft) -> str:
    """What makes two emissions the same one."""
    match draft.kind:
        case "alert.ended":
            return f"ended:{draft.data['alert']}"  # also written by functions.lua
        case "answer":
            return f"answer:{draft.data['ask']}"  # also written by functions.lua
    return f"event:{draft.dedup or draft.id}"


def _implied(draft: Draft) -> tuple[str, bytes]:
    """The alert or ask that the event speaks of, and the latest state or open alert to keep."""
    latest = draft.data | {"ts": draft.ts}
    match draft.kind:
        case "camera.state":
            return "", pack(latest)
        case "alert.started":
            return draft.data["alert"], pack(latest)
        case "alert.ended":
            return draft.data["alert"], b""
        case "answer":
            return draft.data["ask"], b""
    return "", b""
