"""`vigild serve`: the daemon itself."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.children import child_specs, with_free_port
from daemon.config import Config, load
from daemon.observe import set_up_logging
from daemon.supervisor import serve as supervise

from .progress import Bars
from .terminal import ConfigFile, Json, Setting, Terminal, overrides


def register(app: typer.Typer) -> None:
    @app.command("serve")
    def serve(
        *,
        file: ConfigFile = None,
        data_dir: Annotated[Path | None, typer.Option("--data-dir", help="data.dir")] = None,
        host: Annotated[str | None, typer.Option(help="gateway.host; beyond loopback a token is needed.")] = None,
        port: Annotated[int | None, typer.Option(help="gateway.port; 0 takes a free one.")] = None,
        model: Annotated[str | None, typer.Option(help="model.name: a hub id or folder of a checkpoint.")] = None,
        device: Annotated[list[str] | None, typer.Option(help="worker.devices; may be repeated.")] = None,
        redis_url: Annotated[str | None, typer.Option("--redis-url", help="store.redis_url")] = None,
        media_dir: Annotated[Path | None, typer.Option("--media-dir", help="media.dir")] = None,
        setting: Setting = None,
        as_json: Json = False,
    ) -> None:
        """Run the daemon: the store, one worker a device and the gateway. Ctrl-C or SIGTERM ends it in order."""
        named: dict[str, Any] = {
            "data.dir": None if data_dir is None else str(data_dir),
            "gateway.host": host,
            "gateway.port": port,
            "model.name": model,
            "worker.devices": list(device) if device else None,
            "store.redis_url": redis_url,
            "media.dir": None if media_dir is None else str(media_dir),
        }
        flags = {name: value for name, value in named.items() if value is not None}
        run(load(file, flags=overrides(setting) | flags), Terminal(as_json))


def run(config: Config, terminal: Terminal) -> None:
    """Run the daemon of this configuration until a signal ends it. Raises DaemonError."""
    config = with_free_port(config)
    if config.log.format == "auto":
        config = replace(config, log=replace(config.log, format="console" if sys.stderr.isatty() else "json"))
    set_up_logging(level=config.log.level, form="json" if config.log.format == "json" else "console", process="serve")
    children = child_specs(config)

    def ready() -> None:
        http = config.url.replace("ws", "http", 1)
        if terminal.json:
            terminal.item({"ready": True, "url": config.url, "console": http, "data_dir": str(config.data_dir)})
        terminal.say(f"vigild listens on {config.url} (console: {http}); data in {config.data_dir}")

    with Bars() as bars:
        asyncio.run(supervise(children, data_dir=config.data_dir, sink=bars.sink, on_ready=ready))
