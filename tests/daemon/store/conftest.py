"""Async tests, each in an event loop of its own, and a real Valkey for each."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import tempfile
from pathlib import Path

import pytest

from daemon.store import LinkSettings, StoreSettings
from tests.daemon.store.server import Valkey

QUICK = StoreSettings(link=LinkSettings(patience_s=20, block_ms=200))
IMPATIENT = StoreSettings(link=LinkSettings(patience_s=0.2, connect_s=2, reply_s=1.5, block_ms=100))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def short_dir():
    """A folder whose path is short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="vigil-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def valkey(short_dir):
    server = Valkey(short_dir).start()
    yield server
    server.stop()
