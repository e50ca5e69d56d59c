"""Events over `/v1/ws`: replayed, then live, each once and in order, whatever becomes of the store meanwhile."""

from __future__ import annotations

import asyncio
import logging

import pytest

from clients.errors import Internal
from clients.service import ClientLimits
from tests.clients.served import WITHIN_S, seqs, served, settled
from tests.peers.wire_client import RequestFailed, wire_client

DURABLE = ["alert", "note", "camera", "answer", "gap"]
FORMS = ["json", "msgpack"]


@pytest.mark.parametrize("form", FORMS)
async def test_replay_then_live(form):
    """Everything after `after`, once and in order, over several pages and into what happens meanwhile."""
    async with served(held=700, limits=ClientLimits(page=64)) as at, wire_client(at.url, form=form) as client:
        reply = await client.request("subscribe", topics=DURABLE, cameras="*", after=10)
        assert reply["seq"] == 700
        for _ in range(50):
            at.happen()
            await asyncio.sleep(0)
        assert await seqs(client, 740) == list(range(11, 751))


async def test_without_after_only_what_is_new_comes():
    async with served(held=5) as at, wire_client(at.url) as client:
        assert (await client.request("subscribe", topics=["note"], cameras="*"))["seq"] == 5
        at.happen()
        assert await seqs(client, 1) == [6]


async def test_topics_and_cameras_are_filtered():
    async with served() as at, wire_client(at.url) as client:
        await client.request("subscribe", topics=["note", "alert"], cameras=["dock", "not-there-yet"], after=0)
        at.happen("note", "gate")
        wanted = [at.happen("alert.started", rule="r_1"), at.happen("note", "not-there-yet")]
        at.happen("answer", ask="q")
        wanted.append(at.happen("alert.ended", rule="r_1"))
        assert await seqs(client, 3) == wanted


async def test_trimmed_events_are_told_first():
    """A `gap` stands for what the daemon no longer holds, whatever the topics; then what is left."""
    async with served(held=10) as at, wire_client(at.url) as client:
        at.backend.trim(7)
        await client.request("subscribe", topics=["note"], cameras="*", after=2)
        gap = await asyncio.wait_for(client.pushed.get(), WITHIN_S)
        assert (gap["type"], gap["reason"], gap["seq"], gap["from_seq"], gap["to_seq"]) == ("gap", "trimmed", 6, 3, 6)
        assert await seqs(client, 4) == [7, 8, 9, 10]


async def test_when_everything_was_trimmed_the_gap_reaches_to_the_newest():
    async with served(held=10) as at, wire_client(at.url) as client:
        at.backend.trim(11)
        await client.request("subscribe", topics=["note"], cameras="*", after=2)
        gap = await asyncio.wait_for(client.pushed.get(), WITHIN_S)
        assert (gap["from_seq"], gap["to_seq"]) == (3, 10)
        at.happen()
        assert await seqs(client, 1) == [11]


async def test_after_the_newest_is_invalid_and_says_what_to_do():
    async with served(held=3) as at, wire_client(at.url) as client:
        with pytest.raises(RequestFailed, match="subscribe without after") as caught:
            await client.request("subscribe", topics=["note"], cameras="*", after=4)
        assert caught.value.param == "after"


async def test_a_second_subscription_that_reaches_back_repeats_nothing():
    async with served() as at, wire_client(at.url) as client:
        for n in range(10):
            at.happen("note" if n % 2 else "alert.started", rule="r_1")
        await client.request("subscribe", topics=["alert"], cameras="*", after=0)
        assert await seqs(client, 5) == [1, 3, 5, 7, 9]
        await client.request("subscribe", topics=["note", "alert"], cameras="*", after=4)
        assert await seqs(client, 3) == [6, 8, 10]
        at.happen()
        assert await seqs(client, 1) == [11]


async def test_after_unsubscribe_nothing_more_comes():
    async with served() as at, wire_client(at.url) as client:
        await client.request("subscribe", topics=["note", "alert"], cameras="*")
        await client.request("unsubscribe", topics=["note"], cameras="*")
        at.happen("note")
        at.happen("alert.started", rule="r_1")
        assert await seqs(client, 1) == [2]


async def test_lossy_messages_carry_bytes():
    """base64 in json, bytes in msgpack."""
    async with served() as at, wire_client(at.url) as text, wire_client(at.url, form="msgpack") as binary:
        for client in (text, binary):
            await client.request("subscribe", topics=["heat"], cameras=["dock"])
        at.hub.publish_lossy({"topic": "heat", "camera": "dock", "hw": [1, 8], "kept": b"\xff"})
        assert (await text.until(lambda message: message["type"] == "heat"))[-1]["kept"] == "/w=="
        assert (await binary.until(lambda message: message["type"] == "heat"))[-1]["kept"] == b"\xff"


async def test_a_replay_that_loses_its_store_waits_and_goes_on(monkeypatch, caplog):
    """Every event once and in order, on the same connection."""
    caplog.set_level(logging.DEBUG, "clients.protocols.websocket")
    async with served(held=1000) as at, wire_client(at.url) as client:
        read = at.backend.events_after

        async def gone_behind_the_first_page(seq, limit):
            page = await read(seq, limit)
            at.backend.away = seq == 0
            return page

        monkeypatch.setattr(at.backend, "events_after", gone_behind_the_first_page)
        await client.request("subscribe", topics=["note"], cameras="*", after=0)
        await settled(lambda: "waits: the store is not there" in caplog.text)
        at.backend.away = False
        pushed = await client.until(lambda message: message.get("seq") == 1000)
        assert [message["seq"] for message in pushed] == list(range(1, 1001))


async def test_who_missed_little_needs_no_store(monkeypatch):
    """The newest events come from the gateway's memory; reading them anew would cost every client a page."""
    async with served(held=3) as at, wire_client(at.url) as client:
        for n in range(4, 601):
            at.hub.publish([at.backend.happen(text=str(n))])

        async def unread(seq, limit):
            raise AssertionError(f"events after {seq} were read from the store")

        monkeypatch.setattr(at.backend, "events_after", unread)
        await client.request("subscribe", topics=["note"], cameras="*", after=3)
        pushed = await client.until(lambda message: message.get("seq") == 600)
        assert [message["seq"] for message in pushed] == list(range(4, 601))


async def test_a_replay_that_fails_otherwise_is_closed_with_1013(monkeypatch):
    async with served(held=10) as at, wire_client(at.url) as client:

        async def broken(seq, limit):
            raise Internal("the store answered: WRONGTYPE")

        monkeypatch.setattr(at.backend, "events_after", broken)
        await client.request("subscribe", topics=["note"], cameras="*", after=0)
        assert (await client.until(lambda message: message["type"] == "closed"))[-1]
        assert client.closed.rcvd.code == 1013
        assert "WRONGTYPE" in client.closed.rcvd.reason
