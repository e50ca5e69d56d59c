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

from daemon.config import Config, from_parent
from daemon.observe import set_up_logging
from daemon.strict import ConfigError

from .progress import Teller


def register(app: typer.Typer) -> None:
    @app.command("worker", hidden=True)
    def worker(
        *,
        slot: Annotated[str, typer.Option(help="The name of this worker in the store.")] = "w0",
        device: Annotated[str, typer.Option(help="cpu, cuda:0, …")] = "cpu",
    ) -> None:
        """Watch cameras on one device."""
        config = started(f"worker {slot}")
        # torch: only in this process
        from daemon.wiring.worker import worker_settings  # noqa: PLC0415
        from daemon.worker import run_worker  # noqa: PLC0415
        from streaming.errors import StreamingError  # noqa: PLC0415

        settings = worker_settings(config)
        url, data_dir = config.store.redis_url, config.data_dir
        try:
            until_signalled(
                lambda stop: run_worker(
                    settings,
                    store_url=url,
                    data_dir=data_dir,
                    device=device,
                    slot=slot,
                    stop=stop,
                    progress=Teller(),
                )
            )
        except StreamingError as error:  # the same again tomorrow: the supervisor is not to try it twice
            raise ConfigError(str(error)) from None

    @app.command("gateway", hidden=True)
    def gateway() -> None:
        """Serve clients."""
        config = started("gateway")
        from daemon.gateway import run_gateway  # noqa: PLC0415  the web server: only in this process
        from daemon.wiring.gateway import gateway_settings  # noqa: PLC0415

        settings = gateway_settings(config)
        until_signalled(lambda stop: run_gateway(settings, config.store.redis_url, config.data_dir, stop))


def started(process: str) -> Config:
    """The settings of this child process, its log set up by them."""
    config = from_parent()
    set_up_logging(level=config.log.level, form="json" if config.log.format == "json" else "console", process=process)
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
