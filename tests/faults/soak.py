"""
A long run on real RTSP cameras: `python -m tests.faults.soak --minutes 30 --cameras 8`.

GStreamer's RTSP server replays a clip in a loop to all cameras; at a third of the time it is killed, stays away for 20 s
and returns. Watched: frames a second of each camera, the states and gaps of the outage, restarts of the worker, and the
resident memory of every process. The last line is one JSON object; the exit status is 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import CLIPS
from tests.peers.daemon import Daemon, running_daemon
from tests.peers.rtsp import RtspServer, why_not
from tests.peers.wire_client import WireClient, wire_client

MB = 1 << 20


class Soak:
    """What was seen on the way."""

    def __init__(self, daemon: Daemon, server: RtspServer, cameras: int, minutes: float) -> None:
        self.daemon, self.server = daemon, server
        self.cameras = [f"cam{number}" for number in range(cameras)]
        self.seconds = 60 * minutes
        self.rss_mb: dict[str, list[tuple[float, float]]] = {"worker": [], "gateway": [], "store": []}
        self.fps: dict[str, list[float]] = {camera: [] for camera in self.cameras}
        self.kv_bytes = 0
        self.worker_pids: set[int] = set()
        self.events: list[dict[str, Any]] = []
        self.outage = (0.0, 0.0)

    async def run(self) -> dict[str, Any]:
        await self.daemon.until_ready()
        async with wire_client(self.daemon.url) as client:
            topics = ["camera", "gap", "alert", "stats"]
            await client.request("subscribe", topics=topics, cameras="*", after=0)
            for camera in self.cameras:
                await client.request("camera.add", camera={"id": camera, "source": self.server.url(), "fps": 2})
                rule = {"camera": camera, "ask": "Is a person at the table?", "on": 0.99, "off": 0.01}
                await client.request("rule.create", rule=rule)
            reader = asyncio.create_task(self.read(client))
            try:
                await self.watch()
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
        return self.report()

    async def read(self, client: WireClient) -> None:
        while (message := await client.pushed.get())["type"] != "closed":
            if message["type"] == "stats":
                self.fps[message["camera"]].append(message["fps_seen"])
                self.kv_bytes = message["kv_bytes"]
            else:
                self.events.append(message)
        raise ConnectionError("the gateway closed the connection")

    async def watch(self) -> None:
        began = time.monotonic()
        broken = False
        while (at_s := time.monotonic() - began) < self.seconds:
            for role, process in self.daemon.children().items():
                self.rss_mb[role].append((at_s / 60, process.memory_info().rss / MB))
                if role == "worker":
                    self.worker_pids.add(process.pid)
            if not broken and at_s > self.seconds / 3:
                broken = True
                await self.break_camera()
            newest = {role: round(values[-1][1]) for role, values in self.rss_mb.items() if values}
            print(f"{at_s / 60:6.1f} min  rss MB {newest}  events {len(self.events)}", flush=True)
            await asyncio.sleep(15)  # the sampling period

    async def break_camera(self) -> None:
        self.outage = (time.time(), time.time() + 20)
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(20)  # the outage itself
        await asyncio.to_thread(self.server.start)

    def report(self) -> dict[str, Any]:
        early = self.mean_rss("worker", 5)
        late = self.mean_rss("worker", self.seconds / 60)
        states: dict[str, list[str]] = {camera: [] for camera in self.cameras}
        gaps = {event["camera"] for event in self.events if event["type"] == "gap" and event["reason"] == "reconnect"}
        for event in self.events:
            if event["type"] == "camera.state":
                states[event["camera"]].append(event["state"])
        went = [camera for camera in self.cameras if {"offline", "stale"} & set(states[camera])]
        back = [camera for camera in self.cameras if states[camera] and states[camera][-1] in {"live", "lagging"}]
        return {
            "minutes": self.seconds / 60,
            "cameras": len(self.cameras),
            "worker_rss_mb_minute_5": round(early, 1),
            "worker_rss_mb_end": round(late, 1),
            "worker_rss_growth": round(late / early - 1, 4),
            "gateway_rss_mb_end": round(self.mean_rss("gateway", self.seconds / 60), 1),
            "store_rss_mb_end": round(self.mean_rss("store", self.seconds / 60), 1),
            "fps_seen_median": round(statistics.median(v for values in self.fps.values() for v in values[30:]), 2),
            "cameras_that_went": len(went),
            "cameras_that_returned": len(back),
            "cameras_with_gap": len(gaps),
            "worker_processes": len(self.worker_pids),
            "events": len(self.events),
            "states_of_cam0": states["cam0"],
        }

    def mean_rss(self, role: str, minute: float) -> float:
        """Resident MB around a minute, over the samples within one minute before it."""
        near = [mb for at, mb in self.rss_mb[role] if minute - 1 <= at <= minute]
        return statistics.mean(near or [self.rss_mb[role][-1][1]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--clip", type=Path, default=CLIPS / "intel_one_by_one_person.mp4")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        print(reason, file=sys.stderr)
        return 2
    with RtspServer(options.clip) as server, running_daemon() as daemon:
        report = asyncio.run(Soak(daemon, server, options.cameras, options.minutes).run())
    print(json.dumps(report))
    held = (
        report["worker_processes"] == 1
        and report["cameras_that_returned"] == report["cameras_with_gap"] == options.cameras
        and abs(report["worker_rss_growth"]) < 0.05
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
