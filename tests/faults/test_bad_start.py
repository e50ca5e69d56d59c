"""
`vigild serve` where it cannot run: it ends by itself, with a status and one last sentence that says what to do.

And the same at a daemon that runs: what comes later, a full store or a second daemon, is told and outlived.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from daemon.commands.terminal import Exit
from streaming import models
from tests.daemon.store.server import Valkey
from tests.peers.daemon import ROOT, Daemon, running_daemon
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
    done = subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
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
        ("unsupported", "family 'llama' is not supported; supported: qwen2_5_vl, qwen3_vl"),
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
        (("--port", "0", "--host", "192.0.2.1"), "gateway.host is '192.0.2.1', where nothing can listen"),
        (("--port", "1", "--host", "192.0.2.1"), "192.0.2.1 is no address of this machine: set gateway.host"),
        (("--port", "0", "--host", "no.such.host.invalid"), "gateway.host is 'no.such.host.invalid', where nothing can listen"),
        (("--port", "0", "--set", "engine.max_cameras=100000000"), "lower engine.max_cameras or camera.budget_tokens"),
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


@pytest.mark.parametrize("file", ["data", "data/store", "data/vigild.lock/x"])
def test_a_data_folder_that_cannot_be_made(file: str, folder: Path) -> None:
    """Something else stands where the folder, or what belongs into it, should be: status 78, and which it is."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    status, line = refusal("--port", "0", folder=folder)
    assert status == Exit.CONFIGURATION
    assert f"the data directory {folder / 'data'} cannot be used ({folder / file.removesuffix('/x')}: " in line
    assert "make it writable, or choose another" in line


def test_a_data_folder_with_too_long_a_name(folder: Path) -> None:
    """The path of a Unix socket is bounded."""
    status, line = refusal("--port", "0", "--data-dir", str(folder / ("x" * 120)), folder=folder)
    assert status == Exit.CONFIGURATION
    assert "too long for a Unix socket; choose a shorter one" in line


# the store, at the start


@contextmanager
def answering(path: Path, info: bytes) -> Iterator[str]:
    """A server that answers INFO with `info`: one that is too old cannot be had. Yields its redis_url."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.readline():
                words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n")

    with socketserver.ThreadingUnixStreamServer(str(path), Answer) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            serving.join()


def test_a_store_that_is_too_old_ends_the_daemon(folder: Path) -> None:
    """Status 78, which version it is and which is needed; no model is loaded first."""
    with answering(folder / "old.sock", b"redis_version:6.2.14\r\nrole:master\r\n") as url:
        status, line = refusal("--port", "0", "--redis-url", url, folder=folder)
    assert status == Exit.CONFIGURATION
    assert "the store is redis 6.2.14; vigild needs Redis 7 or later" in line


def test_a_store_that_is_a_replica_ends_the_daemon(folder: Path) -> None:
    """Read-only: status 78, and which server is the primary."""
    server = Valkey(folder, "--replicaof", "127.0.0.1", "1").start()
    try:
        status, line = refusal("--port", "0", "--redis-url", server.url, folder=folder)
    finally:
        server.stop()
    assert status == Exit.CONFIGURATION
    assert "the store is a read-only replica of 127.0.0.1:1; set redis_url to the primary" in line


def test_a_store_that_is_away_is_waited_for(folder: Path) -> None:
    """Worker and gateway say so and wait, each in one process; once it is there the daemon is ready."""
    store = Valkey(folder)
    with running_daemon(VIGILD_STORE__REDIS_URL=store.url) as daemon:
        asyncio.run(until(lambda: {"gateway", "worker w0"} <= waiting(daemon)))
        said = daemon.children()
        store.start()
        try:
            asyncio.run(daemon.until_ready())
            assert daemon.children() == said
            daemon.stop()
        finally:
            store.stop()
        assert "Traceback" not in daemon.log()


def waiting(daemon: Daemon) -> set[str]:
    """The processes that have said that the store is away."""
    return {line.partition(" | ")[0] for line in daemon.log().splitlines() if "store.away" in line}


# a daemon that runs


async def until(condition: Callable[[], Any]) -> Any:
    """What `condition` returns once that is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := condition()):
            await asyncio.sleep(0.05)  # between two looks at another process
    return found


@pytest.fixture(scope="module")
def own_store() -> Iterator[Valkey]:
    """A store that is not the daemon's child, so that its owner can do to it what owners do."""
    with tempfile.TemporaryDirectory(prefix="vg-") as name:
        server = Valkey(Path(name)).start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def daemon(own_store: Valkey) -> Iterator[Daemon]:
    with running_daemon(VIGILD_STORE__REDIS_URL=own_store.url) as daemon:
        asyncio.run(daemon.until_ready())
        yield daemon


async def told_by(store: Valkey, *words: str | int) -> None:
    """An administrator's command to the store."""
    client = redis.asyncio.Redis.from_url(store.url)
    try:
        await client.execute_command(*words)
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    ("harm", "cure", "code", "says"),
    [
        (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0), "limit", "memory is full (maxmemory)"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "busy", "is a read-only replica"),
    ],
    ids=["full", "read-only"],
)
def test_a_store_that_takes_no_writes_any_more(
    harm: tuple[str | int, ...],
    cure: tuple[str | int, ...],
    code: str,
    says: str,
    daemon: Daemon,
    own_store: Valkey,
) -> None:
    """Requests are refused with the reason, reads and frames go on, no process dies; afterwards writes go on too."""

    async def through() -> None:
        processes = daemon.children()
        async with wire_client(daemon.url) as client:
            await client.request("subscribe", topics=["camera", "stats"], cameras="*")
            for camera in ("one", "two"):
                await client.request("camera.add", camera={"id": camera, "source": "synthetic:static", "fps": 2})
                await client.until(lambda m, camera=camera: m.get("camera") == camera and m["state"] == "live")
            await told_by(own_store, *harm)
            try:
                with pytest.raises(RequestFailed, match=re.escape(says)) as failed:
                    await client.request("camera.add", camera={"id": "three", "source": "synthetic:static"})
                assert failed.value.code == code
                assert len((await client.request("camera.list"))["cameras"]) == 2
                seen = await client.until(lambda m: m["type"] == "stats" and m["camera"] == "one")
                more = seen[-1]["frames"] + 2
                await client.until(lambda m: m["type"] == "stats" and m["camera"] == "one" and m["frames"] > more)
            finally:
                await told_by(own_store, *cure)
            await client.request("camera.add", camera={"id": "three", "source": "synthetic:static"})
            await client.until(lambda m: m.get("camera") == "three" and m["state"] == "live")
            for camera in ("one", "two", "three"):
                await client.request("camera.remove", camera=camera)
        assert daemon.children() == processes
        assert "Traceback" not in daemon.log()

    asyncio.run(through())


def test_a_port_in_use_ends_the_second_daemon(daemon: Daemon, folder: Path) -> None:
    """Status 78, and which port; the first goes on."""
    status, line = refusal("--port", str(daemon.port), folder=folder)
    assert status == Exit.CONFIGURATION
    assert f"port {daemon.port} of 127.0.0.1 is in use by another program: stop it, or set gateway.port" in line
    assert daemon.ready()


def test_a_data_folder_in_use_ends_the_second_daemon(daemon: Daemon) -> None:
    """Status 75 and whose it is; the first goes on."""
    status, line = refusal("--port", "0", "--data-dir", str(daemon.data_dir), folder=daemon.data_dir)
    assert status == Exit.ALREADY_RUNNING
    assert daemon.process is not None
    assert f"vigild runs already on {daemon.data_dir} (process {daemon.process.pid})" in line
    assert daemon.ready()
