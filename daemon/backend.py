"""What clients ask for, over the store: `clients.backend.Backend`, with the store's errors in the wire's words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from clients import errors as wire
from clients.auth import Role
from clients.backend import CameraView, Readiness
from clients.messages import CameraSpec, Event, RuleSpec, updated
from clients.service import new_id
from streaming.admission import Capacity

from .placement.serving import place, refusal, served
from .store import (
    Evidence,
    Exists,
    LimitReached,
    NotFound,
    Store,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

log = structlog.get_logger(__name__)

READINESS_PATIENCE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class StoreBackend:
    """
    workers: the names of those that must live for the daemon to be ready; empty means that any one will do.
    max_cameras, max_rules: bounds for what clients may create. now_ms: Unix epoch milliseconds.
    """

    store: Store
    evidence: Evidence
    now_ms: Callable[[], int]
    workers: Sequence[str] = ()
    max_cameras: int = 256
    max_rules: int = 4096

    # cameras

    async def add_camera(self, spec: CameraSpec) -> CameraView:
        with told():
            if len(await self.store.cameras()) >= self.max_cameras:
                raise wire.Limit(f"there are {self.max_cameras} cameras already, the most this daemon keeps", "camera")
            await self._admit(spec)
            await self.store.put_camera(spec, expect="new")
            log.info("camera.added", camera=spec.id)
            return await self._view(spec)

    async def update_camera(self, camera: str, changes: dict[str, Any]) -> CameraView:
        with told():
            old = await self.store.camera(camera)
            spec = updated(old, changes)
            if spec.model != old.model:
                check_model(spec, await self.store.workers())
            await self.store.put_camera(spec, expect="existing")
            log.info("camera.updated", camera=camera)
            return await self._view(spec)

    async def remove_camera(self, camera: str) -> CameraView:
        with told():
            view = await self._view(await self.store.camera(camera))
            await self.store.remove_camera(camera)
            log.info("camera.removed", camera=camera)
            return view

    async def get_camera(self, camera: str) -> CameraView:
        with told():
            return await self._view(await self.store.camera(camera))

    async def list_cameras(self) -> list[CameraView]:
        with told():
            specs = await self.store.cameras()
            states, counters = await self.store.camera_states(), await self.store.all_counters()
            return [view(spec, states.get(spec.id, {}), counters.get(spec.id)) for spec in specs]

    async def _admit(self, spec: CameraSpec) -> None:
        """Refuse what the worker that would own it could not carry, going by what that one last said of itself."""
        workers = await self.store.workers()
        if not workers:
            return
        check_model(spec, workers)
        try:
            capacity = Capacity.from_map(workers[place(spec.id, spec.model, served(workers))]["capacity"])
        except (KeyError, TypeError, ValueError):  # a worker of another release: it judges for itself
            return
        if (too_much := capacity.refusal(spec.fps)) is not None:
            raise wire.Limit(too_much, "camera.fps")

    async def _view(self, spec: CameraSpec) -> CameraView:
        states = await self.store.camera_states()
        return view(spec, states.get(spec.id, {}), await self.store.counters(spec.id))

    # rules

    async def create_rule(self, spec: RuleSpec) -> RuleSpec:
        with told():
            if len(await self.store.rules()) >= self.max_rules:
                raise wire.Limit(f"there are {self.max_rules} rules already, the most this daemon keeps", "rule")
            made = spec.named(new_id("r"))
            await self.store.put_rule(made, expect="new")
            return made

    async def update_rule(self, rule: str, changes: dict[str, Any]) -> RuleSpec:
        with told():
            spec = updated(await self.store.rule(rule), changes)
            await self.store.put_rule(spec, expect="existing")
            return spec

    async def delete_rule(self, rule: str) -> RuleSpec:
        with told():
            return await self.store.delete_rule(rule)

    async def list_rules(self, camera: str | None) -> list[RuleSpec]:
        with told():
            if camera is not None:
                await self.store.camera(camera)  # so that a wrong name is told from a camera without rules
            return await self.store.rules(camera)

    # questions

    async def ask(self, ask: str, camera: str, text: str, max_tokens: int) -> None:
        with told():
            await self.store.put_ask(
                {"ask": ask, "camera": camera, "text": text, "max_tokens": max_tokens, "asked_ts": self.now_ms()}
            )

    async def cancel_ask(self, ask: str) -> None:
        with told():
            await self.store.cancel_ask(ask)

    # events

    async def newest_seq(self) -> int:
        with told():
            return await self.store.newest_seq()

    async def oldest_seq(self) -> int:
        with told():
            return await self.store.oldest_seq()

    async def events_after(self, seq: int, limit: int) -> Sequence[Event]:
        with told():
            return await self.store.events_after(seq, limit)

    async def list_events(
        self, *, after: int | None, before: int | None, camera: str | None, kind: str | None, limit: int
    ) -> Sequence[Event]:
        with told():
            return await self.store.list_events(after=after, before=before, camera=camera, kind=kind, limit=limit)

    # the rest

    async def role_of(self, token_hash: str) -> Role | None:
        with told():
            return next((Role.named(each.role) for each in await self.store.tokens() if each.hash == token_hash), None)

    async def readiness(self) -> Readiness:
        try:
            async with asyncio.timeout(READINESS_PATIENCE_S):
                await self.store.ping()
                alive = await self.store.workers()
        except (StoreError, TimeoutError) as error:
            return Readiness(ready=False, parts={"store": str(error) or "the store does not answer"})
        missing = {f"worker {name}": "not heard of" for name in self.workers if name not in alive}
        if not alive and not missing:
            missing = {"worker": "none is heard of"}
        present = {f"worker {name}": "ok" for name in alive}
        return Readiness(ready=not missing, parts={"store": "ok"} | present | missing)

    def evidence_path(self, name: str) -> Path | None:
        return self.evidence.path(name)


def check_model(spec: CameraSpec, workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises Unsupported where no worker serves the camera's model; while none is there, the later ones judge."""
    if workers and (unserved := refusal(spec.model, served(workers).values())) is not None:
        raise wire.Unsupported(unserved, "camera.model")


def view(spec: CameraSpec, state: dict[str, Any], counters: dict[str, Any] | None) -> CameraView:
    """A camera of which nothing is known yet is about to be connected."""
    return CameraView(
        spec=spec,
        state=state.get("state", "connecting"),
        reason=state.get("reason"),
        last_frame_ts=(counters or {}).get("last_frame_ts", state.get("last_frame_ts")),
        counters=counters or {},
    )


@contextlib.contextmanager
def told() -> Iterator[None]:
    """The store's errors as the wire's."""
    try:
        yield
    except NotFound as error:
        raise wire.NotFound(str(error), error.kind) from error
    except Exists as error:
        raise wire.Conflict(str(error), error.kind) from error
    except (LimitReached, StoreFull) as error:
        raise wire.Limit(str(error)) from error
    except StoreReadOnly as error:
        raise wire.Busy(f"the store takes no writes right now, try again: {error}") from error
    except StoreUnavailable as error:
        raise wire.Busy(f"the store is not there right now, try again: {error}") from error
    except StoreError as error:
        raise wire.Internal(str(error)) from error
