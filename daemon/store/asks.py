"""Questions on their way to a worker: bounded, and gone with their answer."""

from __future__ import annotations

from typing import Any

from .codec import pack, unpack
from .keys import CANCELLED, asks_of
from .link import Link
from .specs import REQUEST_MS
from .verdict import judged


class Asks:
    """Part of Store."""

    _link: Link
    max_asks_per_camera: int
    max_asks: int

    async def put_ask(self, ask: dict[str, Any]) -> None:
        """
        Hand a question over.

        Args: ask: a map with at least `ask` (its id) and `camera`; kept as it is.
        Raises: NotFound: no such camera. LimitReached: too many wait already. Exists.
        """
        words = await self._link.call(
            "put_ask",
            ask["ask"],
            ask["camera"],
            pack(ask),
            self.max_asks_per_camera,
            self.max_asks,
            f"ask:{ask['ask']}",
            REQUEST_MS,
        )
        judged(words)

    async def pending_asks(self, camera: str) -> list[dict[str, Any]]:
        """The camera's questions without an answer, as they were put, plus `cancelled`; the oldest `asked_ts` first."""
        words = await self._link.command("HGETALL", asks_of(camera))
        if not words:
            return []
        cancelled = await self._link.command("HMGET", CANCELLED, *words[::2])
        asks = [unpack(ask) | {"cancelled": mark is not None} for ask, mark in zip(words[1::2], cancelled, strict=True)]
        return sorted(asks, key=lambda ask: (ask.get("asked_ts", 0), ask["ask"]))

    async def cancel_ask(self, ask: str) -> None:
        """Tell the worker to stop; the ask stays pending until its answer. Raises: NotFound: no such ask is pending."""
        judged(await self._link.call("cancel_ask", ask))
