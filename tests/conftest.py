"""
What holds for every test: nothing may outlive it.

A task that still runs when its event loop ends, a loop that is never closed, a thread or a child process that is still
there after the test, a log that was set up for the whole process: each fails the test, by name. Fixtures of a wider scope (a store for a whole module) are started
before the first look and are no leak.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.runners
import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import structlog
from hypothesis import HealthCheck, settings

GRACE_S = 3.0  # how long a thread or a child may take to end by itself
ROOT = Path(__file__).resolve().parent.parent
CLIPS = Path(os.environ.get("VIGILD_CLIPS", ROOT.parent / "shared" / "data"))

# Threads that a library starts once a process and keeps on purpose.
KEPT_THREADS = (
    "tqdm_monitor",  # transformers' progress bars
    "pytest_timeout",  # the watchdog of the test itself
)

# A stall of a shared machine is no failure of a property.
settings.register_profile("vigild", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vigild")

_passed = pytest.StashKey[bool]()


class Watch:
    """Every event loop made, and the tasks each left running, since the process began."""

    def __init__(self) -> None:
        self.loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self.left_running: list[str] = []

    def install(self) -> None:
        """Look over the shoulder of asyncio: where a loop is made, and where a runner cancels what is left."""
        make, cancel = asyncio.base_events.BaseEventLoop.__init__, asyncio.runners._cancel_all_tasks

        def init(loop: asyncio.base_events.BaseEventLoop) -> None:
            make(loop)
            self.loops.add(loop)

        def cancel_all(loop: asyncio.AbstractEventLoop) -> None:
            self.left_running += [describe(task) for task in asyncio.all_tasks(loop)]
            cancel(loop)

        asyncio.base_events.BaseEventLoop.__init__ = init  # type: ignore[method-assign]
        asyncio.runners._cancel_all_tasks = cancel_all

    def open_loops(self) -> set[asyncio.AbstractEventLoop]:
        return {loop for loop in self.loops if not loop.is_closed()}


def describe(task: asyncio.Task[object]) -> str:
    return f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', task.get_coro())})"


WATCH = Watch()
WATCH.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
    return report


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a passing test that leaves a task, an open event loop, a thread or a child process behind."""
    threads, children, loops = set(threading.enumerate()), running_children(), WATCH.open_loops()
    WATCH.left_running.clear()
    yield
    if not request.node.stash.get(_passed, False):
        return  # it failed for a reason of its own; what it left is a consequence
    leaks = [f"task still running: {name}" for name in WATCH.left_running]
    leaks += [f"event loop not closed: {loop!r}" for loop in WATCH.open_loops() - loops]
    leaks += [f"thread still alive: {thread.name}" for thread in lasting_threads(threads)]
    leaks += [f"child still running: {line}" for line in lasting_children(children)]
    if structlog.is_configured():  # its stream may be a captured one, closed by now
        structlog.reset_defaults()
        leaks.append("structlog still configured; run what sets up logging as a process of its own")
    if leaks:
        pytest.fail("the test left something behind\n  " + "\n  ".join(leaks), pytrace=False)


def lasting_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """The threads begun since `before` that do not end within GRACE_S."""
    begun = [t for t in threading.enumerate() if t not in before and not t.name.startswith(KEPT_THREADS)]
    for thread in begun:
        thread.join(GRACE_S)
    return [thread for thread in begun if thread.is_alive()]


def running_children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def lasting_children(before: set[psutil.Process]) -> list[str]:
    """The command lines of the child processes begun since `before` that do not end within GRACE_S."""
    begun = [child for child in running_children() - before if "resource_tracker" not in command_line(child)]
    _, alive = psutil.wait_procs(begun, timeout=GRACE_S)
    return [f"{child.pid} {command_line(child)}" for child in alive if command_line(child)]


def command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())[:120]
    return ""


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real video clips with its events.json; skips the test where it is not beside the checkout."""
    if not (CLIPS / "events.json").is_file():
        pytest.skip(f"no clips in {CLIPS} (set VIGILD_CLIPS to the folder that holds events.json)")
    return CLIPS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark whatever asks for the clips, so that `-m "not clips"` selects without them."""
    for item in items:
        if "clips" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.clips)
