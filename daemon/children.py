"""The processes of one daemon: the embedded store, a worker for each device, the gateway."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from .config import Config, for_children
from .devices import resolve
from .lock import held
from .offline import embedded_settings
from .store.embedded import prepare
from .strict import ConfigError
from .supervisor import ChildSpec


def child_specs(config: Config) -> Sequence[ChildSpec]:
    """
    What the supervisor is to run for `config`. Writes the embedded store's configuration into the data folder.

    Workers are not waited for: a model may take minutes to load or to download, and clients can connect meanwhile.
    Raises: AlreadyRunning: another daemon owns the data folder. DataDirUnusable. StoreError: there is no store to run.
    """
    with held(config.data_dir):  # before anything of a running daemon is touched; `serve` then holds it for good
        stores, config = store_children(config)
    environment = for_children(config)
    command = (sys.executable, "-m", "daemon")
    workers = [
        ChildSpec(
            f"worker w{index}",
            (*command, "worker", "--slot", f"w{index}", "--device", device),
            stage=1,
            env=environment,
        )
        for index, device in enumerate(resolve(config.worker.devices))
    ]
    gateway = ChildSpec(
        "gateway",
        (*command, "gateway"),
        stage=2,
        env=environment,
        ready=serving(config.gateway.host, config.gateway.port),
    )
    return [*stores, *workers, gateway]


def store_children(config: Config) -> tuple[list[ChildSpec], Config]:
    """The embedded store as a child, and the configuration with its URL; no child where a redis_url is configured."""
    if config.store.redis_url:
        return [], config
    embedded = prepare(config.data_dir, embedded_settings(config))
    child = ChildSpec("store", embedded.argv, stage=0, ready=embedded.ready, explain=embedded.explain)
    return [child], replace(config, store=replace(config.store, redis_url=embedded.url))


def serving(host: str, port: int) -> Callable[[], Awaitable[bool]]:
    """A question, answered True once an HTTP server replies there; a socket that merely listens is not enough."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104

    async def ready() -> bool:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(target, port)
                try:
                    writer.write(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    return (await reader.readline()).startswith(b"HTTP/")
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    return ready


def with_free_port(config: Config) -> Config:
    """
    The configuration with a port that is free right now in place of port 0, so that a restart finds it again.

    Raises: ConfigError: gateway.host is no address of this machine.
    """
    if config.gateway.port:
        return config
    host = config.gateway.host
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigError(f"gateway.host is {host!r}, where nothing can listen ({why}): set it to 127.0.0.1") from None
    return replace(config, gateway=replace(config.gateway, port=port))
