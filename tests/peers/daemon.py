"""The whole daemon as a user starts it: `vigild serve` as a process, with a data directory of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """A running `vigild serve`."""

    def __init__(self, data_dir: Path, port: int, env: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.port = port
        self.log_path = data_dir / "serve.log"
        self._env = dict(env)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        env = os.environ | {
            "VIGILD_DATA__DIR": str(self.data_dir),
            "VIGILD_GATEWAY__PORT": str(self.port),
            "VIGILD_MODEL__NAME": "tiny-random",  # quick, and its p moves with every picture
            "OMP_NUM_THREADS": "1",
            **self._env,
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daemon", "serve"], cwd=ROOT, env=env, stdout=log, stderr=log
            )

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.http}/readyz", timeout=2) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False

    async def until_ready(self, *, within_s: float = 60) -> None:
        end = time.monotonic() + within_s
        while not await asyncio.to_thread(self.ready):
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"vigild serve ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"not ready within {within_s} s:\n{self.log()[-4000:]}")
            await asyncio.sleep(0.1)  # between two polls of /readyz

    def children(self) -> dict[str, psutil.Process]:
        """The live child processes by role: "store", "worker", "gateway"."""
        assert self.process is not None
        found = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    line = child.cmdline()
                    role = next((role for role in ("worker", "gateway") if role in line), None)
                    if role is None and line and ("valkey" in line[0] or "redis" in line[0]):
                        role = "store"
                    if role is not None:
                        found[role] = child
        return found

    def kill(self, role: str) -> bool:
        """kill -9 one child; False when it is not there right now."""
        child = self.children().get(role)
        if child is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
            return True
        return False

    def stop(self, *, within_s: float = 15) -> int:
        """SIGTERM and wait; the exit status. Kills what does not end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def running_daemon(**env: str) -> Iterator[Daemon]:
    """A daemon on a free port in a short-named directory (Unix sockets have short paths), stopped at the end."""
    data_dir = Path(tempfile.mkdtemp(prefix="vg-"))
    daemon = Daemon(data_dir, free_port(), env)
    daemon.start()
    try:
        yield daemon
    finally:
        try:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()
        finally:
            shutil.rmtree(data_dir, ignore_errors=True)
