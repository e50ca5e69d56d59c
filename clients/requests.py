"""
What a client may ask for: one struct a request, and the way from an untrusted map to it.

`camera.get`, `camera.remove` and `camera.update` name their camera in `camera`, since `id` is the request's own: either
the camera's id, or a map with its `id`. The changes of an update stand in that map, or beside the id in the message.
The same holds for `rule`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .errors import Invalid, Unsupported
from .messages import (
    DURABLE,
    MAX_SEQ,
    TOPICS,
    CameraSpec,
    RuleSpec,
    check_id,
    check_int,
    check_question,
    clip,
    told,
)

MAX_SUBSCRIBED_CAMERAS: Final = 1024


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """id: chosen by the client, comes back in the one reply."""

    id: int

    def check(self) -> None:
        """Raises Invalid, naming the field, for what the types alone do not refuse."""


class Auth(Request, tag="auth", frozen=True):
    token: str


class Ping(Request, tag="ping", frozen=True):
    pass


class CameraAdd(Request, tag="camera.add", frozen=True):
    camera: CameraSpec

    def check(self) -> None:
        self.camera.checked()


class CameraUpdate(Request, tag="camera.update", frozen=True):
    camera: dict[str, Any]

    def check(self) -> None:
        named(self.camera, "camera")


class CameraRemove(Request, tag="camera.remove", frozen=True):
    camera: dict[str, Any]

    def check(self) -> None:
        named(self.camera, "camera")


class CameraGet(Request, tag="camera.get", frozen=True):
    camera: dict[str, Any]

    def check(self) -> None:
        named(self.camera, "camera")


class CameraList(Request, tag="camera.list", frozen=True):
    pass


class RuleCreate(Request, tag="rule.create", frozen=True):
    rule: RuleSpec

    def check(self) -> None:
        if self.rule.id:
            raise Invalid("rule.id is given by the daemon; leave it out", "rule.id")
        self.rule.checked()


class RuleUpdate(Request, tag="rule.update", frozen=True):
    rule: dict[str, Any]

    def check(self) -> None:
        named(self.rule, "rule")


class RuleDelete(Request, tag="rule.delete", frozen=True):
    rule: dict[str, Any]

    def check(self) -> None:
        named(self.rule, "rule")


class RuleList(Request, tag="rule.list", frozen=True):
    camera: str | None = None

    def check(self) -> None:
        if self.camera is not None:
            check_id(self.camera, "camera")


class Ask(Request, tag="ask", frozen=True):
    camera: str
    text: str
    max_tokens: int = 128

    def check(self) -> None:
        check_id(self.camera, "camera")
        check_question(self.text, "text")
        check_int(self.max_tokens, "max_tokens", 1, 1024)


class AskCancel(Request, tag="ask.cancel", frozen=True):
    ask: str

    def check(self) -> None:
        check_id(self.ask, "ask")


class Selection(Request, frozen=True):
    """Topics of some cameras; `cameras` is "*" for all, those added later included."""

    topics: tuple[str, ...]
    cameras: tuple[str, ...] | str = "*"

    def check(self) -> None:
        if not self.topics:
            raise Invalid(f"topics is empty; the topics are {', '.join(TOPICS)}", "topics")
        for topic in self.topics:
            if topic not in TOPICS:
                raise Invalid(f"no topic {clip(topic)}; the topics are {', '.join(TOPICS)}", "topics")
        if isinstance(self.cameras, str):
            if self.cameras != "*":
                raise Invalid('cameras must be a list of camera ids or "*"', "cameras")
        elif not 1 <= len(self.cameras) <= MAX_SUBSCRIBED_CAMERAS:
            raise Invalid(f'cameras must name 1 to {MAX_SUBSCRIBED_CAMERAS} cameras, or be "*" for all', "cameras")
        else:
            for camera in self.cameras:
                check_id(camera, "cameras")

    @property
    def chosen(self) -> frozenset[str] | None:
        """The cameras; None for all."""
        return None if isinstance(self.cameras, str) else frozenset(self.cameras)


class Subscribe(Selection, tag="subscribe", frozen=True):
    after: int | None = None

    def check(self) -> None:
        super().check()
        if self.after is not None:
            check_int(self.after, "after", 0, MAX_SEQ)


class Unsubscribe(Selection, tag="unsubscribe", frozen=True):
    pass


class EventsList(Request, tag="events.list", frozen=True):
    after: int | None = None
    before: int | None = None
    camera: str | None = None
    kind: str | None = None
    limit: int = 100

    def check(self) -> None:
        for name, seq in (("after", self.after), ("before", self.before)):
            if seq is not None:
                check_int(seq, name, 0, MAX_SEQ)
        if self.camera is not None:
            check_id(self.camera, "camera")
        if self.kind is not None and self.kind not in DURABLE:
            raise Invalid(f"no kind {clip(self.kind)}; the kinds are {', '.join(DURABLE)}", "kind")
        check_int(self.limit, "limit", 1, 1000)


REQUESTS: Final[dict[str, type[Request]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        Auth,
        Ping,
        CameraAdd,
        CameraUpdate,
        CameraRemove,
        CameraGet,
        CameraList,
        RuleCreate,
        RuleUpdate,
        RuleDelete,
        RuleList,
        Ask,
        AskCancel,
        Subscribe,
        Unsubscribe,
        EventsList,
    )
}
SPECS: Final[dict[str, type[msgspec.Struct]]] = {"camera": CameraSpec, "rule": RuleSpec}


def request_id(message: dict[str, Any]) -> int | None:
    """The id to answer under; None when the message carries no usable one."""
    value = message.get("id")
    if type(value) is int and -(2**63) <= value < 2**64:
        return value
    return None


def parse(message: dict[str, Any]) -> Request | None:
    """
    The request in an untrusted map, or None for a message that is none: an unknown type without an id is ignored, as
    the protocol says, so that both sides can grow.

    Raises:
        Invalid: naming the field at fault.
        Unsupported: an unknown type with an id: whoever sent it waits for a reply.
    """
    name = message.get("type")
    if not isinstance(name, str):
        raise Invalid("type is missing" if name is None else "type must be a string", "type")
    kind = REQUESTS.get(name)
    if kind is None:
        if request_id(message) is None:
            return None
        raise Unsupported(f"no request {clip(name)}; this daemon knows {', '.join(REQUESTS)}", "type")
    if "id" not in message:
        raise Invalid("id is missing; choose an integer, it comes back in the reply", "id")
    if request_id(message) is None:
        raise Invalid("id must be an integer of at most 64 bits", "id")
    try:
        request: Request = msgspec.convert(spread(name, message), kind)
    except msgspec.ValidationError as error:
        raise told(error) from None
    request.check()
    return request


def spread(name: str, message: dict[str, Any]) -> dict[str, Any]:
    """The message with `camera` (or `rule`) as a map where a map is meant but the bare id was given."""
    noun, _, verb = name.partition(".")
    bare = message.get(noun)
    if noun not in SPECS or verb not in {"get", "update", "remove", "delete"} or not isinstance(bare, str):
        return message
    fields = {key: message[key] for key in SPECS[noun].__struct_fields__ if key in message and key not in {"id", noun}}
    return message | {noun: fields | {"id": bare}}


def named(fields: dict[str, Any], noun: str) -> str:
    """The id in the map. Raises Invalid when there is none."""
    value = fields.get("id")
    if not isinstance(value, str):
        raise Invalid(f"{noun}.id is missing" if value is None else f"{noun}.id must be a string", f"{noun}.id")
    check_id(value, f"{noun}.id")
    return value
