"""daemon/store/link.py: what goes wrong on the way to the server, told in our words, and cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import types

import pytest

from clients.messages import CameraSpec, Event
from daemon.store import (
    Draft,
    Lease,
    Store,
    StoreFull,
    StoreReadOnly,
    StoreRefused,
    StoreTooOld,
    StoreUnavailable,
    redacted,
)
from daemon.store.embedded import EmbeddedSettings
from tests.daemon.store.conftest import IMPATIENT
from tests.daemon.store.opened import DOCK, GATE, lease_of, note, opened
from tests.daemon.store.server import Valkey


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:p@ss@host:1/0", "redis://***@host:1/0"),
        ("redis://:hunter2@host", "redis://***@host"),
        ("unix://me@/run/x.sock?db=0&password=hunter2", "unix://***@/run/x.sock?db=0&password=***"),
        ("rediss://u:hunter2@[::1]:5", "rediss://***@[::1]:5"),
        ("unix:///run/vigil/store.sock", "unix:///run/vigil/store.sock"),
        ("redis://u:hun#ter2@host", "redis://***"),
        ("redis://u:hun/ter2@host", "redis://***"),
        ("redis://u:hun?ter2@host", "redis://***"),
        ("redis://[u:hunter2@host", "redis://***@host"),
        ("localhost", "localhost"),
    ],
)
def test_redacted(url, shown):
    """No password of a URL is ever shown, not even one that should have been quoted."""
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "url", ["http://u:hunter2@host", "localhost", "", "redis://host?db=x", "redis://u:hunter2/x@host"]
)
async def test_wrong_url(url):
    """A URL that cannot be meant is refused at once, without its password."""
    with pytest.raises(StoreRefused, match="cannot be used") as caught:
        await Store.connect(url, owner="test")
    assert "hunter2" not in str(caught.value)
    assert not caught.value.retry


@pytest.mark.parametrize("url", ["unix:///nonexistent/store.sock", "redis://u:hunter2@127.0.0.1:1"])
async def test_unreachable(url):
    """Nobody there: one sentence with the place and without the password, worth another try."""
    with pytest.raises(StoreUnavailable, match=r"the store at .* cannot be reached") as caught:
        await Store.connect(url, owner="test", settings=IMPATIENT)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.retry


async def test_wrong_password(short_dir):
    """A wrong, and a missing, password is told as such at once, not as a store that is away."""
    server = Valkey(short_dir, "--requirepass", "right").start()
    try:
        for url in (server.url + "?password=wrong", server.url):
            with pytest.raises(StoreRefused, match="refuses the user or password"):
                await Store.connect(url, owner="test")
        async with opened(server.url + "?password=right", DOCK) as store:
            assert await store.cameras() == [DOCK]
    finally:
        server.stop()


async def test_not_permitted(valkey):
    """A user who may not run functions is told what is missing."""
    async with opened(valkey.url) as store:
        await store._link.command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+info", "+client")
    with pytest.raises(StoreRefused, match="does not permit what vigild needs"):
        await Store.connect(valkey.url.replace("unix://", "unix://guest@") + "?password=pw", owner="test")


async def test_cluster_node_without_slots(short_dir):
    """A cluster node that does not hold our slot is refused, not retried."""
    server = Valkey(short_dir, "--cluster-enabled", "yes", "--port", "0", "--cluster-port", "1").start()
    try:
        with pytest.raises(StoreRefused, match="cluster node"):
            async with await Store.connect(server.url, owner="test", settings=IMPATIENT) as store:
                await store.put_camera(DOCK)
    finally:
        server.stop()


async def test_replica(short_dir):
    """A replica is refused at connect; a primary that becomes one refuses writes, and still answers reads."""
    server = Valkey(short_dir, "--replicaof", "127.0.0.1", "1").start()
    try:
        with pytest.raises(StoreReadOnly, match=r"read-only replica of 127\.0\.0\.1:1"):
            await Store.connect(server.url, owner="test", settings=IMPATIENT)
    finally:
        server.stop()


async def test_demoted(valkey):
    """A primary that becomes a replica refuses writes at once, and still answers reads."""
    async with opened(valkey.url, DOCK) as store:
        await store._link.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreReadOnly, match="read-only replica"):
            await store.emit(note())
        assert await store.cameras() == [DOCK]


async def test_full(short_dir):
    """A full store refuses events and cameras; reads, leases, removals and trimming work, and then it takes more."""
    server = Valkey(short_dir, settings=EmbeddedSettings(max_memory_bytes=6 << 20)).start()
    try:
        async with opened(server.url, DOCK, GATE) as store:
            lease = await lease_of(store, "dock")
            with pytest.raises(StoreFull, match="memory is full"):
                await _emit_for_ever(store, lease)
            # The edge moves with every client's buffers; stand well behind it.
            await store._link.command("CONFIG", "SET", "maxmemory", 4 << 20)
            for refused in (store.emit(_big(0)), store.put_camera(CameraSpec(id="yard", source="webrtc:"))):
                with pytest.raises(StoreFull):
                    await refused
            async with opened(server.url) as restarted:  # a process that starts now can work too
                assert await restarted.acquire("gate", "w1", 1000) is not None
            newest = await store.newest_seq()
            assert newest > 10
            assert len(await store.events_after(0, 5)) == 5
            assert len(await store.cameras()) == 2
            assert await store.renew(lease)
            await store.heartbeat("w0", {}, 1000)
            await store.set_counters("dock", {"seen": 1})
            await store.remove_camera("gate")
            assert await store.trim(max_len=2, min_ts=0) > 0
            assert (await store.emit(_big(1), lease)).seq == await store.newest_seq() > newest
    finally:
        server.stop()


def _big(n: int) -> Draft:
    draft = note(n)
    draft.data["text"] = "x" * 100_000
    return draft


async def _emit_for_ever(store: Store, lease: Lease) -> None:
    for n in itertools.count():
        await store.emit(_big(n), lease)


async def test_stopped_server(valkey):
    """A server that stops answering is unavailable within the bound, and nothing is mixed up when it goes on."""
    async with opened(valkey.url, DOCK, settings=IMPATIENT) as store:
        valkey.signal(signal.SIGSTOP)
        try:
            emits = (store.emit(note(n, dedup=f"n{n}")) for n in range(50))
            failures = await asyncio.gather(*emits, return_exceptions=True)
            assert {type(failure) for failure in failures} == {StoreUnavailable}
            assert all("no answer in time" in str(failure) for failure in failures)
        finally:
            valkey.signal(signal.SIGCONT)
    async with opened(valkey.url) as store:
        events = await asyncio.gather(*(store.emit(note(n, dedup=f"n{n}")) for n in range(50)))
        assert sorted(event.seq for event in events) == list(range(1, 51))
        assert {event.seq: event.data for event in events} == {
            event.seq: event.data for event in await store.events_after(0, 100)
        }


async def test_closed_in_the_middle(valkey):
    """Closing ends the commands in flight, in every stage of theirs, and leaves no connection open."""
    for yields in range(12):
        async with opened(valkey.url, DOCK) as store:
            emits = [asyncio.create_task(store.emit(note(n))) for n in range(40)]
            for _ in range(yields):
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*emits, return_exceptions=True)
        assert {type(end) for end in ends} <= {StoreRefused, Event}
        assert not any(
            connection.is_connected for connection in store._link._client.connection_pool._available_connections
        )
    async with opened(valkey.url) as store:
        assert len(await store._link.command("CLIENT", "LIST", "TYPE", "normal")) > 0
        assert (await store._link.command("CLIENT", "LIST", "TYPE", "normal")).count(b"\n") == 1


async def test_functions_are_loaded_again(valkey):
    """When somebody flushes functions, the next call loads them and works."""
    async with opened(valkey.url, DOCK) as store:
        await store._link.command("FUNCTION", "FLUSH")
        assert (await store.emit(note())).seq == 1


@types.coroutine
def cancelled_at(coroutine, suspension: int):
    """Run `coroutine` in this task and cancel the task at its n-th suspension; True when it got that far."""
    steps = coroutine.__await__()
    sent, thrown = None, None
    for step in itertools.count():
        try:
            waiting_for = steps.throw(thrown) if thrown is not None else steps.send(sent)
        except StopIteration:
            return False
        if step == suspension:
            asyncio.current_task().cancel()
        sent = thrown = None
        try:
            sent = yield waiting_for
        except BaseException as error:  # noqa: BLE001  what the loop throws in goes to the coroutine
            thrown = error


@pytest.mark.parametrize("fresh", [True, False], ids=["while connecting", "connected"])
async def test_cancelled_anywhere(valkey, fresh):
    """Cancelled at each of its awaits in turn, an operation leaves no connection with another's reply, and none lost."""
    async with opened(valkey.url, DOCK) as store:
        drafts = []
        for suspension in itertools.count():
            if fresh:
                await store._link._client.connection_pool.disconnect()
            draft = note(suspension)
            drafts.append(draft)
            task = asyncio.create_task(_driven(cancelled_at(store.emit(draft), suspension)))
            await asyncio.wait({task})
            for n in range(3):  # whatever connection comes next must answer what it is asked
                assert (await store.camera("dock")) == DOCK
                assert await store._link.command("ECHO", f"{suspension}.{n}") == f"{suspension}.{n}".encode()
            if not task.cancelled():
                assert task.result() is False  # it ended before that suspension: all have been tried
                break
        assert suspension >= (4 if fresh else 1)
        assert not store._link._client.connection_pool._in_use_connections
        assert store._link._slots._value == store._link.settings.max_connections
        again = [(await store.emit(draft)).seq for draft in drafts]
        assert sorted(again) == list(range(1, len(drafts) + 1))
        assert await store.newest_seq() == len(drafts)


async def _driven(steps):
    return await steps


async def test_cancelled_in_a_crowd(valkey):
    """Cancelling random ones of many concurrent operations mixes up no reply of the others."""
    async with opened(valkey.url, DOCK) as store:

        async def echo(n: int) -> bool:
            return await store._link.command("ECHO", f"{n}") == f"{n}".encode()

        for round_ in range(30):
            tasks = [asyncio.create_task(echo(n)) for n in range(40)]
            for _ in range(round_ % 7):
                await asyncio.sleep(0)
            for task in tasks[round_ % 3 :: 3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results)
        assert not store._link._client.connection_pool._in_use_connections


class Relay:
    """A relay before a real server that forwards what is asked and, once told to, cuts instead of bringing the reply."""

    def __init__(self, path: str, target: str) -> None:
        self.path, self.target = path, target
        self.cut_next_reply_to: bytes | None = None
        self.cuts = 0

    async def __aenter__(self):
        self._serving: set[asyncio.Task] = set()
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._serving)  # each ends with its client

    async def _serve(self, reader, writer):
        self._serving.add(asyncio.current_task())
        up_reader, up_writer = await asyncio.open_unix_connection(self.target)
        cutting = False

        async def forward() -> None:
            nonlocal cutting
            while data := await reader.read(65536):
                if self.cut_next_reply_to is not None and self.cut_next_reply_to in data:
                    cutting, self.cut_next_reply_to = True, None
                up_writer.write(data)
                await up_writer.drain()
            up_writer.close()  # which ends the loop below

        async def backward() -> None:
            while data := await up_reader.read(65536):
                if cutting:
                    self.cuts += 1
                    break
                writer.write(data)
                await writer.drain()
            writer.close()  # which ends the loop above

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(forward(), backward())


async def test_a_lost_reply_duplicates_nothing(valkey, short_dir):
    """The reply is lost after the server did it; the retry returns the very event, and no second one is there."""
    async with (
        Relay(str(short_dir / "relay"), str(short_dir / "store.sock")) as relay,
        opened(f"unix://{relay.path}", DOCK) as store,
    ):
        for n in range(5):
            relay.cut_next_reply_to = b"_emit"
            assert (await store.emit(note(n))).seq == n + 1
        relay.cut_next_reply_to = b"_put_camera"
        await store.put_camera(GATE, expect="new")  # without the request's memory: "exists already"
        relay.cut_next_reply_to = b"_remove_camera"
        assert await store.remove_camera("gate") == GATE
        assert relay.cuts == 7
        assert await store.newest_seq() == 5
        assert await store.newest_change() == "3"


async def _answering(path, info: bytes):
    """A server of another make: one canned answer to INFO, OK to everything else."""

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                count = int((await reader.readuntil(b"\n"))[1:])
                words = []
                for _ in range(count):
                    size = int((await reader.readuntil(b"\n"))[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                writer.write(b"$%d\r\n%s\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(serve, path)


async def test_too_old_a_server(short_dir):
    """Connecting to Redis 6 says which version it is and which is needed."""
    path = str(short_dir / "old")
    async with await _answering(path, b"redis_version:6.2.14\r\nrole:master\r\n"):
        with pytest.raises(StoreTooOld, match=r"redis 6\.2\.14; vigild needs Redis 7 or later"):
            await Store.connect(f"unix://{path}", owner="test")


async def test_not_a_store(short_dir):
    """A server that speaks something else is refused as such."""

    async def web(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    path = str(short_dir / "web")
    async with await asyncio.start_unix_server(web, path):
        with pytest.raises(StoreRefused, match=r"what answers at .* does not speak the Redis protocol"):
            await Store.connect(f"unix://{path}", owner="test", settings=IMPATIENT)
