"""What clients have asked for: cameras and their standing rules. A rule never outlives its camera."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import msgspec

from clients.messages import CameraSpec, RuleSpec

from .codec import pack
from .errors import NotFound, StoreError
from .keys import CAMERAS, RULES, rules_of
from .link import Link
from .verdict import judged

Expect = Literal["new", "existing", "any"]
REQUEST_MS: Final = 600_000  # how long the answer to a request is kept for its repetition

Spec = TypeVar("Spec", CameraSpec, RuleSpec)


class Specs:
    """Part of Store."""

    _link: Link
    dedup_ms: int
    _now_ms: Callable[[], int]

    async def put_camera(self, spec: CameraSpec, *, expect: Expect = "any") -> None:
        """Store a camera. Raises: Exists, NotFound: it is, or is not, there, against what was expected."""
        judged(await self._link.call("put_camera", spec.id, pack(spec), expect, _request(), REQUEST_MS))

    async def remove_camera(self, camera: str) -> CameraSpec:
        """
        Remove a camera with its rules, lease, state, open alerts (ended as events) and asks (answered as failed), in
        one step; what its worker says later is fenced. Works on a full store.

        Returns: the camera as it was. Raises: NotFound.
        """
        words = await self._link.call("remove_camera", camera, self._now_ms(), _request(), REQUEST_MS, self.dedup_ms)
        return _read(judged(words)[0], CameraSpec)

    async def camera(self, camera: str) -> CameraSpec:
        """One camera. Raises: NotFound."""
        found = await self._link.command("HGET", CAMERAS, camera)
        if found is None:
            raise NotFound("camera", camera)
        return _read(found, CameraSpec)

    async def cameras(self) -> list[CameraSpec]:
        """Every camera, by id."""
        return sorted((_read(value, CameraSpec) for value in await self._link.command("HVALS", CAMERAS)), key=_id)

    async def put_rule(self, spec: RuleSpec, *, expect: Expect = "any") -> None:
        """Store a rule. Raises: NotFound: its camera, or itself, is missing; Exists."""
        judged(await self._link.call("put_rule", spec.id, spec.camera, pack(spec), expect, _request(), REQUEST_MS))

    async def delete_rule(self, rule: str) -> RuleSpec:
        """
        Remove a rule; its open alert ends as an event in the same step. Works on a full store.

        Returns: the rule as it was. Raises: NotFound.
        """
        words = await self._link.call("delete_rule", rule, self._now_ms(), _request(), REQUEST_MS, self.dedup_ms)
        return _read(judged(words)[0], RuleSpec)

    async def rule(self, rule: str) -> RuleSpec:
        """One rule. Raises: NotFound."""
        found = await self._link.command("HGET", RULES, rule)
        if found is None:
            raise NotFound("rule", rule)
        return _read(found, RuleSpec)

    async def rules(self, camera: str | None = None) -> list[RuleSpec]:
        """Every rule, or those of one camera, by id."""
        if camera is None:
            values = await self._link.command("HVALS", RULES)
        else:
            ids = await self._link.command("SMEMBERS", rules_of(camera))
            values = await self._link.command("HMGET", RULES, *ids) if ids else []
        return sorted((_read(value, RuleSpec) for value in values if value is not None), key=_id)


def _request() -> str:
    return f"request:{secrets.token_hex(8)}"


def _id(spec: CameraSpec | RuleSpec) -> str:
    return spec.id


def _read(value: bytes | str, kind: type[Spec]) -> Spec:
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"the store holds a {kind.__name__} that this version of vigild cannot read: {error}"
        ) from error
