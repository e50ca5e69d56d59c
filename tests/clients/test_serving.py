"""
The web server's bounds and its WebSocket manners, in raw frames against an echo with the gateway's own settings.

The case groups are those of the Autobahn suite (which tests/faults/test_autobahn.py runs where it is installed): 1 framing,
2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8, 7 closing, 9 limits, 10 odd sizes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest

from clients import serving
from clients.serving import is_utf8
from tests.clients.served import WITHIN_S, listening
from tests.peers.echo import echo

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
LIMIT = 2**20


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """One client frame; its mask is 01 02 03 04, and payloads over 1 kB are masked with zeros to save time."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, bit | len(payload))
    elif len(payload) < 2**16:
        head = struct.pack("!BBH", first, bit | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, bit | 127, len(payload))
    if not mask:
        return head + payload
    key = b"\x01\x02\x03\x04" if len(payload) <= 1024 else bytes(4)
    return (
        head + key + bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))
        if len(payload) <= 1024
        else head + key + payload
    )


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Peer:
    """A raw connection after its handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes, chop: int | None = None) -> None:
        for start in range(0, len(data), chop or len(data) or 1):
            self.writer.write(data[start : start + (chop or len(data))])
            await self.writer.drain()

    async def frame(self) -> tuple[int, bytes] | None:
        """The next frame of the server, (opcode, payload); None when the connection has ended."""
        try:
            async with asyncio.timeout(WITHIN_S):
                first, second = await self.reader.readexactly(2)
                size = second & 0x7F
                if size > 125:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
                assert not second & 0x80, "a server does not mask"
                assert not first & 0x70
                return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None

    async def closed_with(self) -> int | None:
        """Read up to the server's close; its code, 1005 without one, None when there was no close at all."""
        while (got := await self.frame()) is not None:
            if got[0] == CLOSE:
                assert await self.frame() is None
                return int.from_bytes(got[1][:2], "big") if got[1] else 1005
        return None


@contextlib.asynccontextmanager
async def peer(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(HANDSHAKE)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WITHIN_S)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"deflate" not in head
        yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def an_echo(**options):
    async with listening(echo, **options) as port, peer(port) as connected:
        yield connected


# 1 framing, 9 limits, 10 odd sizes


@pytest.mark.parametrize("chop", [None, 1], ids=["whole", "byte by byte"])
async def test_1_messages_of_every_length_form(chop):
    async with listening(echo) as port:
        for opcode in (TEXT, BINARY):
            for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537):
                async with peer(port) as at:
                    await at.send(frame(opcode, b"*" * size), 997 if chop and size > 1000 else chop)
                    assert await at.frame() == (opcode, b"*" * size), (opcode, size)


@pytest.mark.parametrize("parts", [1, 4, 4096])
async def test_9_a_message_of_exactly_the_limit(parts):
    async with an_echo() as at:
        size = LIMIT // parts
        for n in range(parts):
            await at.send(frame(BINARY if n == 0 else CONT, b"\xfe" * size, fin=n == parts - 1))
        assert await at.frame() == (BINARY, b"\xfe" * LIMIT)


@pytest.mark.parametrize("parts", [1, 4096])
async def test_9_a_message_past_the_limit_is_1009(parts):
    async with an_echo() as at:
        size = LIMIT // parts + 1
        with contextlib.suppress(ConnectionError):
            for n in range(parts):
                await at.send(frame(BINARY if n == 0 else CONT, b"\xfe" * size, fin=n == parts - 1))
        assert await at.closed_with() == 1009


async def test_9_a_declared_length_beyond_all_measure_is_refused_before_it_comes():
    async with an_echo() as at:
        await at.send(b"\x82\xff" + (2**62).to_bytes(8, "big"))
        assert await at.closed_with() == 1009


async def test_9_very_many_empty_fragments_are_refused(monkeypatch):
    """Each would take a place in a list, though no byte of the limit is used."""
    monkeypatch.setattr(serving, "MAX_FRAGMENTS", 100)
    async with an_echo() as at:
        await at.send(frame(TEXT, fin=False) + frame(CONT, fin=False) * 98 + frame(CONT))
        assert await at.frame() == (TEXT, b"")
        await at.send(frame(TEXT, fin=False) + frame(CONT, fin=False) * 101)
        assert await at.closed_with() == 1009


async def test_9_many_messages_in_one_write_all_come_back_in_order():
    async with an_echo() as at:
        await at.send(b"".join(frame(TEXT, str(n).encode()) for n in range(2000)))
        assert [int((await at.frame())[1]) for _ in range(2000)] == list(range(2000))


# 2 pings and pongs


@pytest.mark.parametrize("chop", [None, 1], ids=["whole", "byte by byte"])
async def test_2_a_ping_is_answered_with_its_payload(chop):
    async with an_echo() as at:
        for payload in (b"", b"hello", bytes(range(125))):
            await at.send(frame(PING, payload), chop)
            assert await at.frame() == (PONG, payload)


async def test_2_a_ping_of_126_bytes_is_a_protocol_error():
    async with an_echo() as at:
        await at.send(frame(PING, b"x" * 126))
        assert await at.closed_with() == 1002


async def test_2_pongs_nobody_asked_for_are_ignored():
    async with an_echo() as at:
        await at.send(frame(PONG, b"unasked") + frame(PONG) + frame(PING, b"p"))
        assert await at.frame() == (PONG, b"p")


# 3 reserved bits, 4 opcodes


async def ends_with(code, cases):
    """Each case, on a connection of its own that has echoed before, is closed by the server with this code."""
    async with listening(echo) as port:
        for case in cases:
            async with peer(port) as at:
                await at.send(frame(TEXT, b"first"))
                assert await at.frame() == (TEXT, b"first")
                await at.send(case)
                assert await at.closed_with() == code, case[:20]


async def test_3_reserved_bits_are_a_protocol_error():
    """Compression was offered, but not agreed upon."""
    await ends_with(1002, [frame(opcode, rsv=rsv) for opcode in (TEXT, BINARY, PING, CLOSE) for rsv in range(1, 8)])


async def test_4_unknown_opcodes_are_a_protocol_error():
    await ends_with(1002, [frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)])


async def test_an_unmasked_frame_is_a_protocol_error():
    async with an_echo() as at:
        await at.send(frame(TEXT, b"x", mask=False))
        assert await at.closed_with() == 1002


# 5 fragmentation


async def test_5_control_frames_come_between_fragments():
    async with an_echo() as at:
        await at.send(frame(TEXT, b"frag", fin=False) + frame(PING, b"p1") + frame(CONT, b"men", fin=False))
        assert await at.frame() == (PONG, b"p1")
        await at.send(frame(PING, b"p2") + frame(CONT, b"t"), 1)
        assert await at.frame() == (PONG, b"p2")
        assert await at.frame() == (TEXT, b"fragment")


async def test_5_fragments_out_of_place_are_a_protocol_error():
    await ends_with(
        1002,
        [
            frame(PING, b"x", fin=False),
            frame(CONT, b"nothing to continue"),
            frame(CONT, b"nothing to continue", fin=False),
            frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
            frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"),
        ],
    )


# 6 UTF-8

GOOD = ["κόσμε", "Hello-µ@ßöäüàá-UTF-8!!", "\x00", "\ud7ff\ue000\uffff", "\U00010000\U0010ffff", "𝄞" * 300]
BAD = [
    b"\xff",
    b"\xc3",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"ok\x80",
    b"\xce\xba\xe1",
]


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "a fragment a byte"])
async def test_6_text_comes_back(cut):
    """Also when a character lies in several fragments."""
    async with an_echo() as at:
        for text in GOOD:
            data = text.encode()
            pieces = [data[n : n + 1] for n in range(len(data))] if cut else [data]
            last = len(pieces) - 1
            await at.send(b"".join(frame(CONT if n else TEXT, each, fin=n == last) for n, each in enumerate(pieces)))
            assert await at.frame() == (TEXT, data), text


async def test_6_what_is_not_utf8_is_1007(caplog):
    """And no traceback in the log, which a stranger could fill."""
    await ends_with(1007, [frame(TEXT, data) for data in BAD])
    await ends_with(1007, [frame(TEXT, b"x" + data[:1], fin=False) + frame(CONT, data[1:]) for data in BAD])
    assert "Traceback" not in caplog.text


def test_6_a_character_may_lie_in_two_fragments():
    assert is_utf8([b"\xce", b"\xba"])
    assert not is_utf8([b"\xce"])
    assert not is_utf8([b"\xce", b"", b"\xff"])


# 7 closing


async def test_7_a_close_is_answered_with_its_code():
    async with listening(echo) as port:
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            async with peer(port) as at:
                await at.send(close_frame(code, b"bye"))
                assert await at.closed_with() == code


async def test_7_a_close_without_a_code_is_answered_alike():
    async with an_echo() as at:
        await at.send(frame(CLOSE))
        assert await at.closed_with() in {1000, 1005}


async def test_7_codes_that_may_not_be_sent_are_a_protocol_error():
    await ends_with(1002, [close_frame(code) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)])


async def test_7_malformed_closes_are_a_protocol_error():
    await ends_with(1002, [frame(CLOSE, b"\x03"), frame(CLOSE, b"x" * 126)])
    await ends_with(1007, [close_frame(1000, b"\xff\xfe")])


async def test_7_nothing_after_a_close_is_heard():
    async with an_echo() as at:
        await at.send(close_frame(1000) + frame(TEXT, b"late") + frame(PING, b"late"))
        assert await at.frame() == (CLOSE, (1000).to_bytes(2, "big"))
        assert await at.frame() is None


# bounds beyond the protocol


@contextlib.asynccontextmanager
async def deaf_peer(port: int):
    """A connection whose peer does not read, with a small buffer of its own."""
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, ("127.0.0.1", port))
        await loop.sock_sendall(deaf, HANDSHAKE)
        assert (await loop.sock_recv(deaf, 4096)).startswith(b"HTTP/1.1 101")
        yield deaf


def watched(monkeypatch) -> list[serving.BoundedWebSocket]:
    """The WebSocket protocols that the server makes from now on."""
    made = []
    connection_made = serving.BoundedWebSocket.connection_made

    def connected(self, transport):
        made.append(self)
        connection_made(self, transport)

    monkeypatch.setattr(serving.BoundedWebSocket, "connection_made", connected)
    return made


async def test_pings_of_a_peer_that_does_not_read_are_not_hoarded(monkeypatch):
    """A megabyte of pings leaves one pong waiting; once the peer reads, the newest is answered."""
    made = watched(monkeypatch)
    async with listening(echo) as port, deaf_peer(port) as deaf:
        loop = asyncio.get_running_loop()
        burst = frame(PING, b"x" * 125) * 1000
        most = 0
        for _ in range(20):
            await asyncio.wait_for(loop.sock_sendall(deaf, burst), WITHIN_S)
            most = max(most, made[0].transport.get_write_buffer_size())
        await loop.sock_sendall(deaf, frame(PING, b"the last"))
        assert 0 < most < 256 * 1024
        tail = b""
        async with asyncio.timeout(WITHIN_S):
            while not tail.endswith(b"the last"):
                tail = (tail + await loop.sock_recv(deaf, 65536))[-64:]


async def test_a_peer_that_never_reads_is_cut_off_after_its_close(monkeypatch):
    """The close cannot be delivered, and the connection ends all the same."""
    monkeypatch.setattr(serving, "CLOSE_PATIENCE_S", 0.2)
    made = watched(monkeypatch)
    sent = asyncio.Event()

    async def talker(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(65536)})
        await send({"type": "websocket.close", "code": 1013})
        sent.set()

    async with listening(talker) as port, deaf_peer(port):
        await asyncio.wait_for(sent.wait(), WITHIN_S)
        buffered = made[0].transport.get_write_buffer_size()
        assert 0 < buffered < 256 * 1024
        async with asyncio.timeout(WITHIN_S):
            while not made[0].disconnected:
                await asyncio.sleep(0.02)


async def test_a_ping_that_is_not_answered_ends_the_connection(monkeypatch):
    monkeypatch.setattr(serving, "PING_S", 0.2)
    async with an_echo() as at:
        got = await at.frame()
        assert got is not None
        assert got[0] == PING
        assert await at.closed_with() == 1011


async def test_a_ping_that_is_answered_keeps_it(monkeypatch):
    monkeypatch.setattr(serving, "PING_S", 0.2)
    async with an_echo() as at:
        for _ in range(4):
            opcode, payload = await at.frame()
            assert opcode == PING
            await at.send(frame(PONG, payload))
        await at.send(frame(TEXT, b"still here"))
        assert (TEXT, b"still here") in [await at.frame(), await at.frame()]


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "half a request"])
async def test_a_connection_without_a_request_is_ended(begin, monkeypatch):
    monkeypatch.setattr(serving, "FIRST_REQUEST_S", 0.2)
    async with listening(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_websocket_outlives_the_time_for_the_first_request(monkeypatch):
    monkeypatch.setattr(serving, "FIRST_REQUEST_S", 0.2)
    async with an_echo() as at:
        await asyncio.sleep(0.4)  # the time in which it would have been ended
        await at.send(frame(TEXT, b"here"))
        assert await at.frame() == (TEXT, b"here")


async def test_headers_without_end_are_refused():
    async with listening(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"GET / HTTP/1.1\r\n" if _ == 0 else b"X-Filler: " + b"x" * 1000 + b"\r\n")
                await writer.drain()
            assert b"400" in await asyncio.wait_for(reader.read(), WITHIN_S)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
