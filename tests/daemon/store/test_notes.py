"""A camera's notes, found without a walk through all events."""

from __future__ import annotations

import pytest

from daemon.store import Fenced
from daemon.store import events as module
from tests.daemon.store.opened import DOCK, GATE, lease_of, note, opened


def texts(events) -> list[str]:
    return [event.data["text"] for event in events]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9, 10, 11])
async def test_a_cameras_notes_come_back_as_events(valkey, monkeypatch, count):
    """Oldest first, its own alone, equal to what was emitted, whatever the pages."""
    monkeypatch.setattr(module, "NOTES_PAGE", 5)

    async with opened(valkey.url, DOCK, GATE) as store:
        emitted = []
        for n in range(count):
            emitted.append(await store.emit(note(n)))
            await store.emit(note(n, "gate"))
        assert await store.notes("dock") == emitted


async def test_a_repeated_emission_is_listed_once(valkey):
    """As in the stream."""
    async with opened(valkey.url, DOCK) as store:
        draft = note(1)
        await store.emit(draft)
        await store.emit(draft)
        assert texts(await store.notes("dock")) == ["note 1"]


async def test_trimmed_notes_are_gone(valkey):
    """What history no longer holds is not listed, though the list still names it."""
    async with opened(valkey.url, DOCK) as store:
        for n in range(6):
            await store.emit(note(n))
        await store.trim(max_len=2, min_ts=0)
        assert texts(await store.notes("dock")) == ["note 4", "note 5"]


async def test_the_list_is_bounded(valkey):
    """It names the newest 5,000; older ones stay in history."""
    async with opened(valkey.url, DOCK) as store:
        await store._link.command("RPUSH", "vigil:1:{v}:notes:dock", *range(10**6, 10**6 + 5000))
        await store.emit(note(1))
        assert await store._link.command("LLEN", "vigil:1:{v}:notes:dock") == 5000
        assert texts(await store.notes("dock")) == ["note 1"]


async def test_a_camera_added_anew_begins_anew(valkey):
    """Removal forgets the list and fences the worker; history still shows the notes."""
    async with opened(valkey.url, DOCK) as store:
        lease = await lease_of(store, "dock")
        await store.emit(note(1), lease)
        await store.remove_camera("dock")
        with pytest.raises(Fenced):
            await store.emit(note(2), lease)
        await store.emit(note(3))  # nobody's camera: an event, but no memory of one
        await store.put_camera(DOCK)
        assert await store.notes("dock") == []
        assert texts(await store.list_events(kind="note")) == ["note 1", "note 3"]
