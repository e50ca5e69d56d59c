"""What happened to specifications and asks, so that workers need not ask all the time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from .errors import StoreReset
from .follow import entries_after
from .keys import CHANGE, CHANGES
from .link import Link

PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Change:
    """
    Something was written: read it again. `id` is that of the camera, rule or ask, `camera` the camera concerned.

    kind: "camera", "rule", "ask", "ask.cancel" or "reset": some changes cannot be told any more, because the follower
        fell far behind or the store was replaced; id and camera are empty then. Read everything again.
    """

    kind: str
    id: str
    camera: str


class Changes:
    """Part of Store."""

    _link: Link
    _twins: list[Link]

    async def newest_change(self) -> str:
        """A cursor for `changes`. Take it *before* the first full read, so that nothing falls between."""
        return str(await self._newest(self._link))

    async def changes(self, after: str) -> AsyncIterator[Change]:
        """Every change behind the cursor, in order, for ever; outlives restarts of the store."""
        link = self._link.twin()
        self._twins.append(link)
        seen = int(after)
        try:
            while True:
                try:
                    async for page in entries_after(link, CHANGES, CHANGE, seen, PAGE):
                        for entry_id, words in page:
                            number = int(entry_id.partition(b"-")[0])
                            if number != seen + 1:
                                yield Change("reset", "", "")
                            seen = number
                            fields = dict(zip(words[::2], words[1::2], strict=True))
                            yield Change(*(str(fields[name], "utf-8") for name in (b"kind", b"id", b"camera")))
                except StoreReset:
                    seen = await self._newest(link)
                    yield Change("reset", "", "")
        finally:
            self._twins.remove(link)
            await link.aclose()

    async def _newest(self, link: Link) -> int:
        return int(await link.command("GET", CHANGE) or 0)
