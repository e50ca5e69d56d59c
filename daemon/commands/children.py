"""
The hidden commands `vigild worker` and `vigild gateway`: the processes that the supervisor starts.

Each reads the settings that the supervisor resolved (a file; the environment was read once, by the parent), and runs
until SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..config import Config, load
from ..observe import set_up_logging

Resolved = Annotated[Path, typer.Option("--resolved", help="The settings in force, as the supervisor wrote them.")]
StoreUrl = Annotated[str, typer.Option("--store", help="Where the store is.")]


def register(app: typer.Typer) -> None:
    @app.command("worker", hidden=True)
    def worker(resolved: Resolved, store: StoreUrl, device: str = "cpu", slot: str = "w0") -> None:
        """Watch cameras on one device; started by `vigild serve`."""
        config = load(resolved, environ={})
        set_up_logging(level=config.log.level, form=log_form(config), process=f"worker {slot}")
        run_worker = importlib.import_module("daemon.worker").run_worker
        settings = importlib.import_module("daemon.composition").worker_settings(config)
        run(
            lambda stop: run_worker(
                settings, store_url=store, data_dir=config.data_dir, device=device, slot=slot, stop=stop
            )
        )

    @app.command("gateway", hidden=True)
    def gateway(resolved: Resolved, store: StoreUrl) -> None:
        """Serve clients; started by `vigild serve`."""
        config = load(resolved, environ={})
        set_up_logging(level=config.log.level, form=log_form(config), process="gateway")


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main(stop)` on an event loop whose `stop` is set by SIGTERM and SIGINT."""

    async def body() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    asyncio.run(body())


def log_form(config: Config) -> Literal["console", "json"]:
    """The form of the log lines: as configured, "auto" by whether a person reads them."""
    if config.log.format == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return config.log.format
