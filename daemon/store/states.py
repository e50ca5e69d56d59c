"""What is known about cameras now: state, open alerts, counters."""

from __future__ import annotations

from typing import Any, Final

from .codec import pack, unpack
from .keys import STATES, alerts_of
from .link import Link
from .verdict import judged

COUNTERS_MAX_AGE_MS: Final = 86_400_000  # a worker that returns within a day knows when its cameras were last seen


class States:
    """Part of Store."""

    _link: Link

    async def camera_states(self) -> dict[str, dict[str, Any]]:
        """Camera -> data of its newest `camera.state` event, plus its `ts`."""
        words = await self._link.command("HGETALL", STATES)
        return {str(words[i], "utf-8"): unpack(words[i + 1]) for i in range(0, len(words), 2)}

    async def open_alerts(self, camera: str) -> list[dict[str, Any]]:
        """Data of each `alert.started` event that no `alert.ended` has followed, plus its `ts`; oldest first."""
        alerts = [unpack(value) for value in await self._link.command("HVALS", alerts_of(camera))]
        return sorted(alerts, key=lambda alert: (alert["ts"], alert["alert"]))

    async def set_counters(self, camera: str, counters: dict[str, Any]) -> None:
        """Replace what is counted of one camera; nothing happens when there is no such camera."""
        await self.set_all_counters({camera: counters})

    async def set_all_counters(self, counters: dict[str, dict[str, Any]]) -> None:
        """Replace what is counted of many cameras in one write."""
        if counters:
            words = [word for camera, counted in counters.items() for word in (camera, pack(counted))]
            judged(await self._link.call("put_counters", *words))

    async def counters(self, camera: str, *, max_age_ms: int = COUNTERS_MAX_AGE_MS) -> dict[str, Any] | None:
        """What was last counted of a camera, None when that is older than max_age_ms."""
        return (await self._counters(camera, max_age_ms)).get(camera)

    async def all_counters(self, *, max_age_ms: int = COUNTERS_MAX_AGE_MS) -> dict[str, dict[str, Any]]:
        """Camera -> what was last counted of it."""
        return await self._counters("", max_age_ms)

    async def _counters(self, camera: str, max_age_ms: int) -> dict[str, dict[str, Any]]:
        words = judged(await self._link.call("counters", camera, max_age_ms))
        return {words[i]: unpack(words[i + 1]) for i in range(0, len(words), 2)}
