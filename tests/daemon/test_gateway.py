"""The gateway process over a real Valkey: from start to end, and through what may go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys

import httpx
import msgpack
import pytest

from clients.auth import hash_token
from clients.errors import Busy
from clients.messages import CameraSpec
from clients.sdk import connect
from daemon.errors import EXIT_CONFIGURATION
from daemon.gateway import GatewayConfig, GatewayError, listen, run_gateway
from daemon.store import Draft, Evidence, StoreRefused
from tests.daemon.store.conftest import short_dir, valkey  # noqa: F401  fixtures
from tests.daemon.store.opened import opened
from tests.peers.gateway import GatewayProcess
from tests.peers.wire_client import RequestFailed, wire_client

WITHIN_S = 15
DOCK = CameraSpec(id="dock", source="synthetic:yard")
QUICK = GatewayConfig(port=0, go_away_s=0.1, bind_patience_s=0.1, store_patience_s=0.5)


@contextlib.asynccontextmanager
async def a_gateway(server, config: GatewayConfig = QUICK):
    """A gateway in this process; its port."""
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run_gateway(config, server.url, server.data_dir, stop, on_listening=port.set_result))
    await asyncio.wait({running, port}, return_when=asyncio.FIRST_COMPLETED, timeout=WITHIN_S)
    if running.done():
        await running
    try:
        yield await asyncio.wait_for(port, WITHIN_S)
    finally:
        stop.set()
        await asyncio.wait_for(running, WITHIN_S)


async def collected(stream, last: int) -> list[int]:
    """The seqs of a stream up to `last`."""
    seqs = []
    async with asyncio.timeout(60), contextlib.aclosing(stream):
        async for event in stream:
            seqs.append(event.seq)
            if event.seq >= last:
                return seqs
    raise AssertionError("a stream of events does not end")


def note(n: int) -> Draft:
    return Draft("note", "dock", {"text": str(n)}, ts=n)


def test_events_answers_and_evidence_all_the_way(valkey):  # noqa: F811
    """From the store to a client, and a question from a client to the store."""

    async def main():
        async with (
            a_gateway(valkey) as port,
            opened(valkey.url, DOCK) as store,
            connect(f"ws://127.0.0.1:{port}") as vigil,
        ):
            coming = asyncio.create_task(collected(vigil.events(after=0), 500))
            for n in range(500):
                await store.emit(note(n))
            assert await coming == list(range(1, 501))

            asking = await vigil.ask("dock", "What is there?")
            assert (await store.pending_asks("dock"))[0]["ask"] == asking.ask
            await store.publish(msgpack.packb({"topic": "delta", "camera": "dock", "ask": asking.ask, "text": "A "}))
            await store.publish(b"\xc1 no msgpack")
            await store.publish(msgpack.packb([1]))
            assert await anext(aiter(asking)) == "A "
            data = {"ask": asking.ask, "text": "A truck", "status": "completed"}
            await store.emit(Draft("answer", "dock", data, ts=1))
            assert (await asking.answer()).text == "A truck"

            evidence = Evidence(valkey.data_dir / "evidence", max_bytes=10**6, max_age_s=60)
            await asyncio.to_thread(evidence.save, "e_1.jpg", b"picture")
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                assert (await http.get("/v1/evidence/e_1.jpg")).content == b"picture"
                assert (await http.get("/readyz")).status_code == 503
                await store.heartbeat("w0", {}, 60_000)
                assert (await http.get("/readyz")).status_code == 200
                assert 'vigil_events_total{kind="note"} 500.0' in (await http.get("/metrics")).text

    asyncio.run(main())


def test_the_end_is_announced_to_every_client(valkey):  # noqa: F811
    """go_away, 1001, and the port is free again."""

    async def main():
        stop = asyncio.Event()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(
            run_gateway(QUICK, valkey.url, valkey.data_dir, stop, on_listening=port.set_result)
        )
        url = f"ws://127.0.0.1:{await port}"
        async with wire_client(url) as one, wire_client(url, form="msgpack") as other:
            stop.set()
            for client in (one, other):
                go_away, _ = await client.until(lambda message: message["type"] == "closed")
                assert go_away == {"type": "go_away", "time_left_ms": 100}
                assert client._connection.close_code == 1001
            await asyncio.wait_for(running, WITHIN_S)
        socket.create_server(("127.0.0.1", await port)).close()

    asyncio.run(main())


def test_a_store_that_dies_and_returns_costs_no_event(valkey):  # noqa: F811
    """kill -9 of Valkey under a live subscription; meanwhile requests are refused as busy."""

    async def main():
        async with (
            a_gateway(valkey) as port,
            opened(valkey.url, DOCK) as store,
            connect(f"ws://127.0.0.1:{port}") as vigil,
        ):
            coming = asyncio.create_task(collected(vigil.events(after=0), 60))
            for n in range(60):
                if n % 20 == 10:
                    valkey.kill()
                    if n == 30:
                        with pytest.raises(Busy):
                            await vigil.cameras()
                    valkey.start()
                await store.emit(note(n))
            assert await coming == list(range(1, 61))
            assert [view.spec.id for view in await vigil.cameras()] == ["dock"]

    asyncio.run(main())


def test_an_emptied_store_sends_clients_back_to_the_beginning(valkey):  # noqa: F811
    """Whoever knows more than the store is closed with 1013; a new subscription works."""

    async def main():
        async with a_gateway(valkey) as port, opened(valkey.url, DOCK) as store:
            async with wire_client(f"ws://127.0.0.1:{port}") as client:
                await client.request("subscribe", topics=["note"], cameras="*", after=0)
                for n in range(3):
                    await store.emit(note(n))
                await client.until(lambda message: message.get("seq") == 3)
                await store._link.command("FLUSHALL")
                valkey.kill()
                for _ in range(2):  # the tail, which is as patient, has noticed too
                    with pytest.raises(RequestFailed, match="busy"):
                        await client.request("camera.list")
                valkey.start()
                await client.until(lambda message: message["type"] == "closed")
                assert client.closed.rcvd.code == 1013
            async with wire_client(f"ws://127.0.0.1:{port}") as client:
                await client.request("subscribe", topics=["note"], cameras="*", after=0)
                await store.put_camera(DOCK)
                await store.emit(note(9))
                (*_, message) = await client.until(lambda message: message["type"] == "note")
                assert (message["seq"], message["text"]) == (1, "9")

    asyncio.run(main())


@pytest.mark.slow
def test_a_gateway_that_is_killed_and_returns_costs_no_event(valkey):  # noqa: F811
    """kill -9 of the process, five times, under a client that resumes by itself."""
    gateway = GatewayProcess(valkey.url, valkey.data_dir).start()

    async def main():
        async with opened(valkey.url, DOCK) as store, connect(gateway.url) as vigil:
            coming = asyncio.create_task(collected(vigil.events(after=0), 500))
            for n in range(500):
                if n % 100 == 50:
                    await asyncio.to_thread(gateway.kill)
                if n % 100 == 70:
                    await asyncio.to_thread(gateway.start)
                await store.emit(note(n))
            assert await coming == list(range(1, 501))

    try:
        asyncio.run(main())
    finally:
        gateway.stop()


# refusing to start


@pytest.mark.parametrize("config", [GatewayConfig(host="0.0.0.0", port=0), GatewayConfig(port=0, require_token=True)])
def test_no_open_door_without_a_token(valkey, config):  # noqa: F811
    """A bind address that others can reach is refused, in one sentence that says what to do, until there is a token."""

    async def main():
        with pytest.raises(GatewayError, match="vigild token create") as caught:
            async with a_gateway(valkey, config):
                pass
        assert caught.value.exit_status == EXIT_CONFIGURATION
        async with opened(valkey.url, DOCK) as store:
            await store.put_token(hash_token("secret"), "viewer", "wall")
            async with a_gateway(valkey, config) as port, connect(f"ws://127.0.0.1:{port}", "secret") as vigil:
                assert len(await vigil.cameras()) == 1

    asyncio.run(main())


def test_a_port_in_use_is_one_sentence(valkey):  # noqa: F811
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(GatewayError, match=f"port {port} of 127.0.0.1 is in use by another program") as caught:
                await run_gateway(
                    GatewayConfig(port=port, bind_patience_s=0.2), valkey.url, valkey.data_dir, asyncio.Event()
                )
        assert caught.value.exit_status == EXIT_CONFIGURATION

    asyncio.run(main())


def test_a_port_that_becomes_free_in_time_is_taken():
    """The predecessor may still be ending."""

    async def main():
        other = socket.create_server(("127.0.0.1", 0))
        port = other.getsockname()[1]
        asyncio.get_running_loop().call_later(0.3, other.close)
        for each in await listen("127.0.0.1", port, patience_s=5):
            each.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "said"), [("203.0.113.7", "no address of this machine"), ("no.such.invalid", "is no address")]
)
def test_a_host_that_is_not_ours_is_one_sentence(host, said):
    with pytest.raises(GatewayError, match=said):
        asyncio.run(listen(host, 0, patience_s=0))


def test_a_store_that_will_never_answer_is_one_sentence(short_dir):  # noqa: F811
    with pytest.raises(StoreRefused):
        asyncio.run(run_gateway(QUICK, "http://not-a-store", short_dir, asyncio.Event()))


def test_a_gateway_that_waits_for_its_store_can_be_stopped(short_dir):  # noqa: F811
    async def main():
        stop = asyncio.Event()
        running = asyncio.create_task(run_gateway(QUICK, f"unix://{short_dir}/nobody.sock", short_dir, stop))
        await asyncio.sleep(0.2)  # it is trying
        assert not running.done()
        stop.set()
        await asyncio.wait_for(running, WITHIN_S)

    asyncio.run(main())


def test_the_gateway_imports_no_torch():
    script = "import sys, daemon.gateway; print([m for m in ('torch', 'transformers', 'av') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
