"""
Two hundred clients on one gateway process over a real Valkey, twenty of which never read, while five cameras speak.

Nobody who reads misses or repeats a durable event, order holds, and the memory of the gateway stays bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import urllib.request
from dataclasses import dataclass, field

import msgpack
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from clients.messages import CameraSpec
from daemon.store import Draft, Store
from tests.daemon.store.conftest import short_dir, valkey  # noqa: F401  fixtures
from tests.daemon.store.server import Valkey
from tests.peers.gateway import GatewayProcess, gateway_process

CLIENTS = int(os.environ.get("VIGILD_CLIENTS", "200"))
NEVER_READING = CLIENTS // 10
CAMERAS = 5
EVENTS = int(os.environ.get("VIGILD_CLIENT_EVENTS", "2000"))
RATE_HZ = 100
RESUMES = 50
OUTBOX_EVENTS = 500
GROWTH_MAX_BYTES = 96 * 2**20
TEXT = "somebody walks through the yard; " * 30  # about 1 kB, so that what is not read adds up
TOPICS = ["alert", "note", "camera", "answer", "gap"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Reader:
    """A client written from the protocol's text; it resumes whenever the connection goes."""

    url: str
    form: str
    seqs: list[int] = field(default_factory=list)
    connections: int = 0

    def encoded(self, message: dict[str, object]) -> str | bytes:
        return json.dumps(message) if self.form == "json" else msgpack.packb(message)

    def decoded(self, data: str | bytes) -> dict[str, object]:
        return json.loads(data) if self.form == "json" else msgpack.unpackb(data)

    async def follow(self, last: int) -> None:
        """Read until the event `last` has come."""
        while not self.seqs or self.seqs[-1] < last:
            with contextlib.suppress(ConnectionClosed, OSError):
                async with self.connected() as connection:
                    await self.read(connection, last)
                    await self.leave(connection)

    @contextlib.asynccontextmanager
    async def connected(self):
        subprotocol = f"vigil.v1.{self.form}"
        async with connect(f"{self.url}/v1/ws", subprotocols=[subprotocol], compression=None, proxy=None) as connection:
            self.connections += 1
            after = self.seqs[-1] if self.seqs else 0
            subscribe = {"type": "subscribe", "id": 1, "topics": TOPICS, "cameras": "*", "after": after}
            await connection.send(self.encoded(subscribe))
            yield connection

    async def read(self, connection: ClientConnection, last: int) -> None:
        while not self.seqs or self.seqs[-1] < last:
            message = self.decoded(await connection.recv())
            if message["type"] not in {"hello", "result"}:
                self.seqs.append(message["seq"])

    async def leave(self, connection: ClientConnection) -> None:
        """What was wanted has come; the connection is about to be closed."""


class Killed(Reader):
    """A reader whose connection is cut after every few events, `RESUMES` times."""

    async def follow(self, last: int) -> None:
        cut_every = max(1, last // (2 * RESUMES))
        for _ in range(RESUMES):
            await super().follow(min(last, (self.seqs[-1] if self.seqs else 0) + cut_every))
        await super().follow(last)

    async def leave(self, connection: ClientConnection) -> None:
        connection.transport.abort()


def never_reading(port: int) -> socket.socket:
    """A client that subscribes to everything and then never reads; its own buffer is as small as it can be."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", port))
    peer.sendall(
        b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b"101" in peer.recv(64)
    message = json.dumps({"type": "subscribe", "id": 1, "topics": [*TOPICS, "preview", "stats"], "after": 0}).encode()
    peer.sendall(bytes([0x81, 0x80 | 126, *len(message).to_bytes(2, "big"), 0, 0, 0, 0]) + message)
    return peer


async def speak(store: Store) -> None:
    """EVENTS notes of five cameras at RATE_HZ, and previews that nobody is owed."""
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    for n in range(EVENTS):
        camera = f"cam{n % CAMERAS}"
        await store.emit(Draft("note", camera, {"text": TEXT, "n": n}, ts=n))
        if n % 10 == 0:
            await store.publish(msgpack.packb({"topic": "preview", "camera": camera, "jpeg": os.urandom(20_000)}))
        await asyncio.sleep(max(0, begin_s + (n + 1) / RATE_HZ - loop.time()))  # the pace of the source


def metrics(gateway: GatewayProcess) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}


def open_clients(counted: dict[str, float]) -> float:
    return sum(value for name, value in counted.items() if name.startswith("vigil_clients{"))


async def quiet(gateway: GatewayProcess) -> dict[str, float]:
    """The metrics once no client is left."""
    async with asyncio.timeout(30):
        while open_clients(counted := await asyncio.to_thread(metrics, gateway)):
            await asyncio.sleep(0.1)
    return counted


async def crowd(server: Valkey, gateway: GatewayProcess) -> None:
    async with await Store.connect(server.url, owner="test") as store:
        for n in range(CAMERAS):
            await store.put_camera(CameraSpec(id=f"cam{n}", source="synthetic:yard"))
        forms = ["json", "msgpack"]
        readers = [Reader(gateway.url, forms[n % 2]) for n in range(CLIENTS - NEVER_READING - 1)]
        killed = Killed(gateway.url, "json")
        silent = [never_reading(gateway.port) for _ in range(NEVER_READING)]
        try:
            rss_before = gateway.rss_bytes
            async with asyncio.timeout(240), asyncio.TaskGroup() as group:
                for reader in [*readers, killed]:
                    group.create_task(reader.follow(EVENTS))
                group.create_task(speak(store))
            grown = gateway.rss_bytes - rss_before
            counted = await quiet(gateway)
        finally:
            for peer in silent:
                peer.close()

    everything = list(range(1, EVENTS + 1))
    for reader in [*readers, killed]:
        assert reader.seqs == everything, (reader.form, len(reader.seqs))
    assert killed.connections >= RESUMES
    print(f"{CLIENTS} clients, {EVENTS} events: the gateway grew by {grown / 2**20:.1f} MiB")
    assert grown < GROWTH_MAX_BYTES
    assert counted['vigil_closed_total{code="1013"}'] >= NEVER_READING


def test_many_clients(valkey, short_dir):  # noqa: F811
    """180 readers get every event once and in order; 20 that never read are closed with 1013 and cost bounded memory."""
    with gateway_process(valkey.url, short_dir, outbox_events=OUTBOX_EVENTS) as gateway:
        asyncio.run(crowd(valkey, gateway))
