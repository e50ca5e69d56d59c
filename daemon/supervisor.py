"""
The supervisor: starts the daemon's processes in order, starts again what dies, and stops them in reverse order.

The processes of one stage start together once every process of the earlier stages is ready. After that each is on its
own: the end of one restarts that one alone, and the others live through it.

What decides is elsewhere and pure: restart.py when to start again, lines.py how output is cut. Here is the only place
of the daemon that starts processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from .errors import ChildFailed
from .lines import Lines
from .lock import held
from .restart import Again, Ended, GiveUp, RestartPolicy, RestartSettings, manner, shares

log = structlog.get_logger(__name__)

STATUS: Final = "supervisor.json"
LAST_LINES: Final = 40
PR_SET_PDEATHSIG: Final = 1
READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """
    One process.

    argv, env, cwd: env is added to the supervisor's own environment.
    stage: stages start in ascending and stop in descending order (store 0, workers 1, gateway 2).
    ready: asked every SupervisorSettings.poll_s until it says True; without it, running for settle_s counts.
    explain: given its last lines after it has ended, a sentence when it will never start; None when it may.
    """

    name: str
    argv: Sequence[str]
    stage: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready: Callable[[], Awaitable[bool]] | None = None
    explain: Callable[[Sequence[str]], str | None] | None = None


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """
    drain_s: from the request to stop until the last process is gone; reserve_s of it are kept for each later stage.
    ready_s: a child that is not ready by then has failed. settle_s: running this long is "started" where nothing asks.
    """

    restart: RestartSettings = field(default_factory=RestartSettings)
    drain_s: float = 9.0
    reserve_s: float = 1.5
    ready_s: float = 120.0
    settle_s: float = 2.0
    poll_s: float = 0.05


@dataclass(slots=True)
class ChildStatus:
    """
    A row of the status table. state: waiting, starting, running, backoff, stopping, stopped, failed.

    since_ts: Unix epoch ms of the state. last_exit: how the last run ended, for people.
    """

    name: str
    stage: int
    state: str = "waiting"
    pid: int | None = None
    restarts: int = 0
    since_ts: int = 0
    last_exit: str | None = None


def to_stderr(name: str, line: str) -> None:
    """Pass a child's line on, behind its name; a supervisor whose own output is gone goes on without."""
    with contextlib.suppress(OSError):
        print(f"{name} | {line}", file=sys.stderr, flush=True)  # noqa: T201  this is what the supervisor's output is


async def serve(
    children: Sequence[ChildSpec],
    *,
    data_dir: Path,
    settings: SupervisorSettings | None = None,
    stop: asyncio.Event | None = None,
    sink: Callable[[str, str], None] = to_stderr,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """
    Hold `data_dir` and keep the children running until `stop` is set or SIGTERM or SIGINT arrives; then drain.

    A second signal while draining kills what is left at once. The status table is kept in data_dir/supervisor.json.
    Must run in the main thread: a child is bound to the life of the thread that started it.

    Args: sink: gets every line of output (child's name, line). on_ready: called once all have started.
    Raises: AlreadyRunning; ChildFailed: a child can never start; the others have been stopped. OSError.
    """
    stop = stop or asyncio.Event()
    with held(data_dir):
        supervisor = Supervisor(children, settings or SupervisorSettings(), sink=sink, table=data_dir / STATUS)
        with _signals(stop, supervisor.kill):
            await supervisor.run(stop, on_ready)


class Supervisor:
    """The children of one daemon. `run` once."""

    def __init__(
        self,
        children: Sequence[ChildSpec],
        settings: SupervisorSettings,
        *,
        sink: Callable[[str, str], None],
        table: Path | None = None,
    ) -> None:
        names = [spec.name for spec in children]
        if len(set(names)) != len(names):
            raise ValueError(f"two children have the same name: {', '.join(names)}")
        self._settings = settings
        self._table = table
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._children = [
            _Child(spec, settings, sink=sink, on_change=self._write_table, on_failed=self._fail) for spec in children
        ]

    def status(self) -> list[ChildStatus]:
        return [child.status for child in self._children]

    def kill(self) -> None:
        """Kill every child at once, and start none again."""
        for child in self._children:
            child.kill()

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Start, keep up and finally drain; see `serve`."""
        stopping = asyncio.ensure_future(stop.wait())
        started = asyncio.ensure_future(self._start_in_order())
        ends: set[asyncio.Future[Any]] = {stopping, self._failed}
        try:
            await asyncio.wait({started, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                started.result()
                on_ready()
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            started.cancel()
            await asyncio.wait({stopping, started})
            await self._drain()
        if self._failed.done():
            raise self._failed.result()
        self._failed.cancel()

    # --- private

    def _stages(self) -> list[list[_Child]]:
        stages: dict[int, list[_Child]] = {}
        for child in self._children:
            stages.setdefault(child.spec.stage, []).append(child)
        return [stages[stage] for stage in sorted(stages)]

    async def _start_in_order(self) -> None:
        for stage in self._stages():
            for child in stage:
                child.start()
            await asyncio.gather(*(child.first_start.wait() for child in stage))

    async def _drain(self) -> None:
        """Stop the stages, the last one first, all within drain_s."""
        begun = time.monotonic()
        stages = self._stages()[::-1]
        for stage, deadline_s in zip(
            stages, shares(self._settings.drain_s, len(stages), self._settings.reserve_s), strict=True
        ):
            left_s = max(0.0, begun + deadline_s - time.monotonic())
            await asyncio.gather(*(child.stop(left_s) for child in stage))

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_result(error)

    def _write_table(self) -> None:
        if self._table is None:
            return
        table = {"pid": os.getpid(), "children": [asdict(child.status) for child in self._children]}
        unfinished = self._table.with_suffix(".unfinished")
        try:
            unfinished.write_text(json.dumps(table, indent=1), encoding="utf-8")
            unfinished.replace(self._table)
        except OSError as error:  # a full disk must not stop the daemon
            log.warning("supervisor.table", reason=str(error))


class _Child:
    """One child: its task runs it, again and again, until it is stopped or given up."""

    def __init__(
        self,
        spec: ChildSpec,
        settings: SupervisorSettings,
        *,
        sink: Callable[[str, str], None],
        on_change: Callable[[], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        self.spec = spec
        self.status = ChildStatus(spec.name, spec.stage)
        self.first_start = asyncio.Event()
        self._settings = settings
        self._policy = RestartPolicy(spec.name, settings.restart, random.random)
        self._sink = sink
        self._on_change = on_change
        self._on_failed = on_failed
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_running(), name=f"child {self.spec.name}")
        self._task.add_done_callback(self._tell_crash)

    async def stop(self, within_s: float) -> None:
        """SIGTERM, and SIGKILL when it is not gone within that time."""
        self._stopping.set()
        if self._task is None or self._task.done():
            return
        self._set("stopping", pid=self.status.pid)
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait({self._task}, timeout=within_s)
        if not done:
            log.warning("child.killed", child=self.spec.name, reason=f"not gone {within_s:.1f} s after SIGTERM")
        while not done:  # more than once: it may have been in the middle of starting
            self.kill()
            done, _ = await asyncio.wait({self._task}, timeout=0.1)
        self._set("stopped")

    def kill(self) -> None:
        """SIGKILL, and no other start."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    # --- private

    def _tell_crash(self, task: asyncio.Task[None]) -> None:
        """Our own fault, or that of `ready` or `explain`: told by Supervisor.run, never passed over."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failed(error)

    async def _keep_running(self) -> None:
        while not self._stopping.is_set():
            try:
                run = await self._run_once()
            except OSError as error:  # no such program, no more processes
                run = Ended(status=127, ran_s=0.0, started=False, last_line=str(error))
            if self._stopping.is_set():
                return
            self.status.last_exit = manner(run.status)
            match self._policy.ended(run):
                case GiveUp(reason):
                    self._set("failed")
                    self._on_failed(ChildFailed(reason, self.spec.name, run.status))
                    return
                case Again(pause_s):
                    log.warning(
                        "child.ended",
                        child=self.spec.name,
                        how=manner(run.status),
                        ran_s=round(run.ran_s, 1),
                        again_in_s=round(pause_s, 2),
                    )
                    self._set("backoff")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause_s):
                            await self._stopping.wait()
                    self.status.restarts += 1

    async def _run_once(self) -> Ended:
        """Start the process, wait until it has ended and its output is read."""
        self._last_lines.clear()
        begun = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *self.spec.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self.spec.env},
            cwd=self.spec.cwd,
            start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's to handle, in order
            preexec_fn=_dies_with(os.getpid()),
        )
        self._process = process
        self._set("starting", pid=process.pid)
        if self._stopping.is_set():  # asked to stop while it was being started
            self._signal(signal.SIGTERM)
        watching: asyncio.Future[Any] = asyncio.ensure_future(self._watch_start())
        reading: asyncio.Future[Any] = asyncio.ensure_future(self._pass_on(process))
        try:
            status = await process.wait()
            # A grandchild may hold the pipe open: what it says after its parent's end is not waited for.
            await asyncio.wait({reading}, timeout=0.5)
        finally:
            self._process = None
            for task in (watching, reading):
                task.cancel()
            await asyncio.wait({watching, reading})
        started = not watching.cancelled() and watching.result()
        if not reading.cancelled():
            reading.result()
        lines = tuple(self._last_lines)
        return Ended(
            status=status,
            ran_s=time.monotonic() - begun,
            started=started,
            hopeless=self.spec.explain(lines) if self.spec.explain is not None else None,
            last_line=lines[-1] if lines else "",
        )

    async def _watch_start(self) -> bool:
        """True once the process has started; kills it when it is not ready in time."""
        if self.spec.ready is None:
            self._started()
            await asyncio.sleep(self._settings.settle_s)
            return True
        started = False
        try:
            async with asyncio.timeout(self._settings.ready_s):
                while not await self.spec.ready():  # noqa: ASYNC110  it is another process that is asked
                    await asyncio.sleep(self._settings.poll_s)
            started = True
            self._started()
        except TimeoutError:
            self._last_lines.append(f"not ready after {self._settings.ready_s:g} s")
        finally:
            if not started:
                self._signal(signal.SIGKILL)
        return started

    def _started(self) -> None:
        if not self._stopping.is_set():
            self._set("running", pid=self.status.pid)
        self.first_start.set()

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        lines = Lines()
        while data := await process.stdout.read(READ_BYTES):
            for line in lines.feed(data):
                self._say(line)
        for line in lines.end():
            self._say(line)

    def _say(self, line: str) -> None:
        if line.strip():
            self._last_lines.append(line)
        self._sink(self.spec.name, line)

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # gone, and not yet waited for
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)  # it leads a session of its own: its helpers go with it
            else:
                process.send_signal(number)

    def _set(self, state: str, *, pid: int | None = None) -> None:
        self.status.state, self.status.pid, self.status.since_ts = state, pid, time.time_ns() // 1_000_000
        self._on_change()


def _dies_with(parent: int) -> Callable[[], None] | None:
    """
    What a new process does first on Linux: ask to be killed when the supervisor dies, so that kill -9 leaves no orphan.

    SIGKILL, not SIGTERM: a supervisor that is started again at once must find sockets and files free.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: nothing may be loaded after it

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return bind


@contextlib.contextmanager
def _signals(stop: asyncio.Event, kill: Callable[[], None]) -> Iterator[None]:
    """While inside, the first SIGTERM or SIGINT sets `stop` and any further one kills."""
    loop = asyncio.get_running_loop()

    def arrived() -> None:
        if stop.is_set():
            kill()
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, arrived)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
