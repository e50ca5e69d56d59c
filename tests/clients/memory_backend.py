"""A second implementation of `clients.backend.Backend`: everything in memory, for tests of the protocol itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clients.auth import Role
from clients.backend import CameraView, Readiness
from clients.errors import Busy, Conflict, NotFound
from clients.messages import CameraSpec, Event, RuleSpec, updated


class MemoryBackend:
    """`away` makes every method raise Busy, as when the store cannot be reached."""

    def __init__(self, evidence: Path | None = None) -> None:
        self.specs: dict[str, CameraSpec] = {}
        self.rule_specs: dict[str, RuleSpec] = {}
        self.held: list[Event] = []
        self.newest = 0
        self.asks: list[tuple[str, str, str, int]] = []
        self.cancelled: list[str] = []
        self.roles: dict[str, Role] = {}
        self.away = False
        self.evidence = evidence

    def happen(self, kind: str = "note", camera: str | None = "dock", **data: Any) -> Event:
        """The next event, as if a worker had emitted it."""
        self.newest += 1
        event = Event(self.newest, f"e_{self.newest}", kind, camera, 1000 + self.newest, data)
        self.held.append(event)
        return event

    def trim(self, oldest: int) -> None:
        self.held = [event for event in self.held if event.seq >= oldest]

    def check(self) -> None:
        if self.away:
            raise Busy("the store is not there right now, try again")

    def view(self, spec: CameraSpec) -> CameraView:
        return CameraView(spec, "connecting", None, None, {})

    async def add_camera(self, spec: CameraSpec) -> CameraView:
        self.check()
        if spec.id in self.specs:
            raise Conflict(f"camera '{spec.id}' exists already", "camera")
        self.specs[spec.id] = spec
        return self.view(spec)

    async def update_camera(self, camera: str, changes: dict[str, Any]) -> CameraView:
        await self.get_camera(camera)
        self.specs[camera] = updated(self.specs[camera], changes)
        return self.view(self.specs[camera])

    async def remove_camera(self, camera: str) -> CameraView:
        view = await self.get_camera(camera)
        del self.specs[camera]
        return view

    async def get_camera(self, camera: str) -> CameraView:
        self.check()
        if camera not in self.specs:
            raise NotFound(f"no camera '{camera}'", "camera")
        return self.view(self.specs[camera])

    async def list_cameras(self) -> list[CameraView]:
        self.check()
        return [self.view(spec) for spec in self.specs.values()]

    async def create_rule(self, spec: RuleSpec) -> RuleSpec:
        await self.get_camera(spec.camera)
        made = spec.named(f"r_{len(self.rule_specs) + 1}")
        self.rule_specs[made.id] = made
        return made

    async def update_rule(self, rule: str, changes: dict[str, Any]) -> RuleSpec:
        self.rule_specs[rule] = updated(self.rule(rule), changes)
        return self.rule_specs[rule]

    async def delete_rule(self, rule: str) -> RuleSpec:
        return self.rule_specs.pop(self.rule(rule).id)

    async def list_rules(self, camera: str | None) -> list[RuleSpec]:
        self.check()
        return [rule for rule in self.rule_specs.values() if camera in {None, rule.camera}]

    def rule(self, rule: str) -> RuleSpec:
        self.check()
        if rule not in self.rule_specs:
            raise NotFound(f"no rule '{rule}'", "rule")
        return self.rule_specs[rule]

    async def ask(self, ask: str, camera: str, text: str, max_tokens: int) -> None:
        await self.get_camera(camera)
        self.asks.append((ask, camera, text, max_tokens))

    async def cancel_ask(self, ask: str) -> None:
        if ask not in [each[0] for each in self.asks]:
            raise NotFound(f"no ask '{ask}'", "ask")
        self.cancelled.append(ask)

    async def newest_seq(self) -> int:
        self.check()
        return self.newest

    async def oldest_seq(self) -> int:
        self.check()
        return self.held[0].seq if self.held else self.newest + 1

    async def events_after(self, seq: int, limit: int) -> Sequence[Event]:
        self.check()
        return [event for event in self.held if event.seq > seq][:limit]

    async def list_events(
        self, *, after: int | None, before: int | None, camera: str | None, kind: str | None, limit: int
    ) -> Sequence[Event]:
        self.check()
        found = [
            event
            for event in self.held
            if (after or 0) < event.seq < (before or self.newest + 1)
            and camera in {None, event.camera}
            and kind in {None, event.kind}
        ]
        return found[-limit:] if after is None else found[:limit]

    async def role_of(self, token_hash: str) -> Role | None:
        self.check()
        return self.roles.get(token_hash)

    async def readiness(self) -> Readiness:
        return Readiness(not self.away, {"store": "away" if self.away else "ok"})

    def evidence_path(self, name: str) -> Path | None:
        path = None if self.evidence is None else self.evidence / name
        return path if path is not None and path.is_file() else None
