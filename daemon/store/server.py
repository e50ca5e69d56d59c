"""What a server says of itself (INFO), and whether vigild can live with it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .errors import StoreError, StoreReadOnly, StoreRefused, StoreTooOld

OLDEST: Final = (7, 0)  # the first with functions


@dataclass(frozen=True, slots=True)
class Server:
    """
    name: "valkey" or "redis". version: its own, for people. speaks: the Redis version it is compatible with.
    primary: "host:port" of the primary when this server is a replica. durable: it writes an append-only file.
    """

    name: str
    version: str
    speaks: tuple[int, ...]
    primary: str | None
    clustered: bool
    durable: bool
    memory_bytes: int
    max_memory_bytes: int  # 0 is no limit


def read_info(text: str) -> Server:
    """
    The server that answered INFO with `text`.

    Raises: StoreRefused: this is not the answer of a Redis or Valkey server.
    """
    fields = dict(line.split(":", 1) for line in text.replace("\r", "").split("\n") if ":" in line)
    speaks = _numbers(fields.get("redis_version", ""))
    if not speaks:
        raise StoreRefused("the store's answer to INFO names no version; is redis_url that of a Redis server?")
    primary = None
    if fields.get("role") == "slave":
        primary = f"{fields.get('master_host', '?')}:{fields.get('master_port', '?')}"
    return Server(
        name=fields.get("server_name", "valkey" if "valkey_version" in fields else "redis"),
        version=fields.get("valkey_version", fields["redis_version"]),
        speaks=speaks,
        primary=primary,
        clustered=fields.get("cluster_enabled") == "1",
        durable=fields.get("aof_enabled") == "1",
        memory_bytes=int(fields.get("used_memory", "0")),
        max_memory_bytes=int(fields.get("maxmemory", "0")),
    )


def objection(server: Server) -> StoreError | None:
    """Why vigild cannot use this server, or None."""
    if server.speaks < OLDEST:
        return StoreTooOld(
            f"the store is {server.name} {server.version}; vigild needs Redis 7 or later, or Valkey: upgrade it, or "
            "leave redis_url empty to use the embedded one"
        )
    if server.primary is not None:
        return StoreReadOnly(f"the store is a read-only replica of {server.primary}; set redis_url to the primary")
    return None


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
