"""
What can go wrong for a client; each becomes one wire error with a code, a sentence and the field at fault.

    WireError
     ├── Invalid        the message or a field of it is wrong
     ├── Unauthorized   no token, or a wrong one
     ├── Forbidden      the role may not do this
     ├── NotFound       no such camera, rule, ask
     ├── Conflict       exists already, or changed meanwhile
     ├── Limit          a configured bound is reached
     ├── Busy           try again: the store or the engine is not there right now
     ├── Unsupported    known, but this daemon cannot do it
     ├── Internal       our fault
     ├── Unreachable    (SDK only) no daemon answers at this address
     └── Disconnected   (SDK only) the connection went while the reply was awaited; nobody knows if it took effect
"""

from __future__ import annotations

from typing import ClassVar


class WireError(Exception):
    """A failure that is told to the client: `message` says what is wrong and what to do, `param` names the field."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def as_map(self) -> dict[str, str]:
        error = {"code": self.code, "message": self.message}
        if self.param is not None:
            error["param"] = self.param
        return error


class Invalid(WireError):
    code = "invalid"


class Unauthorized(WireError):
    code = "unauthorized"


class Forbidden(WireError):
    code = "forbidden"


class NotFound(WireError):
    code = "not_found"


class Conflict(WireError):
    code = "conflict"


class Limit(WireError):
    code = "limit"


class Busy(WireError):
    code = "busy"


class Unsupported(WireError):
    code = "unsupported"


class Internal(WireError):
    code = "internal"


class Unreachable(WireError):
    code = "unreachable"


class Disconnected(WireError):
    code = "disconnected"


BY_CODE: dict[str, type[WireError]] = {
    kind.code: kind
    for kind in (Invalid, Unauthorized, Forbidden, NotFound, Conflict, Limit, Busy, Unsupported, Internal)
}
