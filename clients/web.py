"""What holds for every HTTP reply: who is let in, the security headers, and errors as the wire spells them."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import Doors, Role, hash_token
from .errors import Forbidden, Internal, Unauthorized, WireError
from .service import Service

log = logging.getLogger(__name__)

STATUS: Final = {
    "invalid": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "limit": 429,
    "internal": 500,
    "unsupported": 501,
    "busy": 503,
}
CODE: Final = {400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "unsupported"}

# The console needs its own scripts and styles, pictures that it fetched (blob:) or was sent (data:), and its socket.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self' blob: data:; "
    "media-src 'self' blob:; "
    "font-src 'self'; "
    "connect-src 'self'; "
    "manifest-src 'self'; "
    "base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
}


class Entrance:
    """ASGI middleware: refuses requests that may not come in, and puts the security headers on every reply."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a WebSocket is refused with its own close code, see protocols/websocket.py
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._doors.refusal({k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]})
        app = self._app if refusal is None else as_response(Forbidden(refusal))
        await app(scope, receive, send_secured)


async def require_role(request: Request, service: Service, needed: Role, what: str) -> None:
    """
    Raises Unauthorized or Forbidden when the request's bearer token does not give the role. Tokens travel in the
    Authorization header only, never in the URL.
    """
    if not service.doors.token_required:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized(f"{what} needs a token; send it as `Authorization: Bearer …`")
    role = await service.backend.role_of(hash_token(token.strip()))
    if role is None:
        raise Unauthorized("no such token; make one with `vigild token create`", "token")
    role.require(needed, what)


def as_response(error: WireError) -> JSONResponse:
    """The error as a reply over HTTP."""
    headers = {"www-authenticate": "Bearer"} if error.code == "unauthorized" else None
    if error.code == "busy":
        headers = {"retry-after": "1"}
    return JSONResponse({"error": error.as_map()}, STATUS.get(error.code, 500), headers)


async def on_wire_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    return as_response(error)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    body = {"error": {"code": CODE.get(error.status_code, "internal"), "message": error.detail}}
    return JSONResponse(body, error.status_code, error.headers)


async def on_fault(request: Request, _error: Exception) -> Response:
    """Our own mistake; uvicorn logs it with its traceback."""
    log.error("%s %s failed", request.method, request.url.path)
    return as_response(Internal("the daemon failed to answer; its log says why"))
