"""Bad input over `/v1/ws`: one clear error or the right close code, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import contextlib
import json

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed

from clients.service import ClientLimits
from tests.clients.raw import frame, handshake
from tests.clients.served import WITHIN_S, close_code, received, said, served
from tests.peers.wire_client import wire_client

FORMS = ["json", "msgpack"]


BAD_JSON = {
    "list": "[1]",
    "nothing": "",
    "half": '{"type":',
    "deep": "[" * 10_000 + "]" * 10_000,
    "deep map": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "no type": '{"id": 1}',
    "no id": '{"type":"ping"}',
    "bool id": '{"type":"ping","id":true}',
    "nan": '{"type":"subscribe","id":1,"after":NaN}',
    "bytes": b'{"type":"ping","id":1}',
    "a million characters": json.dumps({"type": "ask", "id": 1, "camera": "dock", "text": "a" * 1_000_000}),
}
BAD_MSGPACK = {
    "text": '{"type":"ping","id":1}',
    "bomb": b"\xdd\xff\xff\xff\xff",
    "bombs": b"\xdc\x0f\xff" * 300_000,
    "deep": b"\x91" * 10_000,
    "extension": b"\x81\xa1a\xd4\x05\x01",
    "nan": msgpack.packb({"type": "camera.update", "id": 1, "camera": {"id": "dock", "fps": float("nan")}}),
    "huge": msgpack.packb({"type": "subscribe", "id": 1, "topics": ["note"], "after": 2**64 - 1}),
}


@pytest.mark.parametrize("payload", BAD_JSON.values(), ids=BAD_JSON)
async def test_bad_json_gets_one_error_and_harms_nobody(payload):
    """`invalid`, on a connection that stays, beside another that does not notice."""
    async with served() as at, at.open() as connection, wire_client(at.url) as other:
        await received(connection)
        error = await said(connection, payload)
        assert (error["type"], error["error"]["code"]) == ("error", "invalid")
        assert (await said(connection, {"type": "ping", "id": 9}))["id"] == 9
        assert (await other.request("ping"))["ok"]


@pytest.mark.parametrize("payload", BAD_MSGPACK.values(), ids=BAD_MSGPACK)
async def test_bad_msgpack_gets_one_error_and_harms_nobody(payload):
    async with served() as at, at.open(subprotocols=["vigil.v1.msgpack"]) as connection:
        msgpack.unpackb(await connection.recv())
        await connection.send(payload)
        error = msgpack.unpackb(await asyncio.wait_for(connection.recv(), WITHIN_S))
        assert (error["type"], error["error"]["code"]) == ("error", "invalid")
        await connection.send(msgpack.packb({"type": "ping", "id": 9}))
        assert msgpack.unpackb(await connection.recv())["id"] == 9


@pytest.mark.parametrize("fragmented", [False, True])
async def test_more_than_a_mebibyte_is_closed_with_1009(fragmented):
    """Counted over all fragments of a message; one byte less is read."""
    limit = 2**20
    async with served() as at, at.open() as connection:
        await received(connection)
        exact = json.dumps({"type": "ping", "id": 1, "x": ""})
        assert (await said(connection, exact[:-2] + "a" * (limit - len(exact)) + '"}'))["ok"]
        with contextlib.suppress(ConnectionClosed):
            await connection.send(["a" * limit, "a"] if fragmented else "a" * (limit + 1))
        assert await close_code(connection) == 1009


async def test_text_that_is_not_utf8_is_closed_with_1007(caplog):
    async with served() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(0x1, b"\xff\xfe"))
        data = await asyncio.wait_for(reader.read(), WITHIN_S)
        assert data[data.rindex(b"\x88") + 2 :][:2] == (1007).to_bytes(2, "big")
        writer.close()
        await writer.wait_closed()
    assert "Traceback" not in caplog.text


async def test_an_unknown_type_with_an_id_is_unsupported_and_without_is_ignored():
    async with served() as at, at.open() as connection:
        await received(connection)
        await connection.send('{"type":"telemetry","x":1}')
        assert (await said(connection, {"type": "telemetry", "id": 4}))["error"]["code"] == "unsupported"
        assert (await said(connection, {"type": "ping", "id": 5}))["id"] == 5


async def test_each_request_has_exactly_one_reply_in_order():
    async with served() as at, at.open() as connection:
        await received(connection)
        for number in range(100):
            kind = ["ping", "camera.list", "nonsense", "camera.get"][number % 4]
            await connection.send(json.dumps({"type": kind, "id": number}))
        assert [(await received(connection))["id"] for _ in range(100)] == list(range(100))


async def test_too_many_messages_are_closed_with_4408():
    limits = ClientLimits(messages_per_s=1, message_burst=5)
    async with served(limits=limits) as at, at.open() as connection:
        with contextlib.suppress(ConnectionClosed):
            for number in range(10):
                await connection.send(json.dumps({"type": "ping", "id": number}))
        assert await close_code(connection) == 4408
