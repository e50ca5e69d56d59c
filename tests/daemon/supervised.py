"""A supervisor in a process of its own, for tests: a real store, then what the tests ask for."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from daemon.errors import DaemonError
from daemon.store.embedded import prepare
from daemon.supervisor import ChildSpec, SupervisorSettings, serve

PATIENT = """
import signal, sys, threading
name, stop = sys.argv[1], threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("hello from", name, flush=True)
stop.wait()
print("goodbye from", name, flush=True)
"""

STUBBORN = """
import os, signal, sys, threading
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"no\\n"))
print("hello from", sys.argv[1], flush=True)
while True: threading.Event().wait(60)
"""


def python(name: str, script: str = PATIENT, **more: object) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-S", "-E", "-c", script, name), **more)


def store(data_dir: Path, stage: int = 0) -> ChildSpec:
    embedded = prepare(data_dir)
    return ChildSpec("store", embedded.argv, stage, ready=embedded.ready, explain=embedded.explain)


def main() -> int:
    data_dir, stubborn = Path(sys.argv[1]), json.loads(sys.argv[2])
    children = [
        store(data_dir),
        python("w0", STUBBORN if "w0" in stubborn else PATIENT, stage=1),
        python("gateway", STUBBORN if "gateway" in stubborn else PATIENT, stage=2),
    ]
    try:
        asyncio.run(
            serve(
                children,
                data_dir=data_dir,
                settings=SupervisorSettings(drain_s=20, reserve_s=1),
                on_ready=lambda: print("all started", file=sys.stderr, flush=True),
            )
        )
    except DaemonError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
