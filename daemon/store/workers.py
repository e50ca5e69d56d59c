"""Which workers live: each is heard of within its ttl, or forgotten."""

from __future__ import annotations

from typing import Any

from .codec import pack, unpack
from .link import Link
from .verdict import judged


class Workers:
    """Part of Store."""

    _link: Link

    async def heartbeat(self, worker: str, info: dict[str, Any], ttl_ms: int) -> None:
        """Say that `worker` lives and will be heard of again within ttl_ms."""
        judged(await self._link.call("heartbeat", worker, pack(info), ttl_ms))

    async def workers(self) -> dict[str, dict[str, Any]]:
        """Worker -> what it said of itself, for those heard of in time."""
        words = judged(await self._link.call("workers"))
        return {words[i]: unpack(words[i + 1]) for i in range(0, len(words), 2)}
