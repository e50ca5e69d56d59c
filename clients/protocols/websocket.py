"""
`/v1/ws`: protocol 1 over a WebSocket.

The thin shell around the hub: one reader, one writer and one replayer a connection. What is said stands in `service`,
what may wait in `outbox`, who gets which event in `hub`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send

from clients import requests as rq
from clients.auth import Role, hash_token
from clients.errors import Busy, Internal, Unauthorized, WireError
from clients.hub import GONE, SLOW, Ending
from clients.rate import Bucket
from clients.service import Service, fulfil
from clients.wire import Codec, Outgoing, negotiate

log = logging.getLogger(__name__)

PATH = "/v1/ws"
PROTOCOL = 1
EMPTY_PAUSE_S = 0.05
BUSY_PAUSE_S = 0.5
LAST_WORD_S = 1.0  # for a last message to a peer that may not read
MAX_REASON_BYTES = 123  # a close frame holds 125, two of them the code

FULL = Ending(1013, "too many connections: try again later")
NO_TOKEN = Ending(4401, "no valid token")
TOO_FAST = Ending(4408, "too many requests")


def routes(service: Service) -> list[BaseRoute]:
    """Found by `http.build_app`: every module here that has `routes` is served."""
    return [WebSocketRoute(PATH, endpoint=WebSocketEndpoint(service))]


class WebSocketEndpoint:
    """The ASGI application of one path."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        subprotocol, codec = negotiate(scope["subprotocols"])
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._service.doors.refusal(headers)
        if refusal is not None:
            ending = Ending(4403, refusal)
        elif len(self._service.hub.subscribers) >= self._service.limits.clients:
            ending = FULL
        else:
            ending = await Connection(self._service, codec, receive, send).run()
        if ending is not GONE:
            self._service.metrics.closed.labels(str(ending.code)).inc()
            log.info("closed a connection: %d %s", ending.code, ending.reason)
            if ending.last is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORD_S):
                        await send(frame(codec, ending.last.encoded(codec)))
            reason = ending.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            await send({"type": "websocket.close", "code": ending.code, "reason": reason})


class Connection:
    """One accepted connection, from `hello` to its end."""

    def __init__(self, service: Service, codec: Codec, receive: Receive, send: Send) -> None:
        self._service = service
        self._codec = codec
        self._receive = receive
        self._send = send
        self._changed = asyncio.Event()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._subscriber = service.hub.join(codec, wake=self._changed.set, end=self._end)
        self._outbox = self._subscriber.outbox
        self._role: Role | None = None if service.doors.token_required else Role.ADMIN

    async def run(self) -> Ending:
        """Serve until either side ends it; how it ended."""
        clients = self._service.metrics.clients.labels(self._codec.subprotocol)
        clients.inc()
        self._say(
            {
                "type": "hello",
                "protocol": PROTOCOL,
                "server": self._service.server,
                "auth": "token" if self._role is None else "none",
                "now": self._service.now_ms(),
            }
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part()) for part in (self._read, self._write, self._replay)]
                ending = await self._ending
                for task in tasks:
                    task.cancel()
        finally:
            clients.dec()
            self._service.hub.leave(self._subscriber)
            self._outbox.clear()
        return ending

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)

    def _say(self, message: dict[str, Any]) -> None:
        self._outbox.put_reply(Outgoing(message))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    # in

    async def _read(self) -> None:
        limits = self._service.limits
        clock = asyncio.get_running_loop().time
        bucket = Bucket(limits.messages_per_s, limits.message_burst, clock())
        deadline_s = None if self._role is not None else clock() + limits.auth_timeout_s
        while not self._ending.done():
            try:
                async with asyncio.timeout_at(deadline_s if self._role is None else None):
                    message = await self._receive()
            except TimeoutError:
                return self._end(NO_TOKEN)
            if message["type"] == "websocket.disconnect":
                return self._end(GONE)
            if not bucket.take(clock()):
                return self._end(TOO_FAST)
            await self._handle(message)
            await self._until(lambda: self._outbox.room_for_replies)
        return None

    async def _handle(self, message: Message) -> None:
        """Answer one message; every way out of here leaves exactly one reply, or none for what is no request."""
        number: int | None = None
        kind = "?"
        outcome = "ok"
        try:
            text = message.get("text")
            fields = self._codec.decode(message["bytes"] if text is None else text)
            number = rq.request_id(fields)
            request = rq.parse(fields)
            if request is None:
                return
            kind = str(request.__struct_config__.tag)
            result = await self._fulfil(request)
        except WireError as error:
            outcome = error.code
            self._refuse(number, error)
        except Exception:  # the boundary: our fault must not take the connection down, and is told and logged
            outcome = Internal.code
            log.exception("the request %s failed", kind)
            self._refuse(number, Internal(f"{kind} failed inside the daemon; its log says why"))
        else:
            self._say({"type": "result", "id": request.id, "ok": True} | result)
            if isinstance(request, rq.Ask):
                self._service.hub.answer_may_flow(result["ask"])
        if kind == "?":
            self._service.metrics.malformed.inc()
        else:
            self._service.metrics.requests.labels(kind, outcome).inc()

    async def _fulfil(self, request: rq.Request) -> dict[str, Any]:
        if isinstance(request, rq.Auth) and self._service.doors.token_required:
            role = await self._service.backend.role_of(hash_token(request.token))
            if role is None:
                raise Unauthorized("no such token; make one with `vigild token create`", "token")
            self._role = role
        if self._role is None:
            raise Unauthorized("send auth with a token first")
        return await fulfil(request, self._role, self._subscriber, self._service)

    def _refuse(self, number: int | None, error: WireError) -> None:
        reply = {"type": "error", "id": number, "error": error.as_map()}
        if isinstance(error, Unauthorized) and error.param == "token":
            self._end(Ending(NO_TOKEN.code, NO_TOKEN.reason, Outgoing(reply)))
        else:
            self._say(reply)

    # out

    async def _write(self) -> None:
        metrics, name = self._service.metrics, self._codec.subprotocol
        sent, sent_bytes = metrics.sent.labels(name), metrics.sent_bytes.labels(name)
        while True:
            payload = self._outbox.take()
            if payload is None:
                await self._until(lambda: self._outbox.waiting)
                continue
            try:
                async with asyncio.timeout(self._service.limits.stall_s):
                    await self._send(frame(self._codec, payload))
            except TimeoutError:
                return self._end(SLOW)
            except OSError:  # uvicorn's ClientDisconnected among them
                return self._end(GONE)
            sent.inc()
            sent_bytes.inc(len(payload))

    async def _replay(self) -> None:
        """
        Give the subscriber what it has not been offered yet, no faster than the client takes it.

        While the store is away or late the client waits, as those do that are live; sent away it would only come back.
        """
        subscriber, page = self._subscriber, self._service.limits.page
        while True:
            await self._until(lambda: not subscriber.live and self._outbox.events < page)
            try:
                await self._replay_page()
            except Busy as error:
                log.debug("a replay after event %d waits: %s", subscriber.cursor, error.message)
                await asyncio.sleep(BUSY_PAUSE_S)
            except WireError as error:
                return self._end(Ending(1013, f"cannot replay now: {error.message}"))

    async def _replay_page(self) -> None:
        subscriber, backend, hub = self._subscriber, self._service.backend, self._service.hub
        if hub.recall(subscriber, self._service.limits.page):
            await asyncio.sleep(0)  # others have their turn, also where this client wants none of them
            return
        cursor = subscriber.cursor
        events = await backend.events_after(cursor, self._service.limits.page)
        following = events[0].seq if events else hub.head + 1
        if following > cursor + 1 and (oldest := await backend.oldest_seq()) > cursor + 1:
            oldest = following if events else oldest
            if subscriber.cursor == cursor:
                subscriber.trimmed(oldest, events[0].ts if events else None, self._service.now_ms())
                cursor = subscriber.cursor
        if subscriber.cursor == cursor:  # no subscription has moved it meanwhile
            subscriber.replay(events, head=hub.head)
            if not events and not subscriber.live:
                await asyncio.sleep(EMPTY_PAUSE_S)  # what the hub has seen is not there: the store is being replaced


def frame(codec: Codec, payload: bytes) -> Message:
    """The ASGI message that sends a payload."""
    if codec.text:
        return {"type": "websocket.send", "text": payload.decode()}
    return {"type": "websocket.send", "bytes": payload}
