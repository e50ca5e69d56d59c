"""The store for one command: that of the running daemon, or the embedded one started for as long as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .config import Config
from .errors import AlreadyRunning
from .lock import held
from .store import Embedded, EmbeddedSettings, Store, StoreUnavailable
from .store.embedded import SOCKET, prepare

START_S: Final = 30.0
STOP_S: Final = 10.0
POLL_S: Final = 0.02


def embedded_settings(config: Config) -> EmbeddedSettings:
    return EmbeddedSettings(max_memory_bytes=config.store.max_memory_mb << 20, fsync=config.store.fsync)


@contextlib.asynccontextmanager
async def store_of(config: Config, *, owner: str = "cli") -> AsyncIterator[Store]:
    """
    The store of this configuration, whether or not the daemon runs.

    Raises: StoreError: it cannot be reached or started.
    """
    async with contextlib.AsyncExitStack() as stack:
        url = config.store.redis_url
        if not url:
            try:
                stack.enter_context(held(config.data_dir))
            except AlreadyRunning:
                url = f"unix://{quote(str(config.data_dir / SOCKET))}"
            else:
                embedded = prepare(config.data_dir, embedded_settings(config))
                url = await stack.enter_async_context(running(embedded))
        yield await stack.enter_async_context(await Store.connect(url, owner=owner))


@contextlib.asynccontextmanager
async def running(embedded: Embedded) -> AsyncIterator[str]:
    """
    Run an embedded server while inside; yields its URL once it answers.

    Raises: StoreUnavailable: it ended, or did not answer within START_S; with the last it said.
    """
    process = await asyncio.create_subprocess_exec(
        *embedded.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # a Ctrl-C is the command's to handle; the server then stops in order
    )
    reading = asyncio.create_task(last_lines(process))
    try:
        give_up_at = time.monotonic() + START_S
        while not await embedded.ready():
            if process.returncode is not None or time.monotonic() > give_up_at:
                if process.returncode is None:
                    process.kill()
                lines = await reading
                why = embedded.explain(lines) or (lines[-1] if lines else "it said nothing")
                raise StoreUnavailable(f"the embedded store did not start: {why}")
            await asyncio.sleep(POLL_S)
        yield embedded.url
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading


async def last_lines(process: asyncio.subprocess.Process, keep: int = 40) -> list[str]:
    """Read the output to its end, so that it never blocks; the last lines of it."""
    assert process.stdout is not None
    lines: list[str] = []
    async for line in process.stdout:
        lines = [*lines[1 - keep :], line.decode(errors="replace").rstrip()]
    return lines


@contextlib.asynccontextmanager
async def temporary_store(folder: Path) -> AsyncIterator[str]:
    """A real embedded server below `folder`, as the daemon would run it, gone afterwards; yields its URL."""
    async with running(prepare(folder)) as url:
        yield url
