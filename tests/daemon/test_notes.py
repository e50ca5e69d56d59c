"""Notes in a worker: the real engine, a real Valkey, synthetic cameras; what is written, found again and cited."""

from __future__ import annotations

import asyncio
import io
import itertools
from dataclasses import replace

import msgspec
import pytest
from PIL import Image as Picture

from clients.messages import CameraSpec, Event
from daemon.cameras import BEHIND
from daemon.session import SessionSettings
from daemon.store import Draft, Store
from streaming.clock import SystemClock
from streaming.past import NoteSettings
from streaming.trigger import TriggerSettings
from tests.daemon.store.server import Valkey
from tests.daemon.test_worker import SETTINGS, Bench, model_dir, running, valkey  # noqa: F401  fixtures

MS = 1_000_000
NOTED = CameraSpec(id="yard", source="synthetic:yard", fps=2, notes=True)  # slow enough to leave idle steps
PLAIN = msgspec.structs.replace(NOTED, notes=False)
QUICK = replace(
    SETTINGS.roster,
    session=SessionSettings(
        notes=NoteSettings(min_s=0.5, max_s=1.0, max_tokens=4), trigger=TriggerSettings(cooldown_s=0.1)
    ),
)


async def notes(bench: Bench, count: int) -> list[Event]:
    """The next notes of the worker."""
    return [await bench.until(lambda event: event.kind == "note") for _ in range(count)]


def now_ms() -> int:
    return SystemClock().now_ns() // MS


def test_notes_are_written_with_their_frame_and_their_reason(valkey, model_dir):  # noqa: F811
    """Sentences at frames that were seen, each with its picture, its freshness and why; never closer than min_s."""

    async def main():
        async with running(valkey, model_dir, NOTED, roster=QUICK) as bench:
            began = now_ms()
            written = await notes(bench, 3)
            for note in written:
                assert note.camera == "yard"
                assert any(c.isalnum() for c in note.data["text"])
                assert "\n" not in note.data["text"]
                assert note.data["trigger"]["because"] in {"change", "schedule"}
                assert set(note.data["trigger"]) == {"rho", "z", "because"}
                assert began - 60_000 < note.data["frame_ts"] <= note.ts
                assert note.data["age_ms"] >= 0
                assert note.data["evidence"]["jpg"] == f"/v1/evidence/{note.id}.jpg"
                jpeg = (valkey.data_dir / "evidence" / f"{note.id}.jpg").read_bytes()
                assert Picture.open(io.BytesIO(jpeg)).format == "JPEG"
            stamps = [note.data["frame_ts"] for note in written]
            assert all(later - earlier >= 500 for earlier, later in itertools.pairwise(stamps))
            assert (await bench.store.notes("yard"))[:3] == written

    asyncio.run(main())


def past_note(text: str, ago_s: float) -> Draft:
    """A note as an earlier worker left it."""
    frame_ts = now_ms() - int(1000 * ago_s)
    return Draft("note", "yard", {"text": text, "frame_ts": frame_ts, "trigger": {"rho": 0.4, "z": 5.0}}, ts=frame_ts)


async def left(valkey: Valkey, *drafts: Draft) -> list[Event]:  # noqa: F811
    """What an earlier worker of the camera has left in the store."""
    async with await Store.connect(valkey.url, owner="test") as store:
        await store.put_camera(PLAIN)
        return [await store.emit(draft) for draft in drafts]


async def ask(bench: Bench, name: str, text: str) -> dict:
    """The answer; asked again while the camera has not shown anything yet."""
    for attempt in itertools.count():
        question = {"ask": f"{name}_{attempt}", "camera": "yard", "text": text, "max_tokens": 6, "asked_ts": now_ms()}
        await bench.store.put_ask(question)
        answer = await bench.answer(f"{name}_{attempt}")
        if answer["status"] != "unknown":
            return answer
    raise AssertionError("counting does not end")


def test_a_question_cites_the_notes_it_was_given_and_times_that_were(valkey, model_dir):  # noqa: F811
    """Notes of an earlier worker are found and cited as they are; what shares nothing is not; memory is cited as seen."""

    async def main():
        truck, cat = await left(
            valkey,
            past_note("A red truck parked at the gate.", 7200),
            past_note("A cat sleeps on the wall.", 3600),
        )
        async with running(valkey, model_dir) as bench:
            first_ts = now_ms() - 60_000
            answer = await ask(bench, "q_truck", "Where was the red truck?")
            *of_notes, memory = answer["citations"]
            assert of_notes == [
                {
                    "t0": truck.data["frame_ts"],
                    "t1": truck.data["frame_ts"],
                    "note": truck.id,
                    "text": "A red truck parked at the gate.",
                }
            ]
            assert first_ts < memory["t0"] <= memory["t1"] <= answer["frame_ts"]
            past = await ask(bench, "q_past", "What happened earlier?")
            assert [each["note"] for each in past["citations"] if "note" in each] == [truck.id, cat.id]
            present = await ask(bench, "q_now", "Is the lamp on?")
            assert [each for each in present["citations"] if "note" in each] == []

    asyncio.run(main())


def test_what_history_forgets_is_not_cited(valkey, model_dir):  # noqa: F811
    """Once the events are trimmed, their notes are no longer found."""

    async def main():
        await left(valkey, past_note("A red truck parked at the gate.", 7200))
        async with running(valkey, model_dir) as bench:
            before = await ask(bench, "q_before", "Where was the red truck?")
            assert [each["text"] for each in before["citations"] if "note" in each] == [
                "A red truck parked at the gate."
            ]
            await bench.store.trim(max_len=1, min_ts=0)
            await bench.store.emit(past_note("A cat sleeps.", 60))
            await bench.worker._sweep()
            answer = await ask(bench, "q_truck", "Where was the red truck?")
            assert [each for each in answer["citations"] if "note" in each] == []
            assert [event.data["text"] for event in await bench.store.notes("yard")] == ["A cat sleeps."]

    asyncio.run(main())


def test_notes_outlive_their_worker_and_may_be_switched(valkey, model_dir):  # noqa: F811
    """A second worker finds the first one's notes; notes begin with an update of the camera."""

    async def main():
        async with running(valkey, model_dir, NOTED, roster=QUICK) as bench:
            (first,) = await notes(bench, 1)
        async with running(valkey, model_dir, PLAIN, slot="w0", roster=QUICK) as bench:
            answer = await ask(bench, "q_past", "What happened earlier?")
            assert first.id in [each.get("note") for each in answer["citations"]]
            (newest,) = await bench.store.list_events(kind="note", limit=1)
            await bench.store.put_camera(NOTED)
            await bench.until(lambda event: event.kind == "note" and event.seq > newest.seq)

    asyncio.run(main())


@pytest.mark.parametrize("max_asks", [1, 2])
def test_questions_never_wait_for_notes(valkey, model_dir, max_asks):  # noqa: F811
    """With notes due all the time and one place for all, every question is answered and notes still come."""
    engine = replace(SETTINGS.engine, max_asks=max_asks)
    busy = replace(QUICK, session=SessionSettings(notes=NoteSettings(min_s=0.001, max_s=0.001, max_tokens=4)))

    async def main():
        async with running(valkey, model_dir, NOTED, roster=busy, engine=engine) as bench:
            await notes(bench, 1)
            for number in range(8):
                answer = await ask(bench, f"q_{number}", "What is there?")
                assert answer["status"] == "completed"
            await notes(bench, 1)

    asyncio.run(main())


def test_no_notes_pile_up_while_the_store_is_away(valkey, model_dir):  # noqa: F811
    """Each would hold a whole picture: a few wait, the rest is not written; they go on when the store is back."""
    busy = replace(QUICK, session=SessionSettings(notes=NoteSettings(min_s=0.001, max_s=0.001, max_tokens=1)))

    async def main():
        async with running(valkey, model_dir, msgspec.structs.replace(NOTED, fps=4), roster=busy) as bench:
            (before,) = await notes(bench, 1)
            await asyncio.to_thread(valkey.kill)
            steps = bench.worker._stepper.counters
            until = steps.steps + 40
            while steps.steps < until:
                await asyncio.sleep(0.05)  # between two looks at the steps
            assert 1 <= len(bench.worker._outbox) <= BEHIND + 2  # and what the camera itself may have said
            await asyncio.to_thread(valkey.start)
            after = await notes(bench, 2)
            assert after[-1].data["frame_ts"] > before.data["frame_ts"]

    asyncio.run(main())
