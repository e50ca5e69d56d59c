"""daemon/store/server.py"""

from __future__ import annotations

import pytest

from daemon.store import StoreReadOnly, StoreRefused, StoreTooOld
from daemon.store.server import objection, read_info

REDIS_6 = "# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\nos:Linux\r\n# Replication\r\nrole:master\r\n"
REDIS_7 = "redis_version:7.0.0\r\nrole:master\r\naof_enabled:1\r\nused_memory:1048576\r\nmaxmemory:0\r\n"
VALKEY = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\nrole:master\r\ncluster_enabled:1\r\n"
REPLICA = "redis_version:8.0.1\r\nrole:slave\r\nmaster_host:10.0.0.5\r\nmaster_port:6379\r\n"
KEYDB = "redis_version:255.255.255-rc1\r\nrole:master\r\n"


def test_what_is_read():
    """Name, version, role, durability and memory are read from either kind of server."""
    redis = read_info(REDIS_7)
    assert (redis.name, redis.version, redis.speaks, redis.durable) == ("redis", "7.0.0", (7, 0, 0), True)
    assert (redis.memory_bytes, redis.max_memory_bytes, redis.primary) == (1 << 20, 0, None)
    valkey = read_info(VALKEY)
    assert (valkey.name, valkey.version, valkey.clustered, valkey.durable) == ("valkey", "9.1.2", True, False)


@pytest.mark.parametrize("info", [REDIS_7, VALKEY, KEYDB])
def test_good_enough(info):
    """Redis from 7.0 on and Valkey are accepted."""
    assert objection(read_info(info)) is None


def test_too_old():
    """A server older than Redis 7 is named with its version and what to do."""
    error = objection(read_info(REDIS_6))
    assert isinstance(error, StoreTooOld)
    assert str(error).startswith("the store is redis 6.2.14; vigild needs Redis 7 or later")


def test_replica():
    """A replica is refused, and its primary named."""
    error = objection(read_info(REPLICA))
    assert isinstance(error, StoreReadOnly)
    assert "read-only replica of 10.0.0.5:6379" in str(error)


@pytest.mark.parametrize("text", ["", "HTTP/1.1 400 Bad Request", "redis_version:soon\r\n"])
def test_something_else(text):
    """What is not the answer of a Redis server is refused."""
    with pytest.raises(StoreRefused, match="names no version"):
        read_info(text)
