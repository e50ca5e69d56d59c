"""The store: all that workers and gateways share, over one Redis or Valkey."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from .asks import Asks
from .changes import Changes
from .events import Events
from .leases import Leases
from .link import Link, LinkSettings
from .lossy import Lossy
from .server import Server
from .specs import Specs
from .states import States
from .tokens import Tokens
from .workers import Workers


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """
    link: connections, patience.
    dedup_ms: how long a repeated emission is recognised; each event costs some 200 bytes of the store for that long,
        which trimming does not free. max_asks_per_camera, max_asks: questions without an answer.
    """

    link: LinkSettings = field(default_factory=LinkSettings)
    dedup_ms: int = 3_600_000
    max_asks_per_camera: int = 32
    max_asks: int = 1000


class Store(Specs, Leases, Events, Asks, States, Changes, Lossy, Workers, Tokens):
    """
    One file each: specs, leases, events, asks, states, changes, lossy, workers, tokens.

    Every method may be cancelled at any point and called again. While the store is away each waits up to
    `link.patience_s` and then raises StoreUnavailable; the iterators wait for ever. Belongs to one event loop.
    """

    def __init__(
        self, link: Link, server: Server, *, owner: str, settings: StoreSettings, now_ms: Callable[[], int]
    ) -> None:
        self._link = link
        self._twins: list[Link] = []
        self.server = server
        self.owner = owner
        self._now_ms = now_ms
        self.dedup_ms = settings.dedup_ms
        self.max_asks_per_camera = settings.max_asks_per_camera
        self.max_asks = settings.max_asks

    @classmethod
    async def connect(
        cls, url: str, *, owner: str, settings: StoreSettings | None = None, now_ms: Callable[[], int] = wall_clock_ms
    ) -> Self:
        """
        Reach the store, check that it is one vigild can use, and load its functions.

        Args: url: redis://, rediss:// or unix://. owner: who is asking, for logs ("w0", "gateway").
            now_ms: Unix epoch ms, for the events that the store itself writes (`remove_camera`, `delete_rule`).
        Raises: StoreUnavailable, StoreRefused, StoreTooOld, StoreReadOnly, StoreFull.
        """
        settings = settings or StoreSettings()
        link = Link(url, settings.link)
        try:
            server = await link.check()
        except BaseException:
            await link.aclose()
            raise
        return cls(link, server, owner=owner, settings=settings, now_ms=now_ms)

    async def ping(self) -> None:
        """Return when the store answers. Raises: StoreError."""
        await self._link.command("PING")

    async def aclose(self) -> None:
        """Close every connection; iterators still open raise StoreRefused."""
        async with contextlib.AsyncExitStack() as stack:
            for link in (self._link, *self._twins):
                stack.push_async_callback(link.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
