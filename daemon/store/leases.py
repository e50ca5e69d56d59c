"""Leases: one worker owns a camera at a time, and what an earlier owner still says is fenced off by the epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .keys import lease_of
from .link import Link
from .verdict import judged


@dataclass(frozen=True, slots=True)
class Lease:
    """`owner` may speak for `camera` until someone acquires it under a greater `epoch`; renewing gives it ttl_ms."""

    camera: str
    owner: str
    epoch: int
    ttl_ms: int


class Leases:
    """Part of Store."""

    _link: Link

    async def acquire(self, camera: str, owner: str, ttl_ms: int) -> Lease | None:
        """
        The lease, under a new epoch; None while another owner holds it. The same owner takes it over at once.

        Raises: NotFound: no such camera.
        """
        words = await self._link.call("acquire", camera, owner, ttl_ms)
        if words[0] == "held":
            return None
        return Lease(camera, owner, int(judged(words)[0]), ttl_ms)

    async def renew(self, lease: Lease) -> bool:
        """Hold the lease for another ttl_ms; False when it is over. One that ran out untaken is held again."""
        return not await self.renew_all([lease])

    async def renew_all(self, leases: Iterable[Lease]) -> set[str]:
        """Renew many leases, of one owner and ttl_ms, in one write; the cameras whose lease is over."""
        held = list(leases)
        if not held:
            return set()
        pairs = [word for lease in held for word in (lease.camera, str(lease.epoch))]
        return set(judged(await self._link.call("renew", held[0].owner, held[0].ttl_ms, *pairs)))

    async def release(self, lease: Lease) -> None:
        """Let the camera go: the lease is over, and what is emitted under it from now on is fenced."""
        judged(await self._link.call("release", lease.camera, lease.epoch))

    async def holder(self, camera: str) -> str | None:
        """Who holds the camera now."""
        owner = await self._link.command("GET", lease_of(camera))
        return None if owner is None else str(owner, "utf-8")
