"""A real Valkey for tests: the bundled binary with the embedded configuration, to be killed and started again."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
from pathlib import Path

from daemon.store.embedded import EmbeddedSettings, prepare

READY = re.compile(r"Ready to accept connections")


class Valkey:
    """`url` is the same over restarts. Blocks while it starts, tens of milliseconds."""

    def __init__(self, data_dir: Path, *options: str, settings: EmbeddedSettings | None = None) -> None:
        self.data_dir = data_dir
        self.embedded = prepare(data_dir, settings)
        self.url = self.embedded.url
        self.lines: list[str] = []
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    @property
    def append_only_folder(self) -> Path:
        return self.data_dir / "store" / "appendonlydir"

    def start(self) -> Valkey:
        """Return when it answers. Raises RuntimeError with its output when it ends instead."""
        self._process = subprocess.Popen(
            [*self.embedded.argv, "--loglevel", "notice", *self._options],  # it says when it is ready
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            restore_signals=False,  # SIGXFSZ stays ignored: past a file-size limit write(2) fails as on a full disk
        )
        self.lines = []
        for line in self._process.stdout:
            self.lines.append(line)
            if READY.search(line):
                return self
        self.wait()
        raise RuntimeError("".join(self.lines))

    def limit_files(self, max_bytes: int) -> None:
        """From now on writes past that size of a file fail, as on a full disk, until it is started again."""
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and return when it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        process, self._process = self._process, None
        process.stdout.close()
        return process.wait(10)

    def stop(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self.kill()
