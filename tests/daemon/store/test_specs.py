"""daemon/store/specs.py"""

from __future__ import annotations

import msgspec
import pytest

from daemon.store import Exists, Fenced, NotFound
from tests.daemon.store.opened import DOCK, GATE, PERSON, ended, lease_of, note, opened, question, started


async def test_cameras(valkey):
    """A camera comes back as it was put; what was expected of the id is held to."""
    async with opened(valkey.url) as store:
        with pytest.raises(NotFound, match="no camera 'dock'"):
            await store.put_camera(DOCK, expect="existing")
        await store.put_camera(GATE, expect="new")
        await store.put_camera(DOCK, expect="new")
        with pytest.raises(Exists, match="camera 'dock' exists already"):
            await store.put_camera(DOCK, expect="new")
        assert await store.cameras() == [DOCK, GATE]
        faster = msgspec.structs.replace(DOCK, fps=5.0, zones=(((0.0, 0.0), (1.0, 0.0), (0.5, 0.5)),))
        await store.put_camera(faster, expect="existing")
        assert await store.camera("dock") == faster
        with pytest.raises(NotFound, match="no camera 'yard'"):
            await store.camera("yard")


async def test_rules_need_their_camera(valkey):
    """A rule can only be put on a camera that is there, and is found by camera."""
    async with opened(valkey.url, DOCK, GATE) as store:
        elsewhere = msgspec.structs.replace(PERSON, camera="yard")
        with pytest.raises(NotFound, match="no camera 'yard'"):
            await store.put_rule(elsewhere)
        with pytest.raises(NotFound, match="no rule 'r_1'"):
            await store.put_rule(PERSON, expect="existing")
        await store.put_rule(PERSON, expect="new")
        with pytest.raises(Exists, match="rule 'r_1' exists"):
            await store.put_rule(PERSON, expect="new")
        assert await store.rule("r_1") == PERSON
        assert (await store.rules(), await store.rules("dock"), await store.rules("gate")) == ([PERSON], [PERSON], [])
        moved = msgspec.structs.replace(PERSON, camera="gate")
        await store.put_rule(moved)
        assert (await store.rules("dock"), await store.rules("gate")) == ([], [moved])


async def test_a_camera_takes_everything_with_it(valkey):
    """Removing a camera removes rules, state, counters, lease; ends its alerts and answers its asks, as events."""
    async with opened(valkey.url, DOCK, GATE) as store:
        lease = await lease_of(store, "dock")
        await store.put_rule(PERSON)
        await store.put_rule(msgspec.structs.replace(PERSON, id="r_2", camera="gate"))
        await store.set_counters("dock", {"fps_in": 2.0})
        await store.put_ask(question("q_1"))
        await store.emit(started("a_1"), lease)

        assert await store.remove_camera("dock") == DOCK
        assert await store.cameras() == [GATE]
        assert [rule.id for rule in await store.rules()] == ["r_2"]
        assert await store.rules("dock") == []
        assert (await store.open_alerts("dock"), await store.pending_asks("dock")) == ([], [])
        assert await store.counters("dock") is None
        assert await store.holder("dock") is None
        told = [(event.kind, event.data) for event in await store.events_after(1, 10)]
        assert [kind for kind, _ in told] == ["alert.ended", "answer"]
        assert told[0][1].items() >= {"alert": "a_1", "rule": "r_1", "reason": "camera removed"}.items()
        assert told[0][1]["duration_s"] > 0
        assert told[1][1].items() >= {"ask": "q_1", "status": "failed"}.items()
        with pytest.raises(NotFound, match="no camera 'dock'"):
            await store.remove_camera("dock")


async def test_nothing_comes_back_after_removal(valkey):
    """The worker of a removed camera is fenced, also once a camera of the same name is there again."""
    async with opened(valkey.url, DOCK) as store:
        lease = await lease_of(store, "dock")
        await store.remove_camera("dock")
        with pytest.raises(Fenced):
            await store.emit(started("a_1"), lease)
        await store.set_counters("dock", {"fps_in": 2.0})
        assert await store.all_counters() == {}
        await store.put_camera(DOCK, expect="new")
        with pytest.raises(Fenced):
            await store.emit(note(), lease)
        assert not await store.renew(lease)
        assert (await lease_of(store, "dock")).epoch > lease.epoch


async def test_a_rule_ends_its_alert(valkey):
    """Deleting a rule ends its own open alert; the worker saying the same a moment later adds nothing."""
    async with opened(valkey.url, DOCK) as store:
        lease = await lease_of(store, "dock")
        await store.put_rule(PERSON)
        await store.emit(started("a_1"), lease)
        await store.emit(started("a_2", rule="r_2"), lease)
        assert await store.delete_rule("r_1") == PERSON
        assert [alert["alert"] for alert in await store.open_alerts("dock")] == ["a_2"]
        assert (await store.emit(ended("a_1"), lease)).seq == 3 == await store.newest_seq()
        with pytest.raises(NotFound, match="no rule 'r_1'"):
            await store.delete_rule("r_1")
        with pytest.raises(NotFound):
            await store.rule("r_1")


async def test_a_repeated_request_has_one_answer(valkey):
    """The same request sent twice (its reply was lost) is answered twice and carried out once."""
    async with opened(valkey.url) as store:
        words = ("put_camera", "dock", b'{"id":"dock","source":"webrtc:"}', "new", "request:1", 60_000)
        assert await store._link.call(*words) == await store._link.call(*words) == ["ok"]
        assert await store.newest_change() == "1"
        removal = ("remove_camera", "dock", 5, "request:2", 60_000, 60_000)
        assert await store._link.call(*removal) == await store._link.call(*removal)
        assert await store.newest_change() == "2"
