"""Protocol 1 over real sockets: the opening, requests, slow clients, the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys

import pytest
from websockets.exceptions import ConnectionClosed

from clients.auth import Doors
from clients.hub import Ending
from clients.outbox import OutboxLimits
from clients.service import ClientLimits
from tests.clients.raw import frame, handshake
from tests.clients.served import NOW_MS, TOKENS, WITHIN_S, close_code, received, said, served, settled
from tests.peers.wire_client import RequestFailed, wire_client

FORMS = ["json", "msgpack"]


# the opening


@pytest.mark.parametrize("form", FORMS)
async def test_hello(form):
    """The greeting, in either subprotocol."""
    async with served() as at, wire_client(at.url, form=form) as client:
        assert client.hello == {
            "type": "hello", "protocol": 1, "server": "vigild test", "auth": "none", "now": NOW_MS,
        }  # fmt: skip
        assert client._connection.subprotocol == f"vigil.v1.{form}"


async def test_no_subprotocol_is_json():
    async with served() as at, at.open() as connection:
        assert connection.subprotocol is None
        assert (await received(connection))["type"] == "hello"


@pytest.mark.parametrize("token", TOKENS)
async def test_a_token_gives_its_role(token):
    async with served(tokens=True) as at, wire_client(at.url, token=token) as client:
        assert client.hello["auth"] == "token"
        assert (await client.request("auth", token=token))["role"] == TOKENS[token].wire


async def test_a_wrong_token_is_told_and_closed_with_4401():
    async with served(tokens=True) as at, at.open() as connection:
        await received(connection)
        error = await said(connection, {"type": "auth", "id": 3, "token": "wrong"})
        assert (error["id"], error["error"]["code"], error["error"]["param"]) == (3, "unauthorized", "token")
        assert await close_code(connection) == 4401


async def test_before_auth_nothing_else_is_done():
    async with served(tokens=True) as at, at.open() as connection:
        await received(connection)
        for request in ({"type": "camera.list"}, {"type": "subscribe", "topics": ["note"]}, {"type": "ping"}):
            assert (await said(connection, request | {"id": 1}))["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("chatty", [False, True])
async def test_no_auth_in_time_is_closed_with_4401(chatty):
    """Also when something else is sent all the time."""
    async with served(tokens=True, limits=ClientLimits(auth_timeout_s=0.3)) as at, at.open() as connection:

        async def chat():
            with contextlib.suppress(ConnectionClosed):
                while chatty:
                    await connection.send('{"type":"ping","id":1}')
                    await asyncio.sleep(0.05)

        chatting = asyncio.create_task(chat())
        assert await close_code(connection) == 4401
        await chatting


async def test_without_tokens_auth_is_answered_too():
    """A client that always authenticates works everywhere."""
    async with served() as at, wire_client(at.url) as client:
        assert (await client.request("auth", token="whatever"))["role"] == "admin"


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"additional_headers": {"Host": "evil.example"}}]
)
async def test_a_foreign_page_is_closed_with_4403_before_the_greeting(headers):
    async with served() as at:
        if "origin" in headers:
            async with at.open(**headers) as connection:
                assert await close_code(connection) == 4403
        else:  # the library insists on its own Host, so by hand
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
            writer.write(handshake(host="evil.example"))
            await reader.readuntil(b"\r\n\r\n")
            assert (await reader.read(4))[2:] == (4403).to_bytes(2, "big")
            writer.close()
            await writer.wait_closed()
        assert at.hub.subscribers == set()


async def test_an_origin_that_is_named_enters():
    doors = Doors(token_required=False, origins=frozenset({"https://wall.example"}))
    async with served(doors=doors) as at, at.open(origin="https://wall.example") as connection:
        assert (await received(connection))["type"] == "hello"


async def test_one_connection_too_many_is_closed_with_1013():
    async with served(limits=ClientLimits(clients=1)) as at, at.open() as first:
        await received(first)
        async with at.open() as second:
            assert await close_code(second) == 1013
        assert (await said(first, {"type": "ping", "id": 1}))["ok"]


# requests


@pytest.mark.parametrize("form", FORMS)
async def test_cameras(form):
    async with served() as at, wire_client(at.url, form=form) as client:
        camera = {"id": "gate", "source": "rtsp://u:s3cret@h/1", "zones": [[[0, 0], [1, 0], [1, 1]]]}
        added = (await client.request("camera.add", camera=camera))["camera"]
        assert (added["id"], added["source"], added["fps"], added["state"]) == (
            "gate",
            "rtsp://***@h/1",
            2.0,
            "connecting",
        )
        with pytest.raises(RequestFailed, match="conflict"):
            await client.request("camera.add", camera=camera)
        assert (await client.request("camera.update", camera={"id": "gate", "fps": 5}))["camera"]["fps"] == 5
        assert at.backend.specs["gate"].source == "rtsp://u:s3cret@h/1"
        assert [each["id"] for each in (await client.request("camera.list"))["cameras"]] == ["dock", "gate"]
        assert (await client.request("camera.get", camera="gate"))["camera"]["fps"] == 5
        assert (await client.request("camera.remove", camera="gate"))["camera"]["id"] == "gate"
        with pytest.raises(RequestFailed, match=r"not_found: no camera 'gate'") as caught:
            await client.request("camera.get", camera="gate")
        assert caught.value.param == "camera"


async def test_rules():
    async with served() as at, wire_client(at.url) as client:
        rule = (await client.request("rule.create", rule={"camera": "dock", "ask": "Is it red?"}))["rule"]
        assert rule["id"]
        assert (await client.request("rule.update", rule=rule["id"], on=0.9))["rule"]["on"] == 0.9
        assert (await client.request("rule.list"))["rules"] == (await client.request("rule.list", camera="dock"))[
            "rules"
        ]
        assert (await client.request("rule.delete", rule=rule["id"]))["rule"]["id"] == rule["id"]
        assert (await client.request("rule.list"))["rules"] == []
        for request in ({"rule": "r_9"}, {"rule": {"id": "r_9"}}):
            with pytest.raises(RequestFailed, match="not_found"):
                await client.request("rule.delete", **request)


async def test_asking():
    """The result, then the pieces, then the end; to whoever asked, and to nobody else."""
    async with served() as at, wire_client(at.url) as client, wire_client(at.url) as other:
        ask = (await client.request("ask", camera="dock", text="What is there?", max_tokens=7))["ask"]
        assert at.backend.asks == [(ask, "dock", "What is there?", 7)]
        for text in ("A ", "truck"):
            at.hub.publish_lossy({"topic": "delta", "camera": "dock", "ask": ask, "text": text})
        at.happen("answer", ask=ask, text="A truck", status="completed")
        seen = await client.until(lambda message: message["type"] == "answer.done")
        assert "".join(message["text"] for message in seen[:-1]) == "A truck"
        assert (seen[-1]["ask"], seen[-1]["camera"], seen[-1]["status"]) == (ask, "dock", "completed")
        assert "seq" not in seen[-1]
        await client.request("ask.cancel", ask=ask)
        assert at.backend.cancelled == [ask]
        with pytest.raises(RequestFailed, match="not_found"):
            await client.request("ask.cancel", ask="q_none")
        await other.request("ping")
        assert other.pushed.empty()


async def test_history():
    async with served(held=5) as at, at.open() as connection:
        await received(connection)
        wanted = {"after": 1, "before": 5, "kind": "note", "camera": "dock", "limit": 2}
        events = (await said(connection, {"type": "events.list", "id": 1} | wanted))["events"]
        assert [event["seq"] for event in events] == [2, 3]
        assert events[0] == {"type": "note", "seq": 2, "event": "e_2", "ts": 1002, "camera": "dock", "text": "1"}


ROLES = [
    ("viewer", "camera.list", {}, True),
    ("viewer", "events.list", {}, True),
    ("viewer", "subscribe", {"topics": ["note"], "cameras": "*"}, True),
    ("viewer", "ask", {"camera": "dock", "text": "?"}, False),
    ("viewer", "rule.create", {"rule": {"camera": "dock", "ask": "?"}}, False),
    ("viewer", "camera.remove", {"camera": "dock"}, False),
    ("operator", "ask", {"camera": "dock", "text": "?"}, True),
    ("operator", "rule.create", {"rule": {"camera": "dock", "ask": "?"}}, True),
    ("operator", "camera.add", {"camera": {"id": "x", "source": "synthetic:yard"}}, False),
    ("operator", "camera.update", {"camera": {"id": "dock", "fps": 1}}, False),
    ("admin", "camera.update", {"camera": {"id": "dock", "fps": 1}}, True),
    ("admin", "camera.remove", {"camera": "dock"}, True),
]


@pytest.mark.parametrize(("role", "request_", "fields", "may"), ROLES)
async def test_roles(role, request_, fields, may):
    """viewer reads, operator also asks and keeps rules, admin also keeps cameras."""
    async with served(tokens=True) as at, wire_client(at.url, token=f"t-{role}") as client:
        if may:
            assert (await client.request(request_, **fields))["ok"]
        else:
            with pytest.raises(RequestFailed, match="forbidden"):
                await client.request(request_, **fields)


async def test_a_store_that_is_away_is_busy_and_the_connection_stays():
    async with served() as at, wire_client(at.url) as client:
        at.backend.away = True
        with pytest.raises(RequestFailed, match="busy"):
            await client.request("camera.list")
        with pytest.raises(RequestFailed, match="busy"):
            await client.request("subscribe", topics=["note"], cameras="*")
        at.backend.away = False
        assert (await client.request("camera.list"))["ok"]


async def test_our_own_fault_is_one_error_and_the_connection_stays(monkeypatch, caplog):
    """No field of the request is told or logged."""

    async def broken(camera):
        raise RuntimeError(f"s3cret {camera}")

    async with served() as at, wire_client(at.url) as client:
        monkeypatch.setattr(at.backend, "get_camera", broken)
        with pytest.raises(RequestFailed, match=r"internal: camera\.get failed") as caught:
            await client.request("camera.get", camera="dock")
        assert "s3cret" not in str(caught.value)
        assert (await client.request("camera.list"))["ok"]
    assert "camera.get" in caplog.text


# slow clients


@contextlib.asynccontextmanager
async def silent_peer(port: int, *messages: dict):
    """A client that says what it has to say and, after the handshake, never reads."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setblocking(False)
        await loop.sock_connect(peer, ("127.0.0.1", port))
        await loop.sock_sendall(peer, handshake())
        assert (await loop.sock_recv(peer, 4096)).startswith(b"HTTP/1.1 101")
        talking = asyncio.create_task(
            loop.sock_sendall(peer, b"".join(frame(0x1, json.dumps(message).encode()) for message in messages))
        )
        yield peer
        talking.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await talking


async def test_a_client_that_never_reads_is_closed_and_cut_off():
    """Its outbox overflows: 1013, and the connection is aborted although the close can never be delivered."""
    async with served(outbox=OutboxLimits(events=50)) as at, wire_client(at.url) as reader:
        await reader.request("subscribe", topics=["note"], cameras="*", after=0)
        async with silent_peer(at.port, {"type": "subscribe", "id": 1, "topics": ["note"], "after": 0}):
            await settled(
                lambda: len(at.hub.subscribers) == 2 and all(len(each.interests) for each in at.hub.subscribers)
            )
            for _ in range(1000):
                at.happen(text="x" * 4096)
                await asyncio.sleep(0)
                await asyncio.wait_for(reader.pushed.get(), WITHIN_S)
            await settled(lambda: len(at.hub.subscribers) == 1)
            assert closed(at, 1013) == 1
            await settled(lambda: connections(at) == 1)


async def test_a_replay_waits_for_its_reader_and_is_ended_when_that_never_reads():
    """Catching up is never hurried: only a page waits in memory, and a stall ends it."""
    async with served(held=2000, limits=ClientLimits(stall_s=0.5, page=100)) as at:
        for event in at.backend.held:
            event.data["text"] = "x" * 4096
        async with silent_peer(at.port, {"type": "subscribe", "id": 1, "topics": ["note"], "after": 0}):
            await settled(lambda: len(at.hub.subscribers) == 1)
            (subscriber,) = at.hub.subscribers
            await settled(lambda: subscriber.outbox.events > 0)
            most = 0
            while at.hub.subscribers:
                most = max(most, subscriber.outbox.events)
                await asyncio.sleep(0.01)
            assert 0 < most <= 200
            assert closed(at, 1013) == 1


async def test_a_slow_reader_is_told_what_it_missed():
    """`lagged` counts the lossy messages that were overwritten; the durable ones all come, and come before."""
    async with served() as at, at.open(max_queue=1) as connection:
        await received(connection)
        await said(connection, {"type": "subscribe", "id": 1, "topics": ["preview", "note"]})
        (subscriber,) = at.hub.subscribers
        sent = 0

        def preview() -> None:
            nonlocal sent
            at.hub.publish_lossy({"topic": "preview", "camera": "dock", "jpeg": b"x" * 300_000, "n": sent})
            sent += 1

        while not subscriber.outbox.waiting:
            preview()
            await asyncio.sleep(0.01)  # time enough for the writer, unless the peer holds it up
        preview()
        preview()
        at.happen()
        at.happen()
        seen = [await received(connection)]
        while seen[-1]["type"] != "lagged":
            seen.append(await received(connection))
        assert [message["seq"] for message in seen if message["type"] == "note"] == [1, 2]
        assert seen[-1]["dropped"] == {"preview": 2}
        assert (await received(connection))["n"] == sent - 1
        assert [message["n"] for message in seen if message["type"] == "preview"] == list(range(sent - 3))


async def test_a_client_that_asks_and_never_reads_is_not_read_either():
    """Replies are bounded: past the bound no request is taken."""
    async with served(limits=ClientLimits(message_burst=10**6, stall_s=1), outbox=OutboxLimits(replies=8)) as at:
        requests = [{"type": "ping", "id": n, "x": "x" * 50} for n in range(1000)]
        listing = [{"type": "events.list", "id": n, "limit": 1000} for n in range(50)]
        for _ in range(1000):
            at.backend.happen(text="x" * 500)
        async with silent_peer(at.port, *listing, *requests):
            await settled(lambda: len(at.hub.subscribers) == 1)
            (subscriber,) = at.hub.subscribers
            await settled(lambda: not subscriber.outbox.room_for_replies)
            assert len(subscriber.outbox._replies) == 8
            await settled(lambda: not at.hub.subscribers)
            assert closed(at, 1013) == 1


def closed(at, code: int) -> float:
    return at.service.metrics.closed.labels(str(code))._value.get()


def connections(at) -> int:
    """Sockets of this process that are connected to the served port, seen from the server's side."""
    import psutil

    here = psutil.Process().net_connections("tcp")
    return sum(each.status == "ESTABLISHED" and each.laddr.port == at.port for each in here)


# the end


async def test_a_client_that_vanishes_leaves_nothing_behind():
    async with served() as at:
        async with at.open() as connection:
            await received(connection)
            connection.transport.abort()
        await settled(lambda: not at.hub.subscribers)
        assert at.service.metrics.clients.labels("vigil.v1.json")._value.get() == 0


async def test_the_end_is_announced():
    """`go_away`, then 1001."""
    async with served() as at, at.open() as connection:
        await received(connection)
        at.hub.go_away(100)
        assert await received(connection) == {"type": "go_away", "time_left_ms": 100}
        at.hub.end_all(Ending(1001, "going away"))
        assert await close_code(connection) == 1001


def test_the_client_side_imports_no_torch():
    """Nor transformers, nor a decoder, nor Redis."""
    script = (
        "import sys, clients.protocols.http, clients.protocols.websocket, clients.sdk;"
        "print([m for m in ('torch', 'transformers', 'av', 'redis') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )
