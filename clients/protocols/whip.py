"""`/v1/whip/{camera}` and `/v1/whep/{camera}`: WebRTC in and out. Not in this release; said so, not left to a 404."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from clients.auth import Role
from clients.errors import Unsupported
from clients.service import Service
from clients.web import require_role


def routes(service: Service) -> list[BaseRoute]:
    async def whip(request: Request) -> Response:
        await require_role(request, service, Role.OPERATOR, "WHIP")
        raise Unsupported("this release takes no WebRTC video; give the camera an rtsp: or http: source instead")

    async def whep(request: Request) -> Response:
        await require_role(request, service, Role.VIEWER, "WHEP")
        raise Unsupported("this release sends no WebRTC video; subscribe to the topic preview instead")

    return [
        Route("/v1/whip/{camera}", whip, methods=["POST"]),
        Route("/v1/whep/{camera}", whep, methods=["POST"]),
    ]
