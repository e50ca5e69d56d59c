"""
A gateway as a process of its own, for tests that measure it or kill it.

    python -m tests.peers.gateway STORE_URL DATA_DIR PORT [OUTBOX_EVENTS]

prints its port once clients can connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from clients.outbox import OutboxLimits
from daemon.gateway import GatewayConfig, run_gateway

ROOT = Path(__file__).resolve().parents[2]


class GatewayProcess:
    """`port` stays the same over restarts."""

    def __init__(self, store_url: str, data_dir: Path, *, outbox_events: int = 2048) -> None:
        self.port = 0
        self._arguments = [store_url, str(data_dir)]
        self._outbox_events = outbox_events
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rss_bytes(self) -> int:
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def start(self) -> GatewayProcess:
        """Return when clients can connect."""
        words = [*self._arguments, str(self.port), str(self._outbox_events)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.peers.gateway", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._process.stdout.readline())
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        process.stdout.close()
        return process.wait(15)


@contextlib.contextmanager
def gateway_process(store_url: str, data_dir: Path, *, outbox_events: int = 2048) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(store_url, data_dir, outbox_events=outbox_events).start()
    try:
        yield gateway
    finally:
        gateway.stop()


async def main(store_url: str, data_dir: str, port: str, outbox_events: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = GatewayConfig(port=int(port), go_away_s=0.2, outbox=OutboxLimits(events=int(outbox_events)))
    await run_gateway(config, store_url, Path(data_dir), stop, on_listening=lambda bound: print(bound, flush=True))


if __name__ == "__main__":
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
