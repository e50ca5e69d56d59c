"""
The healthy neighbour: a camera that is watched and a client that listens while a test does harm to the same daemon.

It runs on a thread of its own, so that it listens through whatever the tests do, and tells afterwards what it suffered.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .daemon import Daemon
from .wire_client import Message, wire_client

CAMERA = "neighbour"
PATIENCE_S = 30.0
FRESH_S = 3.0  # `stats` come each second


class Neighbour:
    """Hears every durable event of the daemon, and the `stats` of its own camera."""

    def __init__(self, daemon: Daemon) -> None:
        self.events: list[Message] = []
        self._daemon = daemon
        self._frames = 0
        self._rose_s = 0.0  # when their count last rose, on the monotonic clock
        self._news = threading.Condition()
        self._over: str | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),), name="neighbour")
        self._stop = asyncio.Event()
        self._processes: dict[str, int] = {}

    def until(self, **wanted: Any) -> Message:
        """The first event, past or to come, with these fields."""
        with self._news:
            found: list[Message] = []

            def there() -> bool:
                found.extend(event for event in self.events if wanted.items() <= event.items())
                return bool(found) or self._over is not None

            heard = self._news.wait_for(there, PATIENCE_S)
            assert heard, f"no event {wanted} within {PATIENCE_S:g} s, but {self._of(wanted)}"
            assert found, self._over
            return found[0]

    def _of(self, wanted: dict[str, Any]) -> list[Message]:
        """What was heard of the same camera instead."""
        return [event for event in self.events if event.get("camera") == wanted.get("camera")]

    def check(self) -> None:
        """Nothing has happened to it: frames flow, no event was missed or repeated, and no process was restarted."""
        with self._news:
            fresh = self._news.wait_for(lambda: self._over or time.monotonic() - self._rose_s < FRESH_S, PATIENCE_S)
            events = list(self.events)
        assert self._over is None, self._over
        assert fresh, f"the neighbour's camera has given no frame for {PATIENCE_S:g} s"
        seqs = [event["seq"] for event in events]
        assert seqs == list(range(1, len(seqs) + 1)), "the neighbour's client missed or repeated an event"
        own = [event for event in events if event.get("camera") == CAMERA]
        assert [event["state"] for event in own] == ["connecting", "live"][-len(own) :], own
        assert self._running() == self._processes, "a process of the daemon was restarted"
        assert "Traceback" not in self._daemon.log()

    def begin(self) -> None:
        """Add the camera and return once its frames flow."""
        self._thread.start()
        self.until(camera=CAMERA, state="live")
        with self._news:
            assert self._news.wait_for(lambda: self._frames > 0, PATIENCE_S)
        self._processes = self._running()
        assert self._processes.keys() == {"store", "worker", "gateway"}

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _running(self) -> dict[str, int]:
        return {role: process.pid for role, process in self._daemon.children().items()}

    async def _live(self) -> None:
        try:
            async with wire_client(self._daemon.url, form="msgpack") as client:
                topics = ["alert", "note", "camera", "answer", "gap", "stats"]
                await client.request("subscribe", topics=topics, cameras="*", after=0)
                await client.request("camera.add", camera={"id": CAMERA, "source": "synthetic:yard", "fps": 4})
                stopping = asyncio.ensure_future(self._stop.wait())
                listening = asyncio.ensure_future(self._listen(client.pushed))
                await asyncio.wait({stopping, listening}, return_when=asyncio.FIRST_COMPLETED)
                for task in (stopping, listening):
                    task.cancel()
                await asyncio.wait({stopping, listening})
                if not listening.cancelled():
                    listening.result()
        finally:
            with self._news:
                self._over = "the neighbour's connection is over"
                self._news.notify_all()

    async def _listen(self, pushed: asyncio.Queue[Message]) -> None:
        while (message := await pushed.get())["type"] != "closed":
            with self._news:
                if message["type"] == "stats" and message["camera"] == CAMERA and message["frames"] > self._frames:
                    self._frames, self._rose_s = message["frames"], time.monotonic()
                elif "seq" in message:
                    self.events.append(message)
                self._news.notify_all()


@contextmanager
def neighbour_of(daemon: Daemon) -> Iterator[Neighbour]:
    """A neighbour whose camera is live; the daemon must be ready."""
    neighbour = Neighbour(daemon)
    neighbour.begin()
    try:
        yield neighbour
    finally:
        neighbour.end()
