"""Plain HTTP: console, health, metrics and evidence; and `build_app`, which puts every protocol together."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from clients import protocols
from clients.auth import Role
from clients.errors import NotFound, WireError
from clients.service import Service
from clients.web import Entrance, on_fault, on_http_error, on_wire_error, require_role

CONSOLE = Path(__file__).resolve().parent.parent / "console"
EVIDENCE_TYPES = {".jpg": "image/jpeg", ".mp4": "video/mp4"}
SCRAPE_PATIENCE_S = 2.0


def build_app(service: Service, *, console: Path = CONSOLE) -> Starlette:
    """The ASGI application: every protocol's routes, and the console's files for every other path."""
    return Starlette(
        routes=[*protocols.routes(service), Mount("/", Console(directory=console, html=True, check_dir=False))],
        middleware=[Middleware(Entrance, doors=service.doors)],
        exception_handlers={WireError: on_wire_error, HTTPException: on_http_error, Exception: on_fault},
    )


class Console(StaticFiles):
    """The console's files; a browser asks each time whether its copy is still good: an upgrade shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def routes(service: Service) -> list[BaseRoute]:
    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", Readyz(service).get, methods=["GET"]),
        Route("/metrics", MetricsPage(service).get, methods=["GET"]),
        Route("/v1/evidence/{name}", EvidenceFile(service).get, methods=["GET"]),
    ]


async def healthz(_request: Request) -> Response:
    """This process answers."""
    return JSONResponse({"status": "ok"})


class Readyz:
    """200 when the store and every worker are there, else 503; either way what is missing, in sentences."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def get(self, _request: Request) -> Response:
        found = await self._service.backend.readiness()
        return JSONResponse({"ready": found.ready, "parts": found.parts}, 200 if found.ready else 503)


class MetricsPage:
    """Prometheus text. The cameras are counted while it is asked for; without the store the last count stands."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def get(self, request: Request) -> Response:
        await require_role(request, self._service, Role.VIEWER, "/metrics")
        metrics = self._service.metrics
        try:
            async with asyncio.timeout(SCRAPE_PATIENCE_S):
                cameras = Counter(view.state for view in await self._service.backend.list_cameras())
        except (WireError, TimeoutError):
            metrics.store_up.set(0)
        else:
            metrics.store_up.set(1)
            metrics.show_cameras(cameras)
        metrics.head.set(self._service.hub.head)
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


class EvidenceFile:
    """The frame or clip behind an event; it never changes, so a browser may keep it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def get(self, request: Request) -> Response:
        await require_role(request, self._service, Role.VIEWER, "evidence")
        name = request.path_params["name"]
        path = await asyncio.to_thread(self._service.backend.evidence_path, name)
        if path is None:
            raise NotFound("there is no such evidence, or it is older than the daemon keeps", "event_id")
        return FileResponse(
            path,
            media_type=EVIDENCE_TYPES[path.suffix],
            headers={"cache-control": "private, max-age=86400, immutable"},
        )
