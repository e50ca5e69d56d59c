"""
An independent client of protocol 1: written from the protocol's text alone, on `websockets` and nothing of ours.

What the SDK gets right by sharing our code, this one gets right only if the wire is right.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgpack
import websockets
from websockets.asyncio.client import ClientConnection, connect

Message = dict[str, Any]


class RequestFailed(Exception):
    """The daemon answered with an error."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]
        self.param = error.get("param")


class WireClient:
    """One connection: requests by id, everything else in `pushed`, in order of arrival."""

    def __init__(self, connection: ClientConnection, form: str) -> None:
        self._connection = connection
        self._form = form
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self.pushed: asyncio.Queue[Message] = asyncio.Queue()
        self.hello: Message = {}
        self.closed: websockets.ConnectionClosed | None = None

    async def request(self, kind: str, /, **fields: Any) -> Message:
        """Send a request and return its result; raises RequestFailed with the daemon's error."""
        number = next(self._ids)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        await self._send({"type": kind, "id": number} | fields)
        message = await asyncio.wait_for(reply, 20)
        if message["type"] == "error":
            raise RequestFailed(message["error"])
        return message

    async def until(self, wanted: Callable[[Message], bool], *, within_s: float = 30) -> list[Message]:
        """Pushed messages up to and including the first that `wanted` accepts."""
        seen = []
        async with asyncio.timeout(within_s):
            while not seen or not wanted(seen[-1]):
                seen.append(await self.pushed.get())
        return seen

    async def _send(self, message: Message) -> None:
        if self._form == "json":
            await self._connection.send(json.dumps(message))
        else:
            await self._connection.send(msgpack.packb(message))

    async def _read(self) -> None:
        try:
            async for data in self._connection:
                message = json.loads(data) if isinstance(data, str) else msgpack.unpackb(data)
                if message["type"] in {"result", "error"} and message.get("id") in self._waiting:
                    future = self._waiting.pop(message["id"])
                    if not future.done():
                        future.set_result(message)
                else:
                    self.pushed.put_nowait(message)
        except websockets.ConnectionClosed as closed:
            self.closed = closed
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("the connection ended"))
                    future.exception()  # whoever waits sees it; one that nobody waits for is no warning
            self.pushed.put_nowait({"type": "closed"})


@asynccontextmanager
async def wire_client(url: str, *, form: str = "json", token: str | None = None) -> AsyncIterator[WireClient]:
    """Connect and open; `url` is ws://host:port."""
    async with connect(f"{url}/v1/ws", subprotocols=[f"vigil.v1.{form}"], max_size=1 << 24) as connection:
        client = WireClient(connection, form)
        reader = asyncio.create_task(client._read())
        try:
            client.hello = await asyncio.wait_for(client.pushed.get(), 10)
            if client.hello.get("auth") == "token":
                await client.request("auth", token=token or "")
            yield client
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
