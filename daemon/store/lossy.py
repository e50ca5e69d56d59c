"""Messages that nobody misses: stats, previews, answer deltas. Published to whoever listens now, never stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import structlog

from .errors import StoreUnavailable
from .keys import LOSSY
from .link import Link

log = structlog.get_logger(__name__)


class Lossy:
    """Part of Store."""

    _link: Link
    _twins: list[Link]

    async def publish(self, message: bytes) -> None:
        """Send to every listener of this moment."""
        await self._link.command("PUBLISH", LOSSY, message)

    async def lossy(self) -> AsyncIterator[bytes]:
        """Every message published from now on, for ever; what is published while the store is away is lost."""
        link = self._link.twin()
        self._twins.append(link)
        pauses = link.pauses()
        try:
            while True:
                try:
                    async with link.subscribed(LOSSY) as next_message:
                        pauses = link.pauses()
                        while True:
                            message = await next_message()
                            if message is not None:
                                yield message
                except StoreUnavailable as error:
                    if not error.retry:
                        raise
                    log.warning("store.away", reading="lossy", reason=str(error))
                await asyncio.sleep(next(pauses))
        finally:
            self._twins.remove(link)
            await link.aclose()
