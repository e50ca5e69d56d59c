"""Plain HTTP: the console, health, metrics and evidence; who gets them, and with which headers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib

import httpx
import pytest

from clients import protocols
from clients.auth import Doors
from tests.clients.served import WITHIN_S, served
from tests.peers.wire_client import RequestFailed, wire_client


@contextlib.asynccontextmanager
async def browser(at, **headers):
    async with httpx.AsyncClient(base_url=at.http, headers=headers, trust_env=False) as client:
        yield client


async def test_alive_and_ready():
    async with served() as at, browser(at) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        reply = await client.get("/readyz")
        assert (reply.status_code, reply.json()) == (200, {"ready": True, "parts": {"store": "ok"}})
        at.backend.away = True
        reply = await client.get("/readyz")
        assert (reply.status_code, reply.json()["ready"]) == (503, False)
        assert (await client.get("/healthz")).status_code == 200


async def test_metrics_count_and_do_not_explode():
    """Every series there can be is there from what the daemon itself names; a client adds none."""
    async with served() as at, browser(at) as client:

        async def series():
            lines = (await client.get("/metrics")).text.splitlines()
            return {line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")}

        async def everything_once(n):
            async with wire_client(at.url) as wire:
                for kind in ("ping", f"invented.{n}"):
                    with contextlib.suppress(RequestFailed):
                        await wire.request(kind)
                with pytest.raises(RequestFailed):
                    await wire.request("camera.get", camera=f"no{n}")
            await client.get(f"/nowhere/{n}")

        await everything_once(0)
        first = await series()
        for n in range(1, 20):
            await everything_once(n)
        assert await series() == first
        assert 'vigil_requests_total{outcome="ok",type="ping"}' in first
        assert 'vigil_cameras{state="connecting"}' in first


async def test_metrics_without_the_store_still_answer():
    async with served() as at, browser(at) as client:
        at.backend.away = True
        assert "vigil_store_up 0.0" in (await client.get("/metrics")).text


async def test_evidence(tmp_path):
    """Typed, cacheable, in ranges; and a sentence when it is gone."""
    (tmp_path / "e_1.jpg").write_bytes(b"\xff\xd8picture")
    (tmp_path / "e_1.mp4").write_bytes(b"0123456789")
    async with served(evidence=tmp_path) as at, browser(at) as client:
        reply = await client.get("/v1/evidence/e_1.jpg")
        assert (reply.content, reply.headers["content-type"]) == (b"\xff\xd8picture", "image/jpeg")
        assert "immutable" in reply.headers["cache-control"]
        part = await client.get("/v1/evidence/e_1.mp4", headers={"range": "bytes=2-4"})
        assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"234", "video/mp4")
        gone = await client.get("/v1/evidence/e_2.jpg")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")


async def test_the_console_is_served_with_its_types():
    async with served() as at, browser(at) as client:
        page = await client.get("/")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        script = await client.get("/session.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert page.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/../auth.py", "/%2e%2e/auth.py", "/..%2fauth.py", "/views/../../auth.py", "//etc/passwd", "/a\x00b"]
)
async def test_nothing_beside_the_console_is_served(path):
    """However the path is spelt."""
    async with served() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        reply = await asyncio.wait_for(reader.read(), WITHIN_S)
        assert reply.split()[1] in {b"404", b"400"}
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/nowhere", "/v1/evidence/e_9.jpg"])
async def test_every_reply_carries_the_security_headers(path):
    async with served() as at, browser(at) as client:
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/v1/evidence/e_1.jpg"])
@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}])
async def test_a_foreign_page_gets_nothing(path, headers):
    """DNS rebinding and cross-site requests alike."""
    async with served() as at, browser(at, **headers) as client:
        reply = await client.get(path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden")


async def test_a_name_that_is_configured_enters():
    doors = Doors(token_required=False, hosts=frozenset({"vigil.lan"}))
    async with served(doors=doors) as at, browser(at, host="vigil.lan:8787") as client:
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/v1/evidence/e_1.jpg"])
async def test_a_token_is_demanded_in_the_header(path, tmp_path):
    """Where tokens are demanded; health, readiness and the console's files stay open. In a URL it counts for nothing."""
    (tmp_path / "e_1.jpg").write_bytes(b"picture")
    async with served(tokens=True, evidence=tmp_path) as at, browser(at) as client:
        for headers in (
            {},
            {"authorization": "Basic dDp2"},
            {"authorization": "Bearer"},
            {"authorization": "Bearer wrong"},
        ):
            reply = await client.get(path, headers=headers)
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert (await client.get(path, params={"token": "t-viewer"})).status_code == 401
        assert (await client.get(path, headers={"authorization": "bearer t-viewer"})).status_code == 200
        for open_path in ("/healthz", "/readyz", "/"):
            assert (await client.get(open_path)).status_code == 200


async def test_webrtc_says_that_it_is_not_there():
    async with served() as at, browser(at) as client:
        for path in ("/v1/whip/dock", "/v1/whep/dock"):
            reply = await client.post(path, content=b"v=0")
            assert (reply.status_code, reply.json()["error"]["code"]) == (501, "unsupported")


async def test_webrtc_asks_for_the_role():
    async with served(tokens=True) as at, browser(at, authorization="Bearer t-viewer") as client:
        assert (await client.post("/v1/whip/dock")).status_code == 403
        assert (await client.post("/v1/whep/dock")).status_code == 501


async def test_a_store_that_is_away_is_503():
    async with served(tokens=True) as at, browser(at, authorization="Bearer t-viewer") as client:
        at.backend.away = True
        reply = await client.get("/v1/evidence/e_1.jpg")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "busy")


async def test_our_own_fault_is_told_without_its_text(monkeypatch, caplog):
    def broken(name):
        raise RuntimeError("s3cret")

    async with served() as at, browser(at) as client:
        monkeypatch.setattr(at.backend, "evidence_path", broken)
        reply = await client.get("/v1/evidence/e_1.jpg")
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal")
        assert "s3cret" not in reply.text
    assert "/v1/evidence/e_1.jpg failed" in caplog.text


async def test_a_wrong_method_is_told():
    async with served() as at, browser(at) as client:
        assert (await client.post("/healthz")).status_code == 405


def test_every_protocol_is_found():
    """A file in protocols/ is served because it is there."""
    names = {module.__name__.rpartition(".")[2] for module in protocols.modules()}
    assert names == {"http", "websocket", "whip"}
    for name in names:
        assert callable(importlib.import_module(f"clients.protocols.{name}").routes)
