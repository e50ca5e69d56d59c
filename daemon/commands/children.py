"""
The hidden commands `vigild worker` and `vigild gateway`: the processes that `vigild serve` starts.

Each runs with the settings that its parent resolved, until SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from ..config import Config, from_parent
from ..observe import set_up_logging


def register(app: typer.Typer) -> None:
    @app.command("worker", hidden=True)
    def worker(
        *,
        slot: Annotated[str, typer.Option(help="The name of this worker in the store.")] = "w0",
        device: Annotated[str, typer.Option(help="cpu, cuda:0, …")] = "cpu",
    ) -> None:
        """Watch cameras on one device."""
        config = started(f"worker {slot}")
        from ..wiring import worker_settings  # noqa: PLC0415  torch: only in this process
        from ..worker import run_worker  # noqa: PLC0415

        settings = worker_settings(config)
        until_signalled(
            lambda stop: run_worker(
                settings, store_url=config.store.redis_url, data_dir=config.data_dir, device=device, slot=slot, stop=stop
            )
        )

    @app.command("gateway", hidden=True)
    def gateway() -> None:
        """Serve clients."""
        config = started("gateway")
        from ..gateway import GatewayConfig, run_gateway  # noqa: PLC0415  the web server: only in this process

        settings = GatewayConfig(host=config.gateway.host, port=config.gateway.port)
        until_signalled(lambda stop: run_gateway(settings, config.store.redis_url, config.data_dir, stop))


def started(process: str) -> Config:
    """The settings of this child process, its log set up by them."""
    config = from_parent()
    form = "json" if config.log.format == "json" else "console"
    set_up_logging(level=config.log.level, form=form, process=process)
    return config


def until_signalled(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main(stop)` on an event loop whose `stop` is set by SIGTERM and SIGINT."""

    async def body() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    asyncio.run(body())
