"""
kill -9 of the worker, the gateway and the store in random order while events flow.

Afterwards every acknowledged camera, rule and question is there; `seq` has no repeat and no hole on the wire; every
stretch that a camera was not watched is announced as a `gap`. VIGILD_CHAOS_S sets how long it rages (default 25 s).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import websockets

from tests.peers.daemon import Daemon, running_daemon
from tests.peers.wire_client import RequestFailed, wire_client

RAGE_S = float(os.environ.get("VIGILD_CHAOS_S", "25"))
SEED = int(os.environ.get("VIGILD_CHAOS_SEED", "7"))
DURABLE = ["alert", "note", "camera", "answer", "gap"]
LOST_CONNECTION = (OSError, TimeoutError, websockets.WebSocketException, ConnectionError)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RAGE_S + 240)]


@dataclass
class Ledger:
    """What the daemon has acknowledged, and what a subscriber has seen."""

    cameras: set[str] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)
    asks: set[str] = field(default_factory=set)
    events: list[dict[str, Any]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)


async def subscriber(daemon: Daemon, ledger: Ledger) -> None:
    """Follow all durable events, resuming by `after` whenever the connection goes."""
    while True:
        with suppress(*LOST_CONNECTION, RequestFailed):
            async with wire_client(daemon.url) as client:
                after = ledger.events[-1]["seq"] if ledger.events else 0
                await client.request("subscribe", topics=DURABLE, cameras="*", after=after)
                while (message := await client.pushed.get())["type"] != "closed":
                    if "seq" in message:
                        ledger.events.append(message)
        await asyncio.sleep(0.1)  # before the next try to connect


async def writer(daemon: Daemon, ledger: Ledger, rng: random.Random) -> None:
    """Add cameras and rules and ask questions; remember only what was acknowledged."""
    number = 0
    while True:
        with suppress(*LOST_CONNECTION):
            async with wire_client(daemon.url, form="msgpack") as client:
                while client.closed is None:
                    number += 1
                    try:
                        await act(client, ledger, rng, number)
                    except RequestFailed as error:
                        ledger.refusals[error.code] += 1
                        # "limit": questions pile up, up to their bound, while the worker is down
                        assert error.code in {"busy", "conflict", "limit"}, str(error)
                    await asyncio.sleep(0.2)  # the pace of the load
        await asyncio.sleep(0.1)  # before the next try to connect


async def act(client: Any, ledger: Ledger, rng: random.Random, number: int) -> None:
    if len(ledger.cameras) < 3:
        camera = f"cam{number}"
        await client.request("camera.add", camera={"id": camera, "source": "synthetic:yard", "fps": 2})
        ledger.cameras.add(camera)
    elif len(ledger.rules) < 12 and rng.random() < 0.5:
        rule = {"camera": rng.choice(sorted(ledger.cameras)), "ask": f"Is it {number}?", "on": 0.99, "off": 0.01}
        ledger.rules.add((await client.request("rule.create", rule=rule))["rule"]["id"])
    else:
        camera = rng.choice(sorted(ledger.cameras))
        ledger.asks.add((await client.request("ask", camera=camera, text="What is there?", max_tokens=4))["ask"])


async def rage(daemon: Daemon, ledger: Ledger, rng: random.Random) -> None:
    end = asyncio.get_running_loop().time() + RAGE_S
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(rng.uniform(0.5, 5))  # chaos has no condition to wait for
        role = rng.choice(["worker", "gateway", "store"])
        if await asyncio.to_thread(daemon.kill, role):
            ledger.kills[role] += 1


async def settled(daemon: Daemon, ledger: Ledger) -> None:
    """Ready again, every acknowledged question answered, and the subscriber up to date."""
    await daemon.until_ready(within_s=90)
    async with asyncio.timeout(90):
        while not ledger.asks <= {event["ask"] for event in ledger.events if event["type"] == "answer"}:
            await asyncio.sleep(0.2)  # between two looks at the ledger
        while not all(live(ledger, camera) for camera in ledger.cameras):
            await asyncio.sleep(0.2)  # between two looks at the ledger


def live(ledger: Ledger, camera: str) -> bool:
    states = [e["state"] for e in ledger.events if e["type"] == "camera.state" and e["camera"] == camera]
    return bool(states) and states[-1] in {"live", "lagging"}


async def chaos(daemon: Daemon) -> Ledger:
    ledger, rng = Ledger(), random.Random(SEED)
    await daemon.until_ready()
    tasks = [asyncio.create_task(subscriber(daemon, ledger)), asyncio.create_task(writer(daemon, ledger, rng))]
    try:
        await rage(daemon, ledger, random.Random(SEED + 1))
        assert not any(task.done() for task in tasks), "the load went on to the end"
        tasks.pop().cancel()
        await settled(daemon, ledger)
        async with wire_client(daemon.url) as client:
            cameras = {camera["id"] for camera in (await client.request("camera.list"))["cameras"]}
            rules = {rule["id"] for rule in (await client.request("rule.list"))["rules"]}
        assert ledger.cameras <= cameras
        assert ledger.rules <= rules
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ledger


def test_nothing_acknowledged_is_lost(capsys):
    """Random kill -9 of every child: state, seq, answers and gaps all hold."""
    with running_daemon() as daemon:
        ledger = asyncio.run(chaos(daemon))
    seqs = [event["seq"] for event in ledger.events]
    assert seqs == list(range(1, len(seqs) + 1)), "seq has neither repeat nor hole"
    answers = Counter(event["ask"] for event in ledger.events if event["type"] == "answer")
    assert max(answers.values()) == 1, "no question is answered twice"
    assert sum(ledger.kills.values()) >= 3
    gaps = Counter(e["camera"] for e in ledger.events if e["type"] == "gap" and e["reason"] == "worker_restart")
    if ledger.kills["worker"]:
        assert set(gaps) == ledger.cameras, "every camera's unwatched stretch is announced"
    with capsys.disabled():
        print(f"\n  kills {dict(ledger.kills)}, events {len(seqs)}, answers {len(answers)}, gaps {sum(gaps.values())}, "
              f"refused {dict(ledger.refusals)}")  # fmt: skip
