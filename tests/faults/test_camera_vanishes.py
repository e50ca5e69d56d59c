"""A real RTSP camera is killed and returns, with the whole daemon around it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streaming.sources.synthetic import Scene, render_file
from tests.peers.daemon import Daemon, running_daemon
from tests.peers.rtsp import RtspServer, why_not
from tests.peers.wire_client import wire_client

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


async def vanish_and_return(daemon: Daemon, server: RtspServer) -> None:
    await daemon.until_ready()
    worker = daemon.children()["worker"].pid
    async with wire_client(daemon.url) as client:
        await client.request("subscribe", topics=["camera", "gap", "stats"], cameras="*", after=0)
        await client.request("camera.add", camera={"id": "dock", "source": server.url("user:secret"), "fps": 2})
        await client.until(lambda m: m["type"] == "stats" and m["fps_seen"] >= 1.5)

        await asyncio.to_thread(server.kill)
        seen = await client.until(lambda m: m["type"] == "camera.state" and m["state"] in {"offline", "stale"})
        assert "secret" not in str(seen)
        await asyncio.to_thread(server.start)
        seen = await client.until(lambda m: m["type"] == "camera.state" and m["state"] == "live", within_s=60)
        gap = next(m for m in seen if m["type"] == "gap")
        assert gap["reason"] == "reconnect"
        assert gap["from"] < gap["to"]
        await client.until(lambda m: m["type"] == "stats" and m["fps_seen"] >= 1.5)
    assert daemon.children()["worker"].pid == worker


def test_a_camera_that_vanishes_is_offline_then_live_with_a_gap(tmp_path: Path):
    """`offline` or `stale`, then `live` and one gap; the worker is the same process throughout."""
    clip = tmp_path / "yard.mp4"
    render_file(clip, Scene("yard"), seconds=8)
    with RtspServer(clip) as server, running_daemon() as daemon:
        asyncio.run(vanish_and_return(daemon, server))
