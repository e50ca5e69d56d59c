"""
From a live camera to an alert on a WebSocket, every part real: processes, store, engine, wire.

The client is the independent one of tests/peers, so that nothing passes because both sides share a mistake. The model is
`tiny-random`: its p means nothing, but it moves with the picture, so thresholds placed between its values make alerts.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import subprocess
import sys
import urllib.request
from collections import deque
from contextlib import AsyncExitStack

import pytest
from PIL import Image

from tests.peers.daemon import ROOT, Daemon, running_daemon
from tests.peers.wire_client import RequestFailed, WireClient, wire_client

YARD = {"id": "yard", "source": "synthetic:yard", "fps": 4}

pytestmark = pytest.mark.slow


async def watch_yard(client: WireClient) -> None:
    """The yard camera, live."""
    await client.request("subscribe", topics=["camera", "alert", "gap", "answer", "trace"], cameras="*", after=0)
    await client.request("camera.add", camera=YARD)
    await client.until(lambda m: m["type"] == "camera.state" and m["state"] == "live")


async def alerting_rule(client: WireClient) -> str:
    """
    A rule whose thresholds lie between the newest values of its p, so that the next changes of the picture cross both.

    The p of a random model wanders while its memory fills; the thresholds follow until an alert has begun.
    """
    rule = {"camera": "yard", "ask": "Is there a car?", "on": 0.999, "off": 0.001, "hold_s": 0, "cooldown_s": 0}
    rule_id = (await client.request("rule.create", rule=rule))["rule"]["id"]
    ps: deque[float] = deque(maxlen=8)
    while True:
        message = await asyncio.wait_for(client.pushed.get(), 30)
        if message["type"] == "alert.started":
            client.pushed.put_nowait(message)
            return rule_id
        if message["type"] == "trace":
            ps.append(message["p"])
            if len(ps) == ps.maxlen and max(ps) - min(ps) > 1e-4:
                low, _, high = statistics.quantiles(ps, n=4)
                await client.request("rule.update", rule=rule_id, on=high, off=low)
                ps.clear()


async def first_whole_path(daemon: Daemon) -> None:
    await daemon.until_ready()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(wire_client(daemon.url))
        assert client.hello["type"] == "hello"
        await watch_yard(client)
        rule = await alerting_rule(client)

        seen = await client.until(lambda m: m["type"] == "alert.started")
        started = seen[-1]
        await client.request("rule.update", rule=rule, on=0.9999, off=0.9998)
        seen += await client.until(lambda m: m["type"] == "alert.ended" and m["alert"] == started["alert"])
        ended = seen[-1]
        assert started["rule"] == ended["rule"] == rule
        assert started["seq"] < ended["seq"]
        assert 0 <= started["age_ms"] < 60_000
        assert started["model"] == "tiny-random"
        jpeg = await asyncio.to_thread(lambda: urllib.request.urlopen(daemon.http + started["evidence"]["jpg"]).read())
        assert Image.open(io.BytesIO(jpeg)).format == "JPEG"

        ask = (await client.request("ask", camera="yard", text="What is in the yard?", max_tokens=12))["ask"]
        seen = await client.until(lambda m: m["type"] == "answer.done")
        done = seen[-1]
        assert done["ask"] == ask
        assert done["status"] == "completed"
        assert done["usage"]["output_tokens"] <= 12
        assert done["text"].startswith("".join(m["text"] for m in seen if m["type"] == "answer.delta"))
        assert done["citations"][0]["t0"] <= done["frame_ts"]

        with pytest.raises(RequestFailed, match="not_found"):
            await client.request("ask", camera="nowhere", text="?")


async def after_a_restart(daemon: Daemon) -> None:
    """What a new start on the same data directory must still know."""
    await daemon.until_ready()
    async with wire_client(daemon.url, form="msgpack") as client:
        (camera,) = (await client.request("camera.list"))["cameras"]
        assert camera["id"] == "yard"
        assert len((await client.request("rule.list"))["rules"]) == 1
        await client.request("subscribe", topics=["camera", "alert", "gap", "answer"], cameras="*", after=0)
        seen = await client.until(lambda m: m["type"] == "gap" and m["reason"] == "worker_restart")
        seqs = [m["seq"] for m in seen]
        assert seqs == list(range(1, len(seqs) + 1))


def test_the_whole_path_and_a_restart():
    """Camera, rule, alert with evidence, answer; then SIGTERM, exit 0, and everything is still there."""
    with running_daemon() as daemon:
        asyncio.run(first_whole_path(daemon))
        assert daemon.stop() == 0
        daemon.start()
        asyncio.run(after_a_restart(daemon))


async def notes_and_what_rests_on_them(daemon: Daemon) -> None:
    """Notes come with their frame; when the worker that wrote them is dead, a question still finds and cites them."""
    await daemon.until_ready()
    async with wire_client(daemon.url) as client:
        await client.request("subscribe", topics=["note", "answer", "gap"], cameras="*", after=0)
        await client.request("camera.add", camera=YARD | {"notes": True})
        first, second = [(await client.until(lambda m: m["type"] == "note"))[-1] for _ in range(2)]
        assert first["seq"] < second["seq"]
        assert first["frame_ts"] + 1000 <= second["frame_ts"]
        assert first["text"]
        assert {"rho", "z"} <= set(first["trigger"])
        jpeg = await asyncio.to_thread(lambda: urllib.request.urlopen(daemon.http + first["evidence"]["jpg"]).read())
        assert Image.open(io.BytesIO(jpeg)).format == "JPEG"

        assert daemon.kill("worker")
        seen = await client.until(lambda m: m["type"] == "gap" and m["reason"] == "worker_restart", within_s=90)
        question = "What happened earlier?"
        ask = (await client.request("ask", camera="yard", text=question, max_tokens=6))["ask"]
        seen += await client.until(lambda m: m["type"] == "answer.done" and m["ask"] == ask)
        done = seen[-1]
        assert done["status"] == "completed"
        written = {m["event"]: m for m in (first, second, *seen) if m["type"] == "note"}
        cited = {each["note"]: each for each in done["citations"] if "note" in each}
        assert {first["event"], second["event"]} & set(cited)
        for name, each in cited.items():
            assert each["t0"] == each["t1"] == written[name]["frame_ts"]
            assert each["text"] == written[name]["text"]
            assert each["evidence"] == written[name]["evidence"]

        listed = (await client.request("events.list", kind="note", camera="yard", limit=500))["events"]
        assert [event["event"] for event in listed][:2] == [first["event"], second["event"]]


def test_notes_outlive_the_worker_that_wrote_them():
    """Written on change and on schedule, durable, and cited by an answer of the next worker."""
    quick = {"VIGILD_NOTES__MIN_S": "1", "VIGILD_NOTES__MAX_S": "2", "VIGILD_NOTES__MAX_TOKENS": "8"}
    with running_daemon(**quick) as daemon:
        asyncio.run(notes_and_what_rests_on_them(daemon))
        assert daemon.stop() == 0


def test_a_second_daemon_on_the_same_directory_is_refused():
    """It says who holds the directory, exits non-zero, and the first goes on."""
    with running_daemon() as first:
        asyncio.run(first.until_ready())
        second = Daemon(first.data_dir, first.port, {})
        second.log_path = first.data_dir / "second.log"
        second.start()
        assert second.process is not None
        assert second.process.wait(30) != 0
        assert str(first.process.pid) in second.log()
        assert "Traceback" not in second.log()
        assert first.ready()


def test_the_gateway_imports_no_torch():
    """Neither the gateway nor the command line pulls in torch, transformers or a decoder."""
    script = "import sys, daemon.gateway, daemon.cli; print([m for m in ('torch', 'transformers', 'av') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
