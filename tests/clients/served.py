"""The client side over a MemoryBackend, on a real server and a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from clients.auth import Doors, Role, hash_token
from clients.hub import Hub
from clients.messages import CameraSpec
from clients.metrics import Metrics
from clients.outbox import OutboxLimits
from clients.protocols.http import build_app
from clients.service import ClientLimits, Service
from clients.serving import Server, server
from tests.clients.memory_backend import MemoryBackend

DOCK = CameraSpec(id="dock", source="rtsp://admin:s3cret@cam.local/main")
TOKENS = {"t-viewer": Role.VIEWER, "t-operator": Role.OPERATOR, "t-admin": Role.ADMIN}
NOW_MS = 1_790_000_000_000
WITHIN_S = 10


@dataclass
class Served:
    port: int
    hub: Hub
    backend: MemoryBackend
    service: Service

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def happen(self, kind: str = "note", camera: str | None = "dock", **data: Any) -> int:
        """An event, emitted and published; its seq."""
        event = self.backend.happen(kind, camera, **data)
        self.hub.publish([event])
        return event.seq

    def open(self, **options: Any) -> connect:
        """A bare WebSocket, not yet connected; JSON unless `subprotocols` says otherwise."""
        return connect(f"{self.url}/v1/ws", **{"compression": None, "proxy": None} | options)


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, **options: Any) -> AsyncIterator[int]:
    """Serve `app`; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        web: Server = server(app, **{"connections": 100} | options)
        task = asyncio.create_task(web.serve(sockets=[listener]))
        await asyncio.wait_for(web.ready.wait(), WITHIN_S)
        try:
            yield listener.getsockname()[1]
        finally:
            web.should_exit = True
            await asyncio.wait_for(task, WITHIN_S)


@contextlib.asynccontextmanager
async def served(
    *,
    tokens: bool = False,
    doors: Doors | None = None,
    limits: ClientLimits | None = None,
    outbox: OutboxLimits | None = None,
    evidence: Path | None = None,
    held: int = 0,
) -> AsyncIterator[Served]:
    """One camera `dock` and `held` notes; with `tokens` those of TOKENS are demanded."""
    backend = MemoryBackend(evidence)
    backend.specs["dock"] = DOCK
    for n in range(held):
        backend.happen(text=str(n))
    backend.roles = {hash_token(token): role for token, role in TOKENS.items()}
    metrics = Metrics()
    hub = Hub(backend.newest, outbox or OutboxLimits(), metrics)
    service = Service(
        hub,
        backend,
        doors or Doors(token_required=tokens),
        metrics,
        lambda: NOW_MS,
        "vigild test",
        limits or ClientLimits(),
    )
    async with listening(build_app(service)) as port:
        yield Served(port, hub, backend, service)


async def received(connection: ClientConnection) -> dict[str, Any]:
    """The next JSON message."""
    return json.loads(await asyncio.wait_for(connection.recv(), WITHIN_S))


async def said(connection: ClientConnection, message: Any) -> dict[str, Any]:
    """What comes back for a JSON message, or for the payload itself."""
    await connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return await received(connection)


async def seqs(client, count):
    """The seqs of the next `count` durable events."""
    return [(await asyncio.wait_for(client.pushed.get(), WITHIN_S))["seq"] for _ in range(count)]


async def settled(condition) -> None:
    """Return when the condition holds; it is looked at whenever the loop has had a turn."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0)


async def close_code(connection) -> int:
    """Read to the end; the code it was closed with."""
    async with asyncio.timeout(WITHIN_S):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
    return connection.close_code
