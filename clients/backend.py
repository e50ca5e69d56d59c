"""
What the client side needs from the rest of the daemon.

The protocols (WebSocket, HTTP) talk to this interface only; `daemon/gateway.py` implements it over the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from .auth import Role
from .messages import CameraSpec, Event, RuleSpec, redacted


@dataclass(frozen=True, slots=True)
class CameraView:
    """A camera with what is known about it now: its state and its counters."""

    spec: CameraSpec
    state: str
    reason: str | None
    last_frame_ts: int | None
    counters: dict[str, Any]

    def as_message(self) -> dict[str, Any]:
        """The camera as a reply shows it: the source without its credentials."""
        spec: dict[str, Any] = msgspec.to_builtins(self.spec)
        return spec | {
            "source": redacted(self.spec.source),
            "state": self.state,
            "reason": self.reason,
            "last_frame_ts": self.last_frame_ts,
            "counters": self.counters,
        }


@dataclass(frozen=True, slots=True)
class Readiness:
    """ready, and for each part ("store", "worker w0") a sentence when it is not."""

    ready: bool
    parts: dict[str, str]


class Backend(Protocol):
    """Every method raises a WireError for the caller's mistakes and Busy while the store is away."""

    async def add_camera(self, spec: CameraSpec) -> CameraView: ...
    async def update_camera(self, camera: str, changes: dict[str, Any]) -> CameraView: ...
    async def remove_camera(self, camera: str) -> CameraView: ...
    async def get_camera(self, camera: str) -> CameraView: ...
    async def list_cameras(self) -> list[CameraView]: ...

    async def create_rule(self, spec: RuleSpec) -> RuleSpec: ...
    async def update_rule(self, rule: str, changes: dict[str, Any]) -> RuleSpec: ...
    async def delete_rule(self, rule: str) -> RuleSpec: ...
    async def list_rules(self, camera: str | None) -> list[RuleSpec]: ...

    async def ask(self, ask: str, camera: str, text: str, max_tokens: int) -> None:
        """Hand the question to the camera's worker under the id `ask`, which the caller drew."""
        ...

    async def cancel_ask(self, ask: str) -> None: ...

    async def newest_seq(self) -> int: ...
    async def oldest_seq(self) -> int:
        """The oldest event still held; newest_seq() + 1 when none is."""
        ...

    async def events_after(self, seq: int, limit: int) -> Sequence[Event]:
        """Durable events with a greater seq, oldest first, at most `limit`."""
        ...

    async def list_events(
        self, *, after: int | None, before: int | None, camera: str | None, kind: str | None, limit: int
    ) -> Sequence[Event]: ...

    async def role_of(self, token_hash: str) -> Role | None:
        """What the token with this hash (`auth.hash_token`) may do; None when there is no such token."""
        ...

    async def readiness(self) -> Readiness: ...
    def evidence_path(self, name: str) -> Path | None:
        """The file of `e_….jpg`, or None when there is none (any more)."""
        ...
