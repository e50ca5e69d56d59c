"""
One client's connections to the server: commands that retry across restarts, cancel cleanly and fail in our words.

redis-py's own retries and time-outs are switched off, because (read in redis-py 8.1)
* its retries know nothing of how long a caller is willing to wait, nor of reloading the function library;
* its write time-out wraps every command in asyncio.wait_for, which on Python 3.11 can swallow a cancellation.
What remains of it disconnects on *any* exception in the middle of a command, cancellation included, so that a
connection never carries a reply that belongs to someone else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import redis.asyncio as aioredis
import redis.exceptions as rx
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .errors import StoreError, StoreFull, StoreReadOnly, StoreRefused, StoreUnavailable
from .functions import LIBRARY, NAME, on_server
from .keys import ROOT
from .server import Server, objection, read_info

log = structlog.get_logger(__name__)

POOL_SLACK: Final = 8  # connections that are being let go by a cancelled command still count in redis-py's pool


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """
    patience_s: how long a command is tried again while the store is away, before StoreUnavailable.
    connect_s, reply_s: bounds of one try. block_ms: how long a blocking read waits on the server.
    max_connections: commands in flight at once; more wait for their turn.
    """

    patience_s: float = 5.0
    connect_s: float = 2.0
    reply_s: float = 5.0
    block_ms: int = 2000
    max_connections: int = 16
    backoff_min_s: float = 0.02
    backoff_max_s: float = 0.5


class Link:
    """A bounded pool of connections. Every command may be sent more than once: send only what bears repetition."""

    def __init__(self, url: str, settings: LinkSettings, *, jitter: Callable[[], float] = random.random) -> None:
        """Connects to nothing yet. Raises: StoreRefused: the URL cannot be understood."""
        self.url = url
        self.settings = settings
        self._jitter = jitter
        self._closed = False
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._client = self._make_client()

    def twin(self) -> Link:
        """Another link to the same store, for blocking reads, which would otherwise hold this one's connections."""
        return Link(self.url, self.settings, jitter=self._jitter)

    async def aclose(self) -> None:
        """Close every connection; what still waits on one, and every later command, raises StoreRefused."""
        if self._closed:
            return
        self._closed = True
        await self._client.aclose()  # commands in flight fail now …
        for _ in range(self.settings.max_connections):
            await self._slots.acquire()  # … have ended here …
        await self._client.aclose()  # … and one that was just connecting has left its connection in the pool

    async def check(self) -> Server:
        """The server behind the link, made ready for calls. Raises StoreError when vigild cannot use it."""
        server = read_info(str(await self.command("INFO"), "utf-8", "replace"))
        problem = objection(server)
        if problem is not None:
            raise problem
        await self._load_library()
        return server

    async def call(self, function: str, *args: str | bytes | int) -> list[str]:
        """Run one function of the library on the root; its reply as text, the status first."""
        reply = await self.command("FCALL", on_server(function), 1, ROOT, *args)
        return [str(part, "utf-8") for part in reply]

    async def command(self, *words: str | bytes | int, wait_s: float = 0.0) -> Any:
        """
        The server's reply to a command: bytes, int, None, or a list of these.

        Args: wait_s: how long the command itself waits on the server (BLOCK), on top of the bound of a reply.
        Raises: StoreError, once patience is at its end or waiting cannot help.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self.settings.patience_s
        pauses = self.pauses()
        while True:
            try:
                return await self._once(words, wait_s)
            except StoreUnavailable as error:
                pause_s = next(pauses)
                if not error.retry or loop.time() + pause_s >= give_up_at:
                    raise
            except _LibraryMissing:  # an emptied or replaced server
                pause_s = next(pauses)
                if loop.time() + pause_s >= give_up_at:
                    raise StoreUnavailable(
                        f"the store at {redacted(self.url)} keeps losing vigild's functions"
                    ) from None
                await self._load_library()
            await asyncio.sleep(pause_s)

    def pauses(self) -> Iterator[float]:
        """Seconds to wait between tries: doubling, bounded, with jitter so that a fleet does not return at once."""
        pause_s = self.settings.backoff_min_s
        while True:
            yield pause_s * (0.5 + self._jitter())
            pause_s = min(self.settings.backoff_max_s, 2 * pause_s)

    @contextlib.asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[Callable[[], Any]]:
        """
        A subscription on a connection of its own; yields a function that awaits the next message, None after block_ms.

        Raises: StoreError, in the body too, when the connection breaks: subscribe anew.
        """
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        try:
            with self._in_our_words():
                async with asyncio.timeout(self.settings.reply_s):
                    await pubsub.subscribe(channel)

            async def next_message() -> bytes | None:
                with self._in_our_words():
                    message = await pubsub.get_message(timeout=self.settings.block_ms / 1000)
                return None if message is None else message["data"]

            yield next_message
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    # --- private

    async def _once(self, words: tuple[str | bytes | int, ...], wait_s: float) -> Any:
        with self._in_our_words():
            async with asyncio.timeout(self.settings.reply_s + wait_s), self._slots:
                self._check_open()
                return await self._client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def _load_library(self) -> None:
        """Load the functions unless they are there: a full store refuses to load, and must still be trimmed."""
        if not await self.command("FUNCTION LIST", "LIBRARYNAME", NAME):
            with contextlib.suppress(_LibraryPresent):  # another process was quicker; the same name is the same text
                await self.command("FUNCTION LOAD", LIBRARY)

    def _make_client(self) -> aioredis.Redis:
        try:
            client = aioredis.Redis.from_url(
                self.url,
                protocol=2,  # no push messages between the replies
                retry=Retry(NoBackoff(), 0),
                socket_timeout=None,
                socket_connect_timeout=self.settings.connect_s,
                max_connections=self.settings.max_connections + POOL_SLACK,
            )
        except (ValueError, TypeError):  # whose text may hold a piece of the password
            raise StoreRefused(
                f"redis_url {redacted(self.url)!r} cannot be used; write redis://host:6379/0, rediss://… or "
                "unix:///path/to/socket, and user and password percent-encoded"
            ) from None
        client.response_callbacks.clear()  # replies as the protocol gives them; redis-py reshapes them anew each year
        return client

    def _check_open(self) -> None:
        if self._closed:
            raise StoreRefused("the connection to the store has been closed")

    @contextlib.contextmanager
    def _in_our_words(self) -> Iterator[None]:
        self._check_open()
        try:
            yield
        except (rx.RedisError, TimeoutError, OSError) as error:
            raise _in_our_words(error, redacted(self.url)) from error


class _LibraryMissing(Exception):
    """The server does not know our functions."""


class _LibraryPresent(Exception):
    """The server knows our functions already."""


def redacted(url: str) -> str:
    """The URL without its user, its password or the options that may hold one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/]*@", "//***@", url.partition("?")[0])
    if parts.fragment or "@" in parts.path + parts.query:  # an unquoted '#', '/' or '?' cuts a password in two
        return f"{parts.scheme}://***"
    netloc = "***@" + parts.netloc.rpartition("@")[2] if "@" in parts.netloc else parts.netloc
    query = re.sub(r"(?i)(user|pass|secret|key)(\w*)=[^&]*", r"\1\2=***", parts.query)
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return f"{scheme}{netloc}{parts.path}" + (f"?{query}" if query else "")


def _in_our_words(error: Exception, where: str) -> Exception:
    """The failure of one try, told in the words of errors.py."""
    error = _innermost(error)
    text = str(error)
    match error:
        case rx.AuthenticationError() | rx.AuthorizationError() | rx.AuthenticationWrongNumberOfArgsError():
            return StoreRefused(f"the store at {where} refuses the user or password in redis_url")
        case rx.NoPermissionError():
            return StoreRefused(f"the store at {where} does not permit what vigild needs: {text}")
        case rx.OutOfMemoryError():
            return StoreFull(
                "the store's memory is full (maxmemory): raise store.max_memory_mb, or maxmemory of a server of your "
                "own, or lower store.max_events"
            )
        case rx.ReadOnlyError():
            return StoreReadOnly(f"the store at {where} is a read-only replica; set redis_url to the primary")
        case rx.MovedError() | rx.AskError() | rx.ClusterDownError():
            return StoreRefused(f"the store at {where} is a cluster node that does not hold vigild's slot: {text}")
        case rx.InvalidResponse():
            return StoreRefused(f"what answers at {where} does not speak the Redis protocol")
        case rx.BusyLoadingError():
            return StoreUnavailable(f"the store at {where} is still loading its data")
        case rx.ConnectionError() | rx.TimeoutError() | TimeoutError() | OSError():
            return StoreUnavailable(f"the store at {where} cannot be reached: {_reason(error)}")
        case rx.ResponseError() if "Function not found" in text:
            return _LibraryMissing()
        case rx.ResponseError() if "already exists" in text and "Library" in text:
            return _LibraryPresent()
        case rx.ResponseError() if text.startswith("UNBLOCKED"):  # a blocking read, by REPLICAOF or a failover
            return StoreUnavailable(f"the store at {where} is changing its role")
        case rx.ResponseError() if text.startswith("MISCONF"):
            return StoreFull(f"the store at {where} cannot write to its disk: {text.removeprefix('MISCONF ')}")
        case rx.ResponseError() if "unknown command" in text.lower() and "FUNCTION" in text.upper():
            return StoreRefused(f"the store at {where} has no functions; vigild needs Redis 7 or later, or Valkey")
    return StoreError(f"the store at {where} answered: {text}")


def _innermost(error: Exception) -> Exception:
    """redis-py wraps what fails while connecting, a wrong password too, into one or more ConnectionErrors."""
    while type(error) is rx.ConnectionError and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | rx.TimeoutError):
        return "no answer in time"
    system = error if isinstance(error, OSError) else error.__context__
    if isinstance(system, OSError) and (system.errno or 0) > 0:  # negative: of getaddrinfo, which says it well
        return os.strerror(system.errno or 0).lower()
    return str(error).removesuffix(".") or type(error).__name__
