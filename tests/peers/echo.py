"""
An echo server with the gateway's own WebSocket settings: what conformance suites need, which the protocol does not offer.

    python -m tests.peers.echo PORT
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from clients.serving import Server, server

MAX_MESSAGE_BYTES = 2**24  # the suite's largest message; the gateway's own bound is tested in tests/clients


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application that sends back each message."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept", "subprotocol": None})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        kind = {"bytes": message["bytes"]} if text is None else {"text": text}
        await send({"type": "websocket.send"} | kind)


def echo_server(max_message_bytes: int = MAX_MESSAGE_BYTES) -> Server:
    return server(echo, connections=100, max_message_bytes=max_message_bytes)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        asyncio.run(echo_server().serve(sockets=[listener]))
