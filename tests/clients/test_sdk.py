"""The Python client: typed requests, answers, and events exactly once across lost connections."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket

import pytest

from clients.errors import Conflict, Disconnected, Forbidden, Invalid, Limit, NotFound, Unauthorized, Unreachable
from clients.hub import Ending
from clients.line import Address
from clients.messages import CameraSpec, RuleSpec
from clients.sdk import RETRY_MAX_S, backoff, connect
from clients.service import ClientLimits
from clients.wire import CODECS
from tests.clients.served import WITHIN_S, served

RESET = Ending(1013, "cut by the test")


async def first(stream, count):
    """The first `count` items of a stream that does not end."""
    items = []
    async with asyncio.timeout(WITHIN_S), contextlib.aclosing(stream):
        async for item in stream:
            items.append(item)
            if len(items) == count:
                break
    return items


@pytest.mark.parametrize(
    "url", ["ws://h:1", "http://h:1", "h:1", "ws://h:1/", "ws://h:1/v1/ws", "http://h:1/console?x=1"]
)
def test_an_address_may_be_written_in_many_ways(url):
    assert Address.of(url).url == "ws://h:1/v1/ws"


def test_tls_stays_tls():
    assert Address.of("https://h").url == "wss://h/v1/ws"


@pytest.mark.parametrize("url", ["", "ftp://h", "ws://", "ws://h:x"])
def test_what_is_no_address_is_invalid(url):
    with pytest.raises(Invalid, match="must look like"):
        Address.of(url)


async def test_nobody_there_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match="vigild serve"):
        async with connect(f"ws://127.0.0.1:{port}"):
            pass


async def test_something_else_there_is_unreachable():
    async def babble(reader, writer):
        writer.write(b"220 smtp.example ready\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable):
            async with connect(f"ws://127.0.0.1:{port}"):
                pass


async def test_tokens():
    async with served(tokens=True) as at:
        for token in (None, "wrong"):
            with pytest.raises(Unauthorized):
                async with connect(at.url, token):
                    pass
        async with connect(at.url, "t-viewer") as vigil:
            assert [view.spec.id for view in await vigil.cameras()] == ["dock"]
            with pytest.raises(Forbidden):
                await vigil.remove_camera("dock")


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
async def test_cameras_and_rules_are_typed(codec):
    async with served() as at, connect(at.url, codec=codec) as vigil:
        assert vigil.hello["server"] == "vigild test"
        zone = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5))
        added = await vigil.add_camera(CameraSpec(id="gate", source="rtsp://u:p@h/1", fps=3, zones=(zone,)))
        assert added.spec == CameraSpec(id="gate", source="rtsp://***@h/1", fps=3, zones=(zone,))
        assert (await vigil.update_camera("gate", fps=1)).spec.fps == 1
        assert (await vigil.camera("gate")).state == "connecting"
        with pytest.raises(Conflict) as caught:
            await vigil.add_camera(CameraSpec(id="gate", source="synthetic:yard"))
        assert caught.value.param == "camera"

        rule = await vigil.create_rule(RuleSpec(camera="gate", ask="Is it red?", zone=zone))
        assert (rule.id, rule.zone) == ("r_1", zone)
        assert (await vigil.update_rule("r_1", on=0.9)).on == 0.9
        assert await vigil.rules("gate") == [await vigil.delete_rule("r_1")]
        assert await vigil.rules() == []
        await vigil.remove_camera("gate")
        with pytest.raises(NotFound, match="no camera 'gate'"):
            await vigil.camera("gate")


async def test_requests_may_run_at_once():
    async with served() as at, connect(at.url) as vigil:
        replies = await asyncio.gather(*(vigil.camera("dock") for _ in range(50)))
        assert {reply.spec.id for reply in replies} == {"dock"}


async def test_an_answer_can_be_heard_as_it_comes():
    async with served() as at, connect(at.url) as vigil:
        asking = await vigil.ask("dock", "What is there?", max_tokens=9)
        assert at.backend.asks[0][1:] == ("dock", "What is there?", 9)
        at.hub.publish_lossy({"topic": "delta", "camera": "dock", "ask": asking.ask, "text": "A red "})
        pieces = aiter(asking)
        assert await anext(pieces) == "A red "
        at.hub.publish_lossy({"topic": "delta", "camera": "dock", "ask": asking.ask, "text": "truck"})
        at.happen(
            "answer", ask=asking.ask, text="A red truck", status="completed", frame_ts=5, age_ms=3, citations=[{"t0": 1, "t1": 2}],
            usage={"output_tokens": 3},
        )  # fmt: skip
        assert [piece async for piece in pieces] == ["truck"]
        answer = await asking.answer()
        assert (answer.text, answer.camera, answer.status, answer.age_ms) == ("A red truck", "dock", "completed", 3)
        assert [piece async for piece in asking] == []


async def test_an_answer_that_is_there_before_anyone_looks():
    """Whatever order the messages are read in, none is lost."""
    async with served() as at, connect(at.url) as vigil:
        original = at.backend.ask

        async def instant(ask, *rest):
            await original(ask, *rest)
            at.happen("answer", ask=ask, text="At once", status="completed")

        at.backend.ask = instant
        assert (await (await vigil.ask("dock", "?")).answer()).text == "At once"


async def test_an_answer_can_be_cancelled_and_a_lost_one_says_so():
    async with served() as at, connect(at.url) as vigil:
        asking = await vigil.ask("dock", "?")
        await asking.cancel()
        assert at.backend.cancelled == [asking.ask]
        at.hub.end_all(RESET)
        with pytest.raises(Disconnected):
            await asking.answer()
        assert [piece async for piece in asking] == []


async def test_a_request_whose_connection_is_lost_says_so_and_the_next_one_connects_again():
    async with served() as at, connect(at.url) as vigil:
        entered = asyncio.Event()

        async def hangs(camera):
            entered.set()
            await asyncio.Event().wait()

        original, at.backend.get_camera = at.backend.get_camera, hangs
        asked = asyncio.create_task(vigil.camera("dock"))
        await asyncio.wait_for(entered.wait(), WITHIN_S)
        at.hub.end_all(RESET)
        with pytest.raises(Disconnected, match="1013"):
            await asked
        at.backend.get_camera = original
        assert (await vigil.camera("dock")).spec.id == "dock"


async def test_too_many_requests_are_a_limit():
    async with served(limits=ClientLimits(messages_per_s=0.001, message_burst=2)) as at, connect(at.url) as vigil:
        for _ in range(2):
            await vigil.cameras()
        with pytest.raises(Limit):
            await vigil.cameras()


async def test_history():
    async with served(held=9) as at, connect(at.url) as vigil:
        assert [event.seq for event in await vigil.history(after=2, before=8, kind="note", camera="dock", limit=3)] == [
            3,
            4,
            5,
        ]
        (last,) = await vigil.history(limit=1)
        assert (last.seq, last.id, last.kind, last.camera, last.data) == (9, "e_9", "note", "dock", {"text": "8"})


async def test_notes_and_what_an_answer_rests_on():
    """Notes are read from history by camera; citations come as they are, doubtful times beside them."""
    async with served() as at, connect(at.url) as vigil:
        for camera in ("dock", "gate"):
            at.happen("note", camera, text=f"A truck at the {camera}.", trigger={"rho": 0.4, "z": 5.2})
        (event,) = await vigil.notes("dock")
        assert event.data["text"] == "A truck at the dock."
        assert len(await vigil.notes()) == 2
        asking = await vigil.ask("dock", "Where was the truck?")
        cited = {"t0": 5, "t1": 5, "note": event.id, "text": "A truck at the dock."}
        at.happen("answer", ask=asking.ask, text="At 9 pm.", status="completed", citations=[cited], doubtful=["9 pm"])
        answer = await asking.answer()
        assert answer.citations == [cited]
        assert answer.doubtful == ["9 pm"]


async def test_events_from_now_on():
    """Also those that happen between two connections, before the first event was seen."""
    async with served(held=5) as at, connect(at.url) as vigil:
        stream = vigil.events()
        coming = asyncio.create_task(first(stream, 2))
        await subscribed(at, 2)
        at.hub.end_all(RESET)
        at.happen()
        at.happen()
        assert [event.seq for event in await coming] == [6, 7]


async def subscribed(at, count):
    """Return when so many connections are there and one of them has subscribed."""
    async with asyncio.timeout(WITHIN_S):
        while len(at.hub.subscribers) < count or not any(len(each.interests) for each in at.hub.subscribers):
            await asyncio.sleep(0.01)


async def test_events_come_exactly_once_however_often_the_line_is_cut():
    """Fifty cuts at random moments, while events happen."""
    async with served(held=100) as at, connect(at.url) as vigil:

        async def trouble():
            for n in range(50):
                for _ in range(4):
                    at.happen()
                await asyncio.sleep(0.01 * (n % 3))
                at.hub.end_all(RESET)

        troubling = asyncio.create_task(trouble())
        events = await first(vigil.events(after=10), 290)
        assert [event.seq for event in events] == list(range(11, 301))
        await troubling


async def test_events_filter_and_tell_trimming():
    async with served(held=10) as at, connect(at.url) as vigil:
        at.backend.trim(8)
        at.happen("alert.started", rule="r_1")
        gap, *events = await first(vigil.events(["note"], cameras=["dock"], after=3), 4)
        assert (gap.kind, gap.seq, gap.data["reason"], gap.camera) == ("gap", 7, "trimmed", None)
        assert [event.seq for event in events] == [8, 9, 10]


async def test_lossy_messages_come_as_they_are():
    async with served() as at, connect(at.url) as vigil:
        stream = vigil.messages(["stats"], cameras=["dock"])
        coming = asyncio.create_task(first(stream, 1))
        await subscribed(at, 2)
        at.hub.publish_lossy({"topic": "stats", "camera": "dock", "fps_seen": 2.0})
        assert await coming == [{"type": "stats", "camera": "dock", "fps_seen": 2.0}]


async def test_a_wrong_subscription_is_raised_not_retried():
    async with served(held=3) as at, connect(at.url) as vigil:
        for wrong in ({"topics": ["alarm"]}, {"after": 99}):
            with pytest.raises(Invalid):
                await first(vigil.events(**wrong), 1)


async def test_a_token_that_was_taken_away_is_raised_not_retried():
    async with served(tokens=True) as at, connect(at.url, "t-viewer") as vigil:
        stream = vigil.events()
        coming = asyncio.create_task(first(stream, 1))
        await subscribed(at, 2)
        at.backend.roles.clear()
        at.hub.end_all(RESET)
        with pytest.raises(Unauthorized):
            await coming


async def test_closing_the_client_ends_what_waits():
    async with served() as at:
        async with connect(at.url) as vigil:
            asking = await vigil.ask("dock", "?")
        with pytest.raises(Disconnected):
            await asking.answer()


def test_pauses_grow_and_are_bounded():
    pauses_s = list(itertools.islice(backoff(), 20))
    assert pauses_s[0] < 0.2
    assert all(pause_s <= 1.5 * RETRY_MAX_S for pause_s in pauses_s)
    assert pauses_s[-1] >= 0.5 * RETRY_MAX_S
