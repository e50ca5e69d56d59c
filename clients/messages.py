"""
What the wire carries: camera and rule specifications, durable events, and their validation.

These are the shapes of protocol 1 (Unix epoch milliseconds, plain maps). The store keeps them as they are; the worker
turns them into the types of `streaming`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from .errors import Invalid

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SOURCE_SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "file", "webrtc", "v4l2", "synthetic")
LOCAL_SCHEMES: Final = ("file", "webrtc", "v4l2", "synthetic")  # none of these carries a credential
CREDENTIAL_FIELD: Final = re.compile(
    r"(?i)([?&;/_]|^)((?:user(?:name)?|usr|login|pass(?:w(?:or)?d)?|pwd|psw|token|secret|auth|(?:api_?)?key|sig(?:nature)?)=)"
    r"[^&;/?#\s]*"
)
MAX_QUESTION_CHARS: Final = 2000
MAX_SOURCE_CHARS: Final = 2000
MAX_MODEL_CHARS: Final = 500
MAX_ZONES: Final = 32
MAX_POINTS: Final = 64

DURABLE: Final = ("alert.started", "alert.ended", "note", "camera.state", "answer", "gap")
CAMERA_STATES: Final = ("connecting", "live", "lagging", "stale", "blind", "offline", "ended", "failed")
LOSSY: Final = ("stats", "preview", "heat", "trace")
TOPIC_OF_KIND: Final = {
    "alert.started": "alert",
    "alert.ended": "alert",
    "note": "note",
    "camera.state": "camera",
    "answer": "answer",
    "gap": "gap",
}
MAX_SEQ: Final = 2**63 - 1
TOPICS: Final = ("alert", "note", "camera", "answer", "gap", *LOSSY)

MISSING: Final = re.compile(r"Object missing required field `(.+)`")

Zone = tuple[tuple[float, float], ...]


class CameraSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """
    A camera as a client describes it.

    source: a URL of one of SOURCE_SCHEMES; credentials inside it are write-only (see `redacted`).
    fps: frames sampled a second, 0.1 to 30.
    model: the one it is watched with, where workers serve different ones; None is any.
    zones, never_drop, masks: polygons of (x, y) in 0..1: outside of which changes do not matter; whose parts of every
        frame are kept; which are painted over before anything looks at a picture.
    """

    id: str
    source: str
    fps: float = 2.0
    model: str | None = None
    zones: tuple[Zone, ...] = ()
    never_drop: tuple[Zone, ...] = ()
    masks: tuple[Zone, ...] = ()
    notes: bool = False

    def checked(self) -> CameraSpec:
        """The same camera. Raises Invalid, naming the field, when a value is out of bounds."""
        check_id(self.id, "camera.id")
        check_source(self.source)
        check_number(self.fps, "camera.fps", 0.1, 30)
        if self.model is not None and not 1 <= len(self.model) <= MAX_MODEL_CHARS:
            raise Invalid(f"camera.model must have 1 to {MAX_MODEL_CHARS} characters, or be left out", "camera.model")
        for name in ("zones", "never_drop", "masks"):
            zones = cast("tuple[Zone, ...]", getattr(self, name))
            if len(zones) > MAX_ZONES:
                raise Invalid(f"camera.{name} has {len(zones)} polygons; at most {MAX_ZONES}", f"camera.{name}")
            for at, zone in enumerate(zones):
                check_zone(zone, f"camera.{name}", f"camera.{name}[{at}]")
        return self


class RuleSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A standing yes/no question, as a client describes it; `id` is given by the daemon."""

    camera: str
    ask: str
    id: str = ""
    on: float = 0.8
    off: float = 0.5
    hold_s: float = 1.0
    cooldown_s: float = 30.0
    zone: Zone | None = None
    say: str | None = None
    enabled: bool = True

    def named(self, rule: str) -> RuleSpec:
        """The same rule under the id that the daemon gives it."""
        return msgspec.structs.replace(self, id=rule)

    def checked(self) -> RuleSpec:
        """The same rule. Raises Invalid, naming the field, when a value is out of bounds."""
        check_id(self.camera, "rule.camera")
        if self.id:
            check_id(self.id, "rule.id")
        check_question(self.ask, "rule.ask")
        check_number(self.on, "rule.on", 0, 1)
        check_number(self.off, "rule.off", 0, 1)
        if self.off >= self.on:
            raise Invalid(f"rule.off ({self.off:g}) must be below rule.on ({self.on:g})", "rule.off")
        check_number(self.hold_s, "rule.hold_s", 0, 3600)
        check_number(self.cooldown_s, "rule.cooldown_s", 0, 86400)
        if self.zone is not None:
            check_zone(self.zone, "rule.zone")
        if self.say is not None and len(self.say) > MAX_QUESTION_CHARS:
            raise Invalid(f"rule.say has {len(self.say)} characters; at most {MAX_QUESTION_CHARS}", "rule.say")
        return self


@dataclass(frozen=True, slots=True)
class Event:
    """
    One durable event, as it lies in the store.

    seq: strictly increasing over the whole daemon, no duplicates. id: "e_…". ts: Unix epoch ms of the emission.
    camera: None when it concerns no single camera. data: the remaining fields of the wire message.
    """

    seq: int
    id: str
    kind: str
    camera: str | None
    ts: int
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return TOPIC_OF_KIND[self.kind]

    def as_message(self) -> dict[str, Any]:
        """The wire message of this event."""
        head: dict[str, Any] = {"type": self.kind, "seq": self.seq, "event": self.id, "ts": self.ts}
        if self.camera is not None:
            head["camera"] = self.camera
        return head | self.data


SpecT = TypeVar("SpecT", CameraSpec, RuleSpec)


def updated(spec: SpecT, changes: dict[str, Any]) -> SpecT:
    """
    The specification with the fields of `changes` in place of its own; the id stays.

    A source that comes back redacted, as a reply shows it, means the source that is already known.
    Raises: Invalid, naming the field.
    """
    name = "camera" if isinstance(spec, CameraSpec) else "rule"
    changes = {key: value for key, value in changes.items() if key != "id"}
    if isinstance(spec, CameraSpec) and changes.get("source") == redacted(spec.source):
        del changes["source"]
    try:
        return msgspec.convert(msgspec.to_builtins(spec) | changes, type(spec)).checked()
    except msgspec.ValidationError as error:
        raise told(error, name) from None


def told(error: msgspec.ValidationError, root: str = "") -> Invalid:
    """The wire error for what msgspec found wrong, with the path of the field from `root`."""
    text, _, path = str(error).partition(" - at `$")
    path = (root + path.rstrip("`")).lstrip(".").replace("[...]", "")
    missing = MISSING.fullmatch(text)
    if missing:
        path = f"{path}.{missing[1]}".lstrip(".")
        return Invalid(f"{path} is missing", path)
    return Invalid(f"{path or 'the message'}: {text[:1].lower()}{text[1:]}", path or None)


def check_id(value: str, param: str) -> None:
    if not ID.fullmatch(value):
        raise Invalid(
            f"{param} must be 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit; got "
            f"{clip(value)}",
            param,
        )


def check_question(text: str, param: str) -> None:
    if not text.strip():
        raise Invalid(f"{param} is blank; ask a question in plain words", param)
    if len(text) > MAX_QUESTION_CHARS:
        raise Invalid(f"{param} has {len(text)} characters; at most {MAX_QUESTION_CHARS}", param)


def check_int(value: int, param: str, low: int, high: int) -> None:
    if not low <= value <= high:
        raise Invalid(f"{param} must be between {low} and {high}; got {clip(str(value))}", param)


def check_number(value: float, param: str, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise Invalid(f"{param} must be between {low:g} and {high:g}; got {value:g}", param)


def check_zone(zone: Zone, param: str, name: str | None = None) -> None:
    """name: what the sentence calls the polygon, where `param` holds several."""
    name = name or param
    if not 3 <= len(zone) <= MAX_POINTS:
        raise Invalid(f"{name} must have 3 to {MAX_POINTS} points; got {len(zone)}", param)
    for x, y in zone:
        if not (0 <= x <= 1 and 0 <= y <= 1):  # nor where it is no number
            raise Invalid(
                f"{name} has the point ({x:g}, {y:g}); x and y must lie in 0..1, from the top left corner",
                param,
            )
    if flat(zone):
        raise Invalid(f"{name} encloses nothing: its points lie on one line", param)


def flat(zone: Zone) -> bool:
    """Whether all corners of a polygon lie on one line, as near as a picture can tell."""
    x0, y0 = zone[0]
    x1, y1 = max(zone, key=lambda corner: math.dist(corner, zone[0]))
    length = math.dist((x0, y0), (x1, y1))
    return all(abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) <= 1e-6 * length for x, y in zone)


def check_source(source: str) -> None:
    if len(source) > MAX_SOURCE_CHARS:
        raise Invalid(f"camera.source has {len(source)} characters; at most {MAX_SOURCE_CHARS}", "camera.source")
    scheme, colon, rest = source.partition(":")
    known = ", ".join(f"{name}:" for name in SOURCE_SCHEMES)
    if not colon or scheme.lower() not in SOURCE_SCHEMES:
        raise Invalid(f"camera.source must begin with one of {known}; got {clip(redacted(source))}", "camera.source")
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in source):
        raise Invalid("camera.source has a control character in it", "camera.source")
    if scheme.lower() in {"rtsp", "rtsps", "http", "https"}:
        try:
            parts = urlsplit(source)
            host, _ = parts.hostname, parts.port
        except ValueError:  # its text may quote the password
            raise Invalid(
                f"camera.source is not a URL: {clip(redacted(source))}; write {scheme}://host:port/path, and any of "
                "/?#@ in a password as %XX",
                "camera.source",
            ) from None
        if not rest.startswith("//") or not host:
            raise Invalid(f"camera.source names no host; write {scheme}://host/path", "camera.source")
    elif scheme.lower() != "webrtc" and not rest:
        raise Invalid(f"camera.source names nothing after {scheme}:", "camera.source")


def redacted(source: str) -> str:
    """
    The source without its secrets, fit for replies, logs and errors.

    Everything between the scheme and the last "@" becomes `***` (a password may itself hold "@", "/" or "?"), and so
    does the value of every field that is named like a credential. Rather too much is hidden than too little.
    """
    if source.partition(":")[0].lower() in LOCAL_SCHEMES:
        return source
    head, at, tail = source.rpartition("@")
    if at:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/+|https?:|rtsps?:", head, re.IGNORECASE)
        source = f"{scheme[0] if scheme else ''}***@{tail}"
    return CREDENTIAL_FIELD.sub(r"\1\2***", source)


def clip(text: str, limit: int = 80) -> str:
    """`text` quoted and cut for an error message."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
