"""One connection of the SDK to a daemon: opened, greeted and authenticated; then maps in both directions."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from .auth import is_loopback
from .errors import BY_CODE, Disconnected, Forbidden, Internal, Invalid, Limit, Unauthorized, Unreachable, WireError
from .wire import MSGPACK, Codec

OPEN_TIMEOUT_S: Final = 10.0
MAX_BYTES: Final = 2**24  # a preview of a large camera
PATH: Final = "/v1/ws"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon is, and the token to show there."""

    url: str
    token: str | None = None

    @classmethod
    def of(cls, url: str, token: str | None = None) -> Address:
        """
        From `ws://host:port`, `http://host:port` or `host:port`, with or without the path.

        Raises: Invalid: that is no address.
        """
        if "://" not in url:
            url = f"ws://{url}"
        scheme, _, rest = url.partition("://")
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
        try:
            parts = urlsplit(f"{scheme}://{rest}")
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if scheme not in {"ws", "wss"} or not host:
            raise Invalid("the daemon's address must look like ws://127.0.0.1:8787", "url")
        return cls(f"{scheme}://{parts.netloc}{PATH}", token)


class Line:
    """An open connection. Every method raises what ended it: Disconnected, Unauthorized, Forbidden or Limit."""

    def __init__(self, connection: ClientConnection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self._ids = itertools.count(1)
        self.hello: dict[str, Any] = {}

    def next_id(self) -> int:
        return next(self._ids)

    async def send(self, message: dict[str, Any]) -> None:
        payload = self._codec.encode(message)
        try:
            await self._connection.send(payload, text=self._codec.text)
        except ConnectionClosed as closed:
            raise ended(closed) from None

    async def receive(self) -> dict[str, Any]:
        try:
            data = await self._connection.recv(decode=self._codec.text)
        except ConnectionClosed as closed:
            raise ended(closed) from None
        try:
            return self._codec.decode(data)
        except Invalid as error:
            raise Internal(f"the daemon sent what is no message: {error.message}") from None

    async def request(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        """The result of one request, on a line that nobody else reads. Raises the WireError that the daemon answers."""
        number = self.next_id()
        await self.send({"type": kind, "id": number} | fields)
        while True:
            reply = await self.receive()
            if reply.get("id") == number and reply.get("type") in {"result", "error"}:
                return result_of(reply)


@contextlib.asynccontextmanager
async def open_line(address: Address, codec: Codec = MSGPACK) -> AsyncIterator[Line]:
    """
    A connection on which requests may be sent.

    Raises: Unreachable: nothing that speaks the protocol answers. Unauthorized: no token, or one that is refused.
    """
    connecting = connect_websocket(
        address.url,
        subprotocols=[Subprotocol(codec.subprotocol)],
        open_timeout=OPEN_TIMEOUT_S,
        max_size=MAX_BYTES,
        compression=None,
        proxy=None if is_loopback(urlsplit(address.url).hostname or "") else True,
    )
    try:
        connection = await connecting
    except (OSError, InvalidHandshake, InvalidURI, EOFError) as error:  # TimeoutError is an OSError
        reason = str(error) or type(error).__name__
        raise Unreachable(f"no daemon answers at {address.url}: {reason}; is `vigild serve` running there?") from None
    async with connection:
        line = Line(connection, codec)
        line.hello = await line.receive()
        if line.hello.get("type") != "hello":
            raise Unreachable(f"what answers at {address.url} is no vigild")
        if line.hello.get("auth") == "token":
            if address.token is None:
                raise Unauthorized("this daemon wants a token; make one with `vigild token create`", "token")
            await line.request("auth", token=address.token)
        yield line


def result_of(reply: dict[str, Any]) -> dict[str, Any]:
    """The fields of a result. Raises the WireError that an error stands for."""
    if reply["type"] == "result":
        return reply
    told = reply.get("error", {})
    raise BY_CODE.get(str(told.get("code")), Internal)(str(told.get("message", "")), told.get("param"))


def ended(closed: ConnectionClosed) -> WireError:
    """What a close means to the caller."""
    code = closed.rcvd.code if closed.rcvd is not None else 1006
    reason = closed.rcvd.reason if closed.rcvd is not None else ""
    match code:
        case 4401:
            return Unauthorized(reason or "no valid token", "token")
        case 4403:
            return Forbidden(reason or "the daemon refuses this connection")
        case 4408:
            return Limit(reason or "too many requests")
    return Disconnected(f"the connection ended ({code}{f', {reason}' if reason else ''})")
