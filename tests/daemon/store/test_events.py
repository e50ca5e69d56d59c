"""daemon/store/events.py and follow.py"""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.store import Draft, Fenced
from tests.daemon.store.opened import DOCK, GATE, collect, ended, lease_of, note, opened, question, started


async def test_seq_counts(valkey):
    """seq starts at 1 and goes up by one, and the event comes back as it was emitted."""
    async with opened(valkey.url, DOCK) as store:
        assert (await store.newest_seq(), await store.oldest_seq()) == (0, 1)
        drafts = [note(n) for n in range(5)]
        events = [await store.emit(draft) for draft in drafts]
        assert [event.seq for event in events] == [1, 2, 3, 4, 5]
        assert await store.events_after(0, 100) == events
        assert [event.id for event in events] == [draft.id for draft in drafts]
        assert (await store.newest_seq(), await store.oldest_seq()) == (5, 1)
        assert [event.seq for event in await store.events_after(2, 2)] == [3, 4]


async def test_same_dedup_is_one_event(valkey):
    """Emitting the same dedup again returns the first event and adds none, whatever else differs."""
    async with opened(valkey.url, DOCK) as store:
        first = await store.emit(note(1, dedup="door-opened"))
        again = await store.emit(note(2, dedup="door-opened"))
        assert (again.seq, again.id, again.ts) == (first.seq, first.id, first.ts)
        assert await store.newest_seq() == 1


async def test_same_draft_is_one_event(valkey):
    """Without a dedup of its own a draft is recognised by its id."""
    async with opened(valkey.url, DOCK) as store:
        draft = note()
        assert await store.emit(draft) == await store.emit(draft)
        assert await store.newest_seq() == 1


async def test_concurrent_emitters(valkey):
    """Many emitters at once, more than connections: every event once, no hole, each emitter's own order kept."""
    async with opened(valkey.url, DOCK) as store:

        async def emitter(who: int) -> list[int]:
            return [(await store.emit(note(n, dedup=f"{who}-{n}"))).seq for n in range(20)]

        per_emitter = await asyncio.gather(*(emitter(who) for who in range(40)))
        assert all(seqs == sorted(seqs) for seqs in per_emitter)
        assert sorted(itertools.chain(*per_emitter)) == list(range(1, 801))
        assert [event.seq for event in await store.events_after(0, 1000)] == list(range(1, 801))


async def test_stale_epoch_is_fenced(valkey):
    """Once another has acquired the camera, the earlier owner can emit nothing more."""
    async with opened(valkey.url, DOCK) as store:
        old = await lease_of(store, "dock")
        await store.emit(note(1), old)
        new = await lease_of(store, "dock")
        with pytest.raises(Fenced, match="lease on camera 'dock' is over; epoch 2 holds") as caught:
            await store.emit(note(2), old)
        assert (caught.value.camera, caught.value.epoch) == ("dock", 2)
        assert (await store.emit(note(3), new)).seq == 2


async def test_what_an_event_implies(valkey):
    """Camera state, open alerts and pending asks change with the event that says so."""
    async with opened(valkey.url, DOCK) as store:
        lease = await lease_of(store, "dock")
        state = {"state": "stale", "reason": "no frame for 5 s", "last_frame_ts": 77}
        await store.emit(Draft("camera.state", "dock", state, ts=80), lease)
        assert await store.camera_states() == {"dock": {**state, "ts": 80}}

        await store.emit(started("a_1", ts=100), lease)
        await store.emit(started("a_2", ts=90), lease)
        assert [(alert["alert"], alert["ts"]) for alert in await store.open_alerts("dock")] == [
            ("a_2", 90),
            ("a_1", 100),
        ]
        await store.emit(ended("a_2"), lease)
        assert [alert["alert"] for alert in await store.open_alerts("dock")] == ["a_1"]

        await store.put_ask(question("q_1"))
        await store.emit(Draft("answer", "dock", {"ask": "q_1", "text": "no", "status": "completed"}, ts=3), lease)
        assert await store.pending_asks("dock") == []


async def test_fenced_events_imply_nothing(valkey):
    """A fenced event leaves no trace in the state either."""
    async with opened(valkey.url, DOCK) as store:
        old = await lease_of(store, "dock")
        await lease_of(store, "dock")
        with pytest.raises(Fenced):
            await store.emit(started("a_1"), old)
        assert await store.open_alerts("dock") == []
        assert await store.newest_seq() == 0


async def test_an_alert_ends_once(valkey):
    """Two different drafts that end the same alert are one event; so are two answers to one ask."""
    async with opened(valkey.url, DOCK) as store:
        await store.emit(started("a_1"))
        assert (await store.emit(ended("a_1"))).seq == (await store.emit(ended("a_1", ts=9999))).seq == 2
        answers = [Draft("answer", "dock", {"ask": "q_1", "text": text, "status": "completed"}, ts=1) for text in "ab"]
        assert [(await store.emit(answer)).seq for answer in answers] == [3, 3]


async def test_history(valkey):
    """list_events filters, and pages through more than one round trip in either direction."""
    async with opened(valkey.url, DOCK, GATE) as store:
        await asyncio.gather(*(store.emit(note(n, "gate" if n % 400 == 7 else "dock")) for n in range(1300)))
        every = await store.events_after(0, 2000)
        gate = [event for event in every if event.camera == "gate"]
        assert len(gate) == 4
        assert await store.list_events() == every[-100:]
        assert await store.list_events(after=0) == every[:100]
        assert await store.list_events(after=5, before=8) == every[5:7]
        assert await store.list_events(before=8, limit=3) == every[4:7]
        assert await store.list_events(camera="gate") == gate
        assert await store.list_events(camera="gate", limit=2) == gate[-2:]
        assert await store.list_events(camera="gate", after=0, limit=2) == gate[:2]
        assert await store.list_events(kind="answer") == []
        assert await store.list_events(after=5000) == []


async def test_tail_follows(valkey):
    """The tail gives what is there and then what comes, in order, exactly once."""
    async with opened(valkey.url, DOCK) as store:
        for n in range(3):
            await store.emit(note(n))
        tail = asyncio.create_task(collect(store.tail(1), 1200))
        for n in range(1200):
            await store.emit(note(n))
        assert [event.seq for event in await tail][:1200] == list(range(2, 1202))


async def test_idle_tail_ends_with_its_task(valkey):
    """A tail that waits for nothing is cancelled at once and leaves no connection behind."""
    async with opened(valkey.url, DOCK) as store:
        tail = asyncio.create_task(collect(store.tail(0), 1))
        await store.emit(note())
        await tail
        waiting = asyncio.create_task(anext(aiter(store.tail(1))))
        while not store._twins:
            await asyncio.sleep(0)
        waiting.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert store._twins == []


async def test_trim_by_length(valkey):
    """The newest max_len stay, the counter goes on, and trimming again removes nothing."""
    async with opened(valkey.url, DOCK) as store:
        for n in range(50):
            await store.emit(note(n))
        assert await store.trim(max_len=10, min_ts=0) == 40
        assert (await store.oldest_seq(), await store.newest_seq()) == (41, 50)
        assert await store.trim(max_len=10, min_ts=0) == 0
        assert await store.trim(max_len=0, min_ts=0) == 10
        assert (await store.oldest_seq(), await store.newest_seq()) == (51, 50)
        assert (await store.emit(note(99))).seq == 51


async def test_trim_in_steps(valkey):
    """More than one call's worth is trimmed in several calls, so that the server never stands still for long."""
    async with opened(valkey.url, DOCK) as store:
        await asyncio.gather(*(store.emit(note(n)) for n in range(1000)))
        # 25,000 more, written as the Function writes them, in one command.
        script = """
            for seq = 1001, 26000 do
              redis.call('XADD', KEYS[1], seq .. '-0', 'id', 'e_' .. seq, 'kind', 'note', 'camera', 'dock', 'ts', 2000 + seq,
                         'data', '{}')
            end
            redis.call('SET', KEYS[2], 26000)"""
        await store._link.command("EVAL", script, 2, "vigil:1:{v}:events", "vigil:1:{v}:seq")
        assert await store.trim(max_len=100_000, min_ts=2000 + 25_991) == 25_990
        assert await store.oldest_seq() == 25_991


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ages=st.lists(st.integers(0, 30), max_size=30),
    trims=st.lists(st.tuples(st.integers(0, 35), st.integers(0, 300)), max_size=3),
)
def test_trim_equals_the_plain_rule(valkey, ages, trims):
    """Trimming leaves exactly what filtering the list by age and length would leave, and never a hole."""
    times = [sum(ages[: n + 1]) for n in range(len(ages))]

    async def compare() -> None:
        async with opened(valkey.url) as store:
            await store._link.command("FLUSHALL")
            for ts in times:
                await store.emit(Draft("note", "dock", {}, ts=ts))
            expected = list(enumerate(times, start=1))
            for max_len, min_ts in trims:
                expected = [(seq, ts) for seq, ts in expected if seq > len(times) - max_len and ts >= min_ts]
                await store.trim(max_len, min_ts)
                assert [(event.seq, event.ts) for event in await store.events_after(0, 100)] == expected

    asyncio.run(compare())


async def test_an_age_out_of_order_harms_nothing(valkey):
    """When a clock was set back, trimming cuts somewhere in the doubtful stretch, and not behind or before it."""
    async with opened(valkey.url, DOCK) as store:
        for ts in [10, 20, 30, 5, 15, 40, 50]:
            await store.emit(Draft("note", "dock", {}, ts=ts))
        await store.trim(max_len=100, min_ts=25)
        assert await store.oldest_seq() in {3, 6}


async def test_text_of_all_kinds(valkey):
    """Any Unicode text and any nesting of JSON comes back equal."""
    data = {"text": "ä €\u0000 \U0001f600 \"'\\", "citations": [], "none": None, "deep": {"list": [1, 2.5, [True]]}}
    async with opened(valkey.url, DOCK) as store:
        await store.emit(Draft("note", "dock", data, ts=1))
        assert (await store.events_after(0, 1))[0].data == data
        with contextlib.suppress(StopAsyncIteration):
            assert (await collect(store.tail(0), 1))[0].data == data
