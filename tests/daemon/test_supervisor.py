"""daemon/supervisor.py, with real processes and a real store"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from daemon.errors import ChildFailed
from daemon.restart import RestartSettings
from daemon.store import Store
from daemon.supervisor import STATUS, ChildSpec, SupervisorSettings, serve
from tests.daemon.store.server import Valkey
from tests.daemon.supervised import STUBBORN, python, store

QUICK = SupervisorSettings(
    restart=RestartSettings(first_s=0.01, cap_s=0.05, attempts=3), drain_s=3, reserve_s=0.5, settle_s=0.05, poll_s=0.01
)


@pytest.fixture
def data_dir():
    folder = Path(tempfile.mkdtemp(prefix="vigil-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


async def until(true: Callable[[], bool], within_s: float = 10) -> None:
    """Return once it is true; fails when that takes too long. For what only asking again can tell."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.005)


class Running:
    """`serve` in a task, with all it says."""

    def __init__(self, data_dir: Path, *children: ChildSpec, settings: SupervisorSettings = QUICK) -> None:
        self.data_dir, self.children, self.settings = data_dir, children, settings
        self.lines: list[tuple[str, str]] = []
        self.stop, self.ready = asyncio.Event(), asyncio.Event()

    def say(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def said(self, name: str, text: str) -> int:
        return sum(who == name and text in line for who, line in self.lines)

    async def __aenter__(self):
        self.task = asyncio.create_task(
            serve(
                self.children,
                data_dir=self.data_dir,
                settings=self.settings,
                stop=self.stop,
                sink=self.say,
                on_ready=self.ready.set,
            )
        )
        return self

    async def __aexit__(self, *_):
        self.stop.set()
        await asyncio.wait({self.task})
        if not self.task.cancelled():
            self.task.exception()  # looked at where it matters

    def table(self) -> dict[str, dict]:
        children = json.loads((self.data_dir / STATUS).read_text())["children"]
        return {child["name"]: child for child in children}

    def is_up(self, name: str, restarts: int) -> bool:
        child = self.table()[name]
        return (child["state"], child["restarts"]) == ("running", restarts)

    def pid(self, name: str) -> int:
        return self.table()[name]["pid"]


def test_in_order(data_dir):
    """The store answers before a worker starts, workers before the gateway, and they stop in reverse order."""

    async def main() -> None:
        answered: list[bool] = []
        embedded_store = store(data_dir)

        async def ready() -> bool:
            answered.append(await embedded_store.ready())
            return answered[-1]

        first = ChildSpec("store", embedded_store.argv, 0, ready=ready)
        async with Running(
            data_dir, python("gateway", stage=2), python("w0", stage=1), python("w1", stage=1), first
        ) as running:
            async with asyncio.timeout(10):
                await running.ready.wait()
            await until(lambda: all(running.said(name, "hello") for name in ("w0", "w1", "gateway")))
            said = [name for name, line in running.lines]
            assert answered[-1]
            assert said.index("w0") > max(n for n, name in enumerate(said[: said.index("w0")]) if name == "store")
            assert {child["state"] for child in running.table().values()} == {"running"}
            running.stop.set()
            await running.task
        ends = [name for name, line in running.lines if "goodbye" in line or "exit now" in line or "bye bye" in line]
        assert ends[0] == "gateway"
        assert set(ends[1:3]) == {"w0", "w1"}
        assert ends[3:]
        assert set(ends[3:]) == {"store"}
        assert {child["state"] for child in running.table().values()} == {"stopped"}
        assert {child["pid"] for child in running.table().values()} == {None}

    asyncio.run(main())


def test_each_on_its_own(data_dir):
    """kill -9 of any one process restarts that one alone; the store is ready again and has kept its data."""

    async def main() -> None:
        async with Running(data_dir, store(data_dir), python("w0", stage=1), python("gateway", stage=2)) as running:
            async with asyncio.timeout(10):
                await running.ready.wait()
            url = f"unix://{data_dir}/store.sock"
            async with await Store.connect(url, owner="test") as connected:
                await connected.put_token("h", "admin", "ann")
                for victim in ("store", "w0", "gateway", "store"):
                    before = {name: running.pid(name) for name in running.table()}
                    restarts = running.table()[victim]["restarts"]
                    os.kill(before[victim], signal.SIGKILL)
                    await until(lambda victim=victim, count=restarts + 1: running.is_up(victim, count))
                    after = {name: running.pid(name) for name in running.table()}
                    assert after[victim] != before[victim]
                    assert running.table()[victim]["last_exit"] == "killed by signal 9"
                    assert {**after, victim: 0} == {**before, victim: 0}
                assert [token.name for token in await connected.tokens()] == ["ann"]

    asyncio.run(main())


def test_stubborn_children_are_killed_in_time(data_dir):
    """Whoever ignores SIGTERM is killed when its share of the time is over; the rest still stop in order and in time."""

    async def main() -> None:
        settings = SupervisorSettings(drain_s=1.0, reserve_s=0.4)
        async with Running(
            data_dir, python("store"), python("w0", STUBBORN, stage=1), python("gateway", stage=2), settings=settings
        ) as running:
            await until(lambda: all(running.said(name, "hello") for name in ("store", "w0", "gateway")))
            begun = time.monotonic()
            running.stop.set()
            await running.task
            assert time.monotonic() - begun < settings.drain_s + 2  # and not for ever
        assert (running.said("gateway", "goodbye"), running.said("store", "goodbye")) == (1, 1)
        assert running.said("w0", "no") == 1

    asyncio.run(main())


def test_configuration_error(data_dir):
    """Exit status 78 is not tried again: the others stop, and one sentence, the child's own last line, is the end."""

    async def main() -> None:
        broken = python("w0", "import sys; print('model: no folder /m', file=sys.stderr); sys.exit(78)", stage=1)
        async with Running(data_dir, python("store"), broken, python("gateway", stage=2)) as running:
            with pytest.raises(ChildFailed, match=r"^w0 cannot run as configured: model: no folder /m$") as caught:
                await running.task
        assert (caught.value.exit_status, caught.value.child, caught.value.status) == (78, "w0", 78)
        assert {name: child["state"] for name, child in running.table().items()} | {"gateway": "?"} == {
            "store": "stopped",
            "w0": "failed",
            "gateway": "?",
        }
        assert running.table()["w0"]["restarts"] == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((sys.executable, "-S", "-c", "raise SystemExit('no such device')"), r"\(exit status 1\): no such device$"),
        (("/nonexistent/program",), r"\(exit status 127\): .*No such file or directory: '/nonexistent/program'$"),
    ],
)
def test_never_starts(data_dir, argv, says):
    """A child that ends again and again before it ever was ready is given up, with its last words."""

    async def main() -> None:
        async def never() -> bool:
            return False

        async with Running(data_dir, ChildSpec("store", argv, ready=never), python("w0", stage=1)) as running:
            with pytest.raises(ChildFailed, match="^store did not start in 3 attempts " + says):
                await running.task
        assert running.said("w0", "hello") == 0

    asyncio.run(main())


def test_never_ready(data_dir):
    """A child that runs but never becomes ready is killed and counted as failed."""

    async def main() -> None:
        async def never() -> bool:
            return False

        settings = SupervisorSettings(
            restart=RestartSettings(first_s=0.01, attempts=2), ready_s=0.2, poll_s=0.01, drain_s=2
        )
        spec = ChildSpec("store", python("store").argv, ready=never)
        async with Running(data_dir, spec, settings=settings) as running:
            with pytest.raises(ChildFailed, match=r"store did not start in 2 attempts .*not ready after 0\.2 s"):
                await running.task

    asyncio.run(main())


def test_damaged_store(data_dir):
    """A store whose file is damaged is given up at once, and the sentence says what to do."""
    server = Valkey(data_dir).start()
    server.kill()
    log = next(server.append_only_folder.glob("*.incr.aof"))
    log.write_bytes(b"this is no append-only file\n" * 10)

    async def main() -> None:
        async with Running(data_dir, store(data_dir), python("w0", stage=1)) as running:
            with pytest.raises(ChildFailed, match=r"^store: the store's append-only file is damaged"):
                await running.task
        assert running.table()["store"]["restarts"] == 0

    asyncio.run(main())


def test_a_fault_in_ready_is_not_passed_over(data_dir):
    """An exception out of our own code stops everything and is raised, not swallowed."""

    async def main() -> None:
        async def broken() -> bool:
            raise ZeroDivisionError("our own fault")

        spec = ChildSpec("store", python("store").argv, ready=broken)
        async with Running(data_dir, spec, python("w0", stage=1)) as running:
            with pytest.raises(ZeroDivisionError, match="our own fault"):
                await running.task

    asyncio.run(main())


def test_output_is_passed_on(data_dir):
    """Every line of stdout and stderr comes out, long ones in pieces, the last without its newline too."""
    script = (
        "import os, sys, time\n"
        "os.write(1, b'out\\n'); os.write(2, b'err\\n'); os.write(1, b'x' * 20000 + b'\\n'); os.write(1, b'no newline')\n"
    )

    async def main() -> None:
        async with Running(data_dir, python("w0", script)) as running:
            await until(lambda: running.said("w0", "no newline") >= 1)
        lines = [line for _, line in running.lines]
        assert lines[:2] == ["out", "err"]
        assert "".join(lines[2:5]) == "x" * 20000
        assert lines[5] == "no newline"

    asyncio.run(main())


def test_same_name_twice(data_dir):
    """Two children of one name are our own mistake."""

    async def main() -> None:
        async with Running(data_dir, python("w0"), python("w0")) as running:
            with pytest.raises(ValueError, match="same name: w0, w0"):
                await running.task

    asyncio.run(main())


# --- as a process of its own: signals, kill -9, a second one


class Daemon:
    """A supervisor in its own process and session, its output readable line by line."""

    def __init__(self, data_dir: Path, *stubborn: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.daemon.supervised", str(data_dir), json.dumps(stubborn)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def read_until(self, *texts: str) -> None:
        """Return once each of these has been said."""
        while not all(any(text in line for line in self.lines) for text in texts):
            line = self.process.stderr.readline()
            assert line, f"it ended without {texts}:\n" + "".join(self.lines)
            self.lines.append(line)

    def started(self) -> None:
        self.read_until("all started", "hello from w0", "hello from gateway")

    def end(self) -> int:
        self.lines += self.process.stderr.readlines()
        return self.process.wait(15)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.stderr.close()
        self.process.wait(10)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signals_drain(data_dir, how):
    """SIGTERM and Ctrl-C (which goes to the whole group) stop gateway, worker, store, in that order, with status 0."""
    with Daemon(data_dir) as daemon:
        daemon.started()
        children = daemon.children()
        assert len(children) == 3
        os.killpg(daemon.process.pid, how)
        assert daemon.end() == 0
        text = "".join(daemon.lines)
        assert text.index("goodbye from gateway") < text.index("goodbye from w0") < text.index("ready to exit")
        assert not any(child.is_running() for child in children)


def test_second_signal_kills(data_dir):
    """A second signal does not wait for anybody."""
    with Daemon(data_dir, "gateway") as daemon:
        daemon.started()
        begun = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.read_until("gateway | no")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.end() == 0
        assert time.monotonic() - begun < 10  # of the 18 s that the gateway would have had


def test_killed_supervisor_leaves_no_orphans(data_dir):
    """kill -9 of the supervisor takes every child with it, and a new one starts at once on the same directory."""
    with Daemon(data_dir) as daemon:
        daemon.started()
        children = daemon.children()
        daemon.process.kill()
        with Daemon(data_dir) as another:
            another.started()
            _, alive = psutil.wait_procs(children, timeout=5)
            assert alive == []
            another.process.terminate()
            assert another.end() == 0


def test_second_daemon_is_refused(data_dir):
    """A second daemon on the same data directory ends with a sentence that names the first, which runs on."""
    with Daemon(data_dir) as daemon:
        daemon.started()
        with Daemon(data_dir) as another:
            assert another.end() == 75
            assert len(another.lines) == 1
            assert f"(process {daemon.process.pid})" in another.lines[0]
        assert len(daemon.children()) == 3
        daemon.process.terminate()
        assert daemon.end() == 0
