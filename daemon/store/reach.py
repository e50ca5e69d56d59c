"""A process's own connection to the store: waited for at the start, closed at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from .errors import StoreUnavailable
from .store import Store, StoreSettings

log = structlog.get_logger(__name__)

RETRY_S: Final = 0.5


@contextlib.asynccontextmanager
async def reached(
    url: str, stop: asyncio.Event, *, owner: str, settings: StoreSettings | None = None
) -> AsyncIterator[Store | None]:
    """
    The store, waited for as long as it is merely away; None when `stop` came first.

    Raises: StoreError: it is there and cannot be used, or the URL is wrong: waiting would not help.
    """
    store: Store | None = None
    while store is None and not stop.is_set():
        try:
            store = await Store.connect(url, owner=owner, settings=settings)
        except StoreUnavailable as error:
            if not error.retry:
                raise
            log.warning("store.away", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_S)
    try:
        yield store
    finally:
        if store is not None:
            await store.aclose()
