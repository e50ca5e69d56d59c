"""
The gateway process: clients in, events out. Holds no model and imports no torch.

This file starts everything that runs in a gateway: the tail of the durable events, the lossy channel, the web server.
What they do stands in `clients` and in `backend`. Any number of gateways can run over one store.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

import msgpack
import structlog

from clients.auth import Doors, is_loopback
from clients.hub import Ending, Hub
from clients.metrics import Metrics
from clients.outbox import OutboxLimits
from clients.protocols.http import build_app
from clients.service import ClientLimits, Service
from clients.serving import Server, server

from .backend import StoreBackend
from .errors import EXIT_CONFIGURATION, DaemonError, first_of
from .store import Evidence, LinkSettings, Store, StoreReset, StoreSettings, reached

log = structlog.get_logger(__name__)

PUBLISH_AT_ONCE: Final = 64  # events between two turns of the writers
OTHER_CONNECTIONS: Final = 256  # HTTP, beside the WebSocket clients
BACKLOG: Final = 1024
OPEN_FILES: Final = 65_536
SEND_BUFFER_BYTES: Final = 256 * 1024  # what the kernel holds for a client; by itself it would grow to several MB
GOING_AWAY: Final = Ending(1001, "going away")


class GatewayError(DaemonError):
    """The gateway cannot serve as it is configured; trying the same again won't help."""

    exit_status = EXIT_CONFIGURATION


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """
    host, port: where clients connect; port 0 takes a free one. A host that is no loopback address demands tokens.
    require_token: demand one on a loopback address too.
    origins, hosts: further sites and names that may be used, see `clients.auth.Doors`.
    workers: slots that must live for /readyz; empty means any one.
    store_patience_s: how long a request waits for a store that is away, before it is `busy`.
    bind_patience_s: how long a port in use is waited for (a predecessor may be ending).
    go_away_s: time between `go_away` and the close at the end.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    require_token: bool = False
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    max_cameras: int = 256
    max_rules: int = 4096
    store_patience_s: float = 3.0
    bind_patience_s: float = 3.0
    go_away_s: float = 1.0
    clients: ClientLimits = field(default_factory=ClientLimits)
    outbox: OutboxLimits = field(default_factory=OutboxLimits)


async def run_gateway(
    config: GatewayConfig,
    store_url: str,
    data_dir: Path,
    stop: asyncio.Event,
    *,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """
    Serve clients until `stop` is set, then tell them and close.

    Args:
        data_dir: evidence lies in its folder `evidence`.
        on_listening: told the port once clients can connect.
    Raises: GatewayError: the port is in use, or the address demands a token and there is none. StoreError: the store is
        unusable, not merely away.
    """
    raise_open_files()
    sockets = await listen(config.host, config.port, config.bind_patience_s)
    patient = StoreSettings(link=LinkSettings(patience_s=config.store_patience_s))
    try:
        async with reached(store_url, stop, owner="gateway", settings=patient) as store:
            if store is not None:
                doors = await check_tokens(config, store)
                await Gateway(config, store, data_dir, doors).run(sockets, stop, on_listening)
    except BaseExceptionGroup as group:  # what ended one of the tasks
        failure = first_of(group)
        if failure is None:
            raise
        raise failure from None
    finally:
        for each in sockets:
            each.close()


class Gateway:
    """The parts of one gateway, wired; `run` starts and stops them."""

    def __init__(self, config: GatewayConfig, store: Store, data_dir: Path, doors: Doors) -> None:
        self._config = config
        self._store = store
        self._metrics = Metrics()
        self._doors = doors
        # Workers save and sweep; a gateway only reads, so that the bounds of this instance are never applied.
        evidence = Evidence(data_dir / "evidence", max_bytes=0, max_age_s=0)
        self._backend = StoreBackend(
            store,
            evidence,
            now_ms,
            workers=config.workers,
            max_cameras=config.max_cameras,
            max_rules=config.max_rules,
        )

    async def run(
        self, sockets: Sequence[socket.socket], stop: asyncio.Event, on_listening: Callable[[int], None] | None
    ) -> None:
        hub = Hub(await self._store.newest_seq(), self._config.outbox, self._metrics)
        service = Service(
            hub, self._backend, self._doors, self._metrics, now_ms, f"vigild {version()}", self._config.clients
        )
        web = server(build_app(service), connections=self._config.clients.clients + OTHER_CONNECTIONS)
        port = sockets[0].getsockname()[1]
        async with asyncio.TaskGroup() as group:
            feeds = [
                group.create_task(self._follow_events(hub), name="events"),
                group.create_task(self._follow_lossy(hub), name="lossy"),
            ]
            serving = group.create_task(web.serve(sockets=list(sockets)), name="web")
            await web.ready.wait()
            log.info("gateway.ready", host=self._config.host, port=port, auth=self._doors.token_required)
            if on_listening is not None:
                on_listening(port)
            await stop.wait()
            await self._drain(hub, web)
            await serving
            for feed in feeds:
                feed.cancel()

    async def _follow_events(self, hub: Hub) -> None:
        """Every durable event to the hub, in order, for ever; outlives restarts of the store."""
        while True:
            try:
                async for events in self._store.tail(hub.head):
                    self._metrics.event_delay_s.observe(max(0, now_ms() - events[-1].ts) / 1000)
                    for first in range(0, len(events), PUBLISH_AT_ONCE):
                        hub.publish(events[first : first + PUBLISH_AT_ONCE])
                        await asyncio.sleep(0)  # the writers' turn
            except StoreReset:
                hub.rewind(await self._store.newest_seq())

    async def _follow_lossy(self, hub: Hub) -> None:
        async for data in self._store.lossy():
            try:
                message = msgpack.unpackb(data)
            except ValueError:
                message = None
            if isinstance(message, dict):
                hub.publish_lossy(message)
            else:
                self._metrics.malformed_lossy.inc()

    async def _drain(self, hub: Hub, web: Server) -> None:
        """Tell the clients, give them a moment, close; then let the server end."""
        for listener in web.servers:
            listener.close()
        if hub.subscribers:
            hub.go_away(int(1000 * self._config.go_away_s))
            await asyncio.sleep(self._config.go_away_s)
            hub.end_all(GOING_AWAY)
        log.info("gateway.ending", clients=len(hub.subscribers))
        web.should_exit = True


async def check_tokens(config: GatewayConfig, store: Store) -> Doors:
    """
    Who may come in under this configuration.

    Raises: GatewayError: the address can be reached from elsewhere, and there is no token to show.
    """
    required = config.require_token or not is_loopback(config.host)
    if required and not await store.tokens():
        raise GatewayError(
            f"refusing to listen on {config.host} without a token: make one with `vigild token create`, or set "
            "gateway.host to 127.0.0.1"
        )
    return Doors(required, frozenset(map(str.lower, config.hosts)), frozenset(config.origins))


async def listen(host: str, port: int, patience_s: float) -> list[socket.socket]:
    """
    Sockets bound to every address of `host`, not yet accepting.

    Raises: GatewayError: the port is in use, or the address is not one of this machine.
    """
    loop = asyncio.get_running_loop()
    give_up_at_s = loop.time() + patience_s
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise GatewayError(f"gateway.host is {host!r}, which is no address: {error.strerror}") from None
    while True:
        try:
            return bind_all([(family, address) for family, _, _, _, address in found])
        except OSError as error:
            if error.errno == errno.EADDRINUSE and loop.time() < give_up_at_s:
                await asyncio.sleep(0.1)
                continue
            raise GatewayError(why_not(error, host, port)) from None


def bind_all(addresses: Sequence[tuple[int, tuple[object, ...]]]) -> list[socket.socket]:
    """One socket an address. Raises OSError; none is left open then."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for family, address in dict.fromkeys(addresses):
            each = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted ones inherit it
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(address)
            each.listen(BACKLOG)  # another socket may bind without an error until one listens
            each.setblocking(False)
            sockets.append(each)
        stack.pop_all()
        return sockets


def why_not(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use by another program: stop it, or set gateway.port"
        case errno.EACCES:
            return f"port {port} may only be opened by root: set gateway.port to 1024 or above"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine: set gateway.host"
    return f"cannot listen on {host} port {port}: {error.strerror}"


def raise_open_files() -> None:
    """Room for open files, as far as the system allows: every client is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def version() -> str:
    try:
        return metadata.version("vigild")
    except metadata.PackageNotFoundError:
        return "0.0.0"
