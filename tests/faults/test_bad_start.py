"""
`vigild serve` where it cannot run: it ends by itself, with a status and one last sentence that says what to do.

And the same at a daemon that runs: what comes later, a full store or a second daemon, is told and outlived.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.commands.terminal import Exit
from streaming import models
from tests.daemon.store.server import Valkey
from tests.peers.daemon import ROOT, Daemon, free_port, running_daemon
from tests.peers.wire_client import RequestFailed, wire_client

pytestmark = pytest.mark.slow

PATIENCE_S = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: the path of a Unix socket is bounded."""
    with tempfile.TemporaryDirectory(prefix="vg-") as name:
        yield Path(name)


def refusal(*arguments: str, folder: Path) -> tuple[int, str]:
    """The exit status and the last line of `vigild serve` with these arguments; no traceback came before it."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    command = [sys.executable, "-m", "daemon", "serve", "--data-dir", str(folder / "data"), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


# the model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder that loads."""
    return models.built_in()["tiny-random"].folder(tmp_path_factory.mktemp("models"))


@pytest.fixture
def bad_model(request: pytest.FixtureRequest, whole: Path, folder: Path) -> str:
    copy = folder / "model"
    match request.param:
        case "missing":
            return str(folder / "nowhere")
        case "unsupported":
            shutil.copytree(whole, copy)
            config = json.loads((copy / "config.json").read_text())
            (copy / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
        case "half downloaded":
            shutil.copytree(whole, copy)
            weights = (copy / "model.safetensors").read_bytes()
            (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    return str(copy)


@pytest.mark.parametrize(
    ("bad_model", "says"),
    [
        ("missing", "no such folder"),
        ("unsupported", "family 'llama' is not supported; supported: qwen3_vl"),
        ("half downloaded", "model.safetensors is damaged or half downloaded"),
    ],
    indirect=["bad_model"],
)
def test_a_model_that_cannot_load_ends_the_daemon(bad_model: str, says: str, folder: Path) -> None:
    """The worker is not started again and again: the daemon ends with the worker's sentence."""
    status, line = refusal("--model", bad_model, "--port", "0", folder=folder)
    assert status == Exit.CONFIGURATION
    assert line.startswith(f"vigild: worker w0 cannot run as configured: model '{bad_model}'")
    assert says in line


# the configuration


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "gateway.prot=1"), "there is no setting gateway.prot; did you mean 'gateway.port'?"),
        (("--set", "camera.budget_tokens=many"), "camera.budget_tokens"),
        (("--config", "{folder}/none.toml"), "none.toml"),
        (("--config", "{folder}/broken.toml"), "broken.toml"),
        (("--port", "0", "--host", "0.0.0.0"), "refusing to listen on 0.0.0.0 without a token: make one with `vigild token create`"),
        (("--port", "0", "--host", "192.0.2.1"), "192.0.2.1 is no address of this machine: set gateway.host"),
        (("--port", "0", "--host", "no.such.host.invalid"), "no.such.host.invalid"),
        (("--port", "0", "--device", "cuda:63"), "device 'cuda:63' cannot be used"),
        (("--port", "0", "--redis-url", "http://u:hunter2@host"), "cannot be used; write redis://host:6379/0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_wrong_configuration_ends_the_daemon(arguments: tuple[str, ...], says: str, folder: Path) -> None:
    """Status 78, and a sentence that names the setting."""
    (folder / "broken.toml").write_text("[gateway\nport = 1\n")
    status, line = refusal(*(each.format(folder=folder) for each in arguments), folder=folder)
    assert status == Exit.CONFIGURATION
    assert says in line
    assert "hunter2" not in line


def test_a_data_folder_that_cannot_be_made(folder: Path) -> None:
    """A file stands where the folder should be."""
    (folder / "data").write_text("")
    status, line = refusal("--port", "0", folder=folder)
    assert status != 0
    print(status, line)


def test_a_data_folder_with_too_long_a_name(folder: Path) -> None:
    (folder / "data").mkdir()
    status, line = refusal("--port", "0", "--data-dir", str(folder / ("x" * 120)), folder=folder)
    assert status == Exit.CONFIGURATION
    assert "too long for a Unix socket; choose a shorter one" in line


# the store


@contextmanager
def old_store(path: Path) -> Iterator[str]:
    """What Redis 6 says of itself; no such server can be had from the packages."""
    async def main() -> None: ...
    yield ""


def test_a_store_that_is_a_replica_ends_the_daemon(folder: Path) -> None:
    """Read-only: status 78, and which server is the primary."""
    server = Valkey(folder, "--replicaof", "127.0.0.1", "1").start()
    try:
        status, line = refusal("--port", "0", "--redis-url", server.url, folder=folder)
    finally:
        server.stop()
    assert status == Exit.CONFIGURATION
    assert "the store is a read-only replica of 127.0.0.1:1; set redis_url to the primary" in line
