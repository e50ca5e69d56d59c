"""
An async client of a vigil daemon.

    async with connect("ws://127.0.0.1:8787") as vigil:
        await vigil.add_camera(CameraSpec(id="dock", source="rtsp://camera.local/main"))
        await vigil.create_rule(RuleSpec(camera="dock", ask="Is a truck at the gate?"))
        answer = await (await vigil.ask("dock", "What is parked here?")).answer()
        async for event in vigil.events(after=0):
            print(event.seq, event.kind, event.data)

Events come exactly once and in order, across lost connections and restarts of the daemon. Every failure is one of
`clients.errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from .backend import CameraView
from .errors import Disconnected, Unreachable, WireError
from .line import Address, Line, open_line, result_of
from .messages import DURABLE, TOPIC_OF_KIND, CameraSpec, Event, RuleSpec
from .wire import MSGPACK, Codec

__all__ = ["Answer", "Asking", "Unreachable", "Vigil", "WireError", "connect"]

DURABLE_TOPICS: Final = tuple(dict.fromkeys(TOPIC_OF_KIND.values()))
RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 5.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """
    A finished answer.

    status: completed, cancelled, failed or unknown; reason: one sentence for the last two.
    frame_ts: Unix epoch ms of the newest frame it rests on, age_ms its age then.
    citations: what it rests on, each a time at which the camera was seen: {"t0": ms, "t1": ms}, with `note`, `text` and
        perhaps `evidence` where it is the frame of a note.
    doubtful: times in its words that nothing bears out.
    """

    ask: str
    camera: str | None = None
    text: str = ""
    status: str = "completed"
    frame_ts: int | None = None
    age_ms: int | None = None
    citations: list[dict[str, Any]] = []
    doubtful: list[str] = []
    usage: dict[str, Any] = {}
    reason: str | None = None


class Asking:
    """A question under way: iterate over its text as it comes, then `answer()`; or only that."""

    def __init__(self, vigil: Vigil, ask: str) -> None:
        self.ask = ask
        self._vigil = vigil
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()  # as much as one answer is long
        self._done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._texts()

    async def _texts(self) -> AsyncIterator[str]:
        while (piece := await self._pieces.get()) is not None:
            yield piece
        self._pieces.put_nowait(None)  # whoever iterates again ends at once

    async def answer(self) -> Answer:
        """The whole answer. Raises Disconnected: the connection went; the answer still comes as an event."""
        return await asyncio.shield(self._done)

    async def cancel(self) -> None:
        """Stop it; `answer()` then returns what was said so far, with the status cancelled."""
        await self._vigil.request("ask.cancel", ask=self.ask)

    def _heard(self, message: dict[str, Any]) -> None:
        if message["type"] == "answer.delta":
            self._pieces.put_nowait(str(message.get("text", "")))
        else:
            self._pieces.put_nowait(None)
            self._done.set_result(msgspec.convert(message, Answer, strict=False))

    def _lost(self, error: WireError) -> None:
        self._pieces.put_nowait(None)
        self._done.set_exception(error)
        self._done.exception()  # whoever waits sees it; one that nobody waits for is no warning


@dataclass(slots=True)
class Waiting:
    """A request without its reply yet; `asking` is what the reply to an ask begins."""

    begins_answer: bool = False
    reply: asyncio.Future[dict[str, Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    asking: Asking | None = None


@contextlib.asynccontextmanager
async def connect(url: str, token: str | None = None, *, codec: Codec = MSGPACK) -> AsyncIterator[Vigil]:
    """
    A client of the daemon at `url` (`ws://host:port`).

    Raises: Unreachable, Unauthorized, Forbidden.
    """
    vigil = Vigil(Address.of(url, token), codec)
    try:
        await vigil._open()  # noqa: SLF001  its own module
        yield vigil
    finally:
        await vigil._close()  # noqa: SLF001


class Vigil:
    """
    A daemon, from a client's point of view. Requests share one connection, which is made anew when it was lost; each
    stream of events has its own, so that a slow reader slows nobody.

    A request whose connection is lost raises Disconnected and is not repeated: it may have taken effect.
    """

    def __init__(self, address: Address, codec: Codec) -> None:
        self._address = address
        self._codec = codec
        self._line: Line | None = None
        self._reader: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._pending: dict[int, Waiting] = {}
        self._asking: dict[str, Asking] = {}

    @property
    def hello(self) -> dict[str, Any]:
        """The daemon's greeting on the present connection."""
        return {} if self._line is None else self._line.hello

    # cameras

    async def add_camera(self, camera: CameraSpec) -> CameraView:
        """Raises Conflict: there is one of this id."""
        return camera_in((await self.request("camera.add", camera=msgspec.to_builtins(camera)))["camera"])

    async def update_camera(self, camera: str, **changes: Any) -> CameraView:
        return camera_in((await self.request("camera.update", camera={"id": camera} | changes))["camera"])

    async def remove_camera(self, camera: str) -> CameraView:
        """The camera as it was; its rules go with it."""
        return camera_in((await self.request("camera.remove", camera=camera))["camera"])

    async def camera(self, camera: str) -> CameraView:
        return camera_in((await self.request("camera.get", camera=camera))["camera"])

    async def cameras(self) -> list[CameraView]:
        return [camera_in(each) for each in (await self.request("camera.list"))["cameras"]]

    # rules

    async def create_rule(self, rule: RuleSpec) -> RuleSpec:
        """The rule with the id that the daemon gives it; `rule.id` stays empty."""
        fields = {name: value for name, value in msgspec.to_builtins(rule).items() if name != "id" or value}
        return rule_in((await self.request("rule.create", rule=fields))["rule"])

    async def update_rule(self, rule: str, **changes: Any) -> RuleSpec:
        return rule_in((await self.request("rule.update", rule={"id": rule} | changes))["rule"])

    async def delete_rule(self, rule: str) -> RuleSpec:
        return rule_in((await self.request("rule.delete", rule=rule))["rule"])

    async def rules(self, camera: str | None = None) -> list[RuleSpec]:
        fields = {} if camera is None else {"camera": camera}
        return [rule_in(each) for each in (await self.request("rule.list", **fields))["rules"]]

    # questions

    async def ask(self, camera: str, text: str, *, max_tokens: int = 128) -> Asking:
        """Ask; the answer comes through what is returned."""
        waiting = Waiting(begins_answer=True)
        reply = await self._request(waiting, "ask", {"camera": camera, "text": text, "max_tokens": max_tokens})
        assert waiting.asking is not None, reply
        return waiting.asking

    # events

    async def history(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        camera: str | None = None,
        kind: str | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """Events that have been, oldest first."""
        wanted = {"after": after, "before": before, "camera": camera, "kind": kind, "limit": limit}
        reply = await self.request(
            "events.list", **{name: value for name, value in wanted.items() if value is not None}
        )
        return [event_in(message) for message in reply["events"]]

    async def notes(self, camera: str | None = None, *, limit: int = 100) -> list[Event]:
        """The newest notes, of one camera or of all, oldest first; for those to come see `events(("note",))`."""
        return await self.history(camera=camera, kind="note", limit=limit)

    async def events(
        self,
        topics: Iterable[str] = DURABLE_TOPICS,
        *,
        cameras: Iterable[str] | str = "*",
        after: int | None = None,
    ) -> AsyncGenerator[Event]:
        """
        Durable events, for ever: those after the seq `after`, or those from now on. Exactly once, in order.

        A `gap` with the reason `trimmed` stands for events that the daemon no longer holds.
        Raises: what `messages` raises.
        """
        async with contextlib.aclosing(self.messages(topics, cameras=cameras, after=after)) as messages:
            async for message in messages:
                if message["type"] in DURABLE:
                    yield event_in(message)

    async def messages(
        self,
        topics: Iterable[str],
        *,
        cameras: Iterable[str] | str = "*",
        after: int | None = None,
    ) -> AsyncGenerator[dict[str, Any]]:
        """
        Everything that comes in on these topics, lossy ones included, as maps; for ever, across lost connections.

        Raises: Unauthorized, Forbidden; Invalid: no such topic, or `after` is newer than the newest event.
        """
        wanted = {"topics": list(topics), "cameras": cameras if isinstance(cameras, str) else list(cameras)}
        last = after
        pauses = backoff()
        while True:
            try:
                async with open_line(self._address, self._codec) as line:
                    resume = {} if last is None else {"after": last}
                    reply = await line.request("subscribe", **wanted, **resume)
                    last = reply["seq"] if last is None else last
                    pauses = backoff()
                    while True:
                        message = await line.receive()
                        seq = message.get("seq")
                        if isinstance(seq, int):
                            last = seq
                        yield message
            except (Disconnected, Unreachable):
                await asyncio.sleep(next(pauses))

    # any request

    async def request(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        """
        The result of one request, as a map.

        Raises: the WireError that the daemon answers; Unreachable; Disconnected.
        """
        return await self._request(Waiting(), kind, fields)

    async def _request(self, waiting: Waiting, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        line = await self._open()
        number = line.next_id()
        self._pending[number] = waiting
        try:
            await line.send({"type": kind, "id": number} | fields)
            return result_of(await waiting.reply)
        finally:
            self._pending.pop(number, None)

    # the connection

    async def _open(self) -> Line:
        """The connection that there is, or a new one."""
        async with self._opening:
            if self._line is None:
                opened: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
                self._reader = asyncio.create_task(self._read(opened), name="vigil sdk")
                self._line = await opened
            return self._line

    async def _close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self, opened: asyncio.Future[Line]) -> None:
        """Own the connection from its opening to its end, and give each message to who waits for it."""
        error: WireError = Disconnected("the client was closed")
        try:
            async with open_line(self._address, self._codec) as line:
                if opened.cancelled():
                    return
                opened.set_result(line)
                while True:
                    self._sort(await line.receive())
        except WireError as reason:
            error = reason
        finally:
            self._line = None
            if not opened.done():
                opened.set_exception(error)
            for waiting in self._pending.values():
                if not waiting.reply.done():
                    waiting.reply.set_exception(error)
            for asking in self._asking.values():
                asking._lost(error)  # noqa: SLF001  its own module
            self._pending, self._asking = {}, {}

    def _sort(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "result" | "error":
                waiting = self._pending.pop(message.get("id", -1), None)
                if waiting is None or waiting.reply.done():
                    return
                if waiting.begins_answer and message["type"] == "result":  # its first piece may be the next message
                    waiting.asking = self._asking[message["ask"]] = Asking(self, message["ask"])
                waiting.reply.set_result(message)
            case "answer.delta" | "answer.done":
                asking = self._asking.get(message["ask"])
                if asking is not None:
                    asking._heard(message)  # noqa: SLF001  its own module
                    if message["type"] == "answer.done":
                        del self._asking[message["ask"]]


def backoff() -> Iterator[float]:
    """Seconds to wait before each further try: doubling, bounded, with jitter."""
    pause_s = RETRY_FIRST_S
    while True:
        yield pause_s * random.uniform(0.5, 1.5)  # noqa: S311  not a secret
        pause_s = min(RETRY_MAX_S, 2 * pause_s)


def camera_in(message: dict[str, Any]) -> CameraView:
    """The camera of a reply."""
    return CameraView(
        spec=msgspec.convert(message, CameraSpec),
        state=message["state"],
        reason=message.get("reason"),
        last_frame_ts=message.get("last_frame_ts"),
        counters=message.get("counters", {}),
    )


def rule_in(message: dict[str, Any]) -> RuleSpec:
    """The rule of a reply."""
    return msgspec.convert(message, RuleSpec)


def event_in(message: dict[str, Any]) -> Event:
    """The event of a message."""
    head = ("type", "seq", "event", "ts", "camera")
    return Event(
        seq=message["seq"],
        id=message["event"],
        kind=message["type"],
        camera=message.get("camera"),
        ts=message["ts"],
        data={key: value for key, value in message.items() if key not in head},
    )
