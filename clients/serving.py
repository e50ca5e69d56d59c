"""
The web server under the gateway: uvicorn on the websockets package, with every buffer and every wait bounded.

What uvicorn 0.54 leaves open (read in uvicorn/protocols/websockets/websockets_sansio_impl.py and http/h11_impl.py), and
what is done here:

* A peer that never reads: closing waits for its buffer to drain, for ever. Here a close never waits to be written, and
  the connection is aborted `CLOSE_PATIENCE_S` later; so it is when a ping stays unanswered, and at shutdown.
* A peer that sends pings and never reads: each pong is buffered. Here only the newest one is kept until there is room,
  as RFC 6455 (5.5.3) allows.
* A message of very many empty fragments: each takes a place in a list. Here their number is bounded.
* A connection that never sends a request: no time-out. Here `FIRST_REQUEST_S`.
* Text that is not UTF-8: a traceback in the log. Here only the close code 1007.
* permessage-deflate: a frame of 1 kB may hold a message of 1 MiB, and 256 of them fit in one read. It is off; JPEG does
  not shrink, and who counts bytes takes msgpack.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from .wire import MAX_MESSAGE_BYTES

PING_S: Final = 20.0
CLOSE_PATIENCE_S: Final = 2.0
FIRST_REQUEST_S: Final = 10.0
KEEP_ALIVE_S: Final = 30
MAX_FRAGMENTS: Final = 2**17  # a message of MAX_MESSAGE_BYTES in fragments of 8 bytes
HEADERS_MAX_BYTES: Final = 32 * 1024


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One WebSocket; see the head of this file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pong: bytes | None = None  # waits for the peer to read

    async def send(self, message: Any) -> None:
        closing = message["type"] == "websocket.close" and self.handshake_complete and not self.close_sent
        if closing:
            self.writable.set()  # a close frame is small, and nothing follows it
        elif self.handshake_complete and not self.disconnected and self.transport.is_closing():
            raise ClientDisconnected  # lost, but not told yet; asyncio would log each write
        await super().send(message)
        if closing:
            self._abort_later()

    def handle_ping(self) -> None:
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)
        else:
            self._pong = pong

    def resume_writing(self) -> None:
        if self._pong is not None:
            self.transport.write(self._pong)
            self._pong = None
        super().resume_writing()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not is_utf8(self.frames):
            self.conn.fail(1007, "invalid UTF-8")
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._abort_later()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._abort_later()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_later()

    def _abort_later(self) -> None:
        """The peer has this long to take what is buffered and to answer the close."""
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(CLOSE_PATIENCE_S, self.transport.abort)


class BoundedHttp(H11Protocol):
    """One HTTP connection, which must send its first request in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(FIRST_REQUEST_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._punctual()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.scope is not None:
            self._punctual()

    def _punctual(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def is_utf8(fragments: Sequence[bytes]) -> bool:
    """Whether the whole message is; a character may lie in two fragments."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for fragment in fragments:
            decoder.decode(fragment)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process that runs it has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()  # clients can connect

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(app: ASGIApp, *, connections: int, max_message_bytes: int = MAX_MESSAGE_BYTES) -> Server:
    """
    A server for `app`, to be run with `serve(sockets=[…])` and ended by `should_exit = True`.

    connections: open at once, of both kinds; further HTTP requests get 503.
    """
    return Server(
        uvicorn.Config(
            app,
            http=BoundedHttp,
            ws=BoundedWebSocket,
            ws_max_size=max_message_bytes,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="warning",  # uvicorn logs paths at info
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=connections,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=HEADERS_MAX_BYTES,
        )
    )
