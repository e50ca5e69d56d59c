"""Following a stream whose entry ids are a counter without holes, across restarts of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog

from .errors import StoreReset, StoreUnavailable
from .link import Link

log = structlog.get_logger(__name__)


async def entries_after(link: Link, stream: str, counter: str, after: int, page: int) -> AsyncIterator[list[Any]]:
    """
    Every entry behind `after`, in order, exactly once, for ever: lists of raw entries [id, [field, value, …]].

    Args: counter: the key that holds the newest id; link: not used for anything else, its reads block.
    Raises: StoreReset: the newest id is older than one already seen. StoreError other than StoreUnavailable.
    """
    block_ms = link.settings.block_ms
    away = False
    known = False  # is it still the store we knew? asked again after every silence: an emptied one is silent too
    pauses = link.pauses()
    while True:
        try:
            if not known:
                newest = int(await link.command("GET", counter) or 0)
                if newest < after:
                    raise StoreReset(
                        f"the store's newest entry of {stream} is {newest}, but {after} was seen: it is another store, "
                        "or it has lost its data"
                    )
                away, known, pauses = False, True, link.pauses()
            reply = await link.command(
                "XREAD", "COUNT", page, "BLOCK", block_ms, "STREAMS", stream, after, wait_s=block_ms / 1000
            )
        except StoreUnavailable as error:
            if not error.retry:
                raise
            if not away:
                log.warning("store.away", reading=stream, reason=str(error))
            away, known = True, False
            await asyncio.sleep(next(pauses))
            continue
        if reply:
            entries = reply[0][1]
            after = int(entries[-1][0].partition(b"-")[0])
            yield entries
        else:
            known = False
