"""What clients ask for, over a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

from clients import errors as wire
from clients.auth import Role, hash_token
from clients.messages import CameraSpec, RuleSpec
from daemon.backend import StoreBackend, told
from daemon.store import Draft, Evidence, StoreFull, StoreReadOnly, StoreReset, StoreUnavailable
from streaming.admission import Capacity, Cost, Load
from tests.daemon.store.conftest import IMPATIENT, QUICK, short_dir, valkey  # noqa: F401  fixtures
from tests.daemon.store.opened import lease_of, opened

GATE = CameraSpec(id="gate", source="rtsp://user:s3cret@camera/1", fps=1)


@contextlib.asynccontextmanager
async def a_backend(valkey, *, settings=QUICK, **options):  # noqa: F811
    async with opened(valkey.url, settings=settings) as store:
        evidence = Evidence(valkey.data_dir / "evidence", max_bytes=10**6, max_age_s=60)
        yield StoreBackend(store, evidence, lambda: 1000, **options)


def test_cameras_with_what_is_known_of_them(valkey):  # noqa: F811
    async def main():
        async with a_backend(valkey) as backend:
            added = await backend.add_camera(GATE)
            assert (added.state, added.counters) == ("connecting", {})
            lease = await lease_of(backend.store, "gate")
            state = {"state": "live", "reason": None, "last_frame_ts": 5}
            await backend.store.emit(Draft("camera.state", "gate", state, ts=10), lease)
            await backend.store.set_counters("gate", {"fps_seen": 1.0, "last_frame_ts": 7})
            view = await backend.get_camera("gate")
            assert (view.state, view.last_frame_ts, view.counters["fps_seen"]) == ("live", 7, 1.0)
            assert await backend.list_cameras() == [view]
            assert (await backend.update_camera("gate", {"fps": 2})).spec.fps == 2
            with pytest.raises(wire.Conflict) as caught:
                await backend.add_camera(GATE)
            assert caught.value.param == "camera"
            assert (await backend.remove_camera("gate")).state == "live"
            for call in (backend.get_camera, backend.remove_camera):
                with pytest.raises(wire.NotFound, match="no camera 'gate'") as caught:
                    await call("gate")
                assert caught.value.param == "camera"

    asyncio.run(main())


def test_rules(valkey):  # noqa: F811
    async def main():
        async with a_backend(valkey) as backend:
            with pytest.raises(wire.NotFound, match="no camera"):
                await backend.create_rule(RuleSpec(camera="gate", ask="?"))
            await backend.add_camera(GATE)
            rule = await backend.create_rule(RuleSpec(camera="gate", ask="Is it red?"))
            assert rule.id.startswith("r_")
            assert await backend.list_rules("gate") == await backend.list_rules(None) == [rule]
            assert (await backend.update_rule(rule.id, {"on": 0.9})).on == 0.9
            with pytest.raises(wire.Invalid):
                await backend.update_rule(rule.id, {"on": 0.1})
            with pytest.raises(wire.NotFound, match="no camera"):
                await backend.list_rules("dock")
            assert (await backend.delete_rule(rule.id)).on == 0.9
            with pytest.raises(wire.NotFound, match="no rule"):
                await backend.delete_rule(rule.id)

    asyncio.run(main())


def test_what_clients_create_is_bounded(valkey):  # noqa: F811
    async def main():
        async with a_backend(valkey, max_cameras=1, max_rules=1) as backend:
            await backend.add_camera(GATE)
            with pytest.raises(wire.Limit, match="1 cameras"):
                await backend.add_camera(CameraSpec(id="dock", source="synthetic:yard"))
            await backend.create_rule(RuleSpec(camera="gate", ask="?"))
            with pytest.raises(wire.Limit, match="1 rules"):
                await backend.create_rule(RuleSpec(camera="gate", ask="?"))

    asyncio.run(main())


def test_questions_reach_the_worker(valkey):  # noqa: F811
    async def main():
        async with a_backend(valkey) as backend:
            with pytest.raises(wire.NotFound):
                await backend.ask("q_1", "gate", "?", 5)
            await backend.add_camera(GATE)
            await backend.ask("q_1", "gate", "What is there?", 5)
            await backend.cancel_ask("q_1")
            (pending,) = await backend.store.pending_asks("gate")
            assert pending == {
                "ask": "q_1", "camera": "gate", "text": "What is there?", "max_tokens": 5, "asked_ts": 1000, "cancelled": True,
            }  # fmt: skip
            with pytest.raises(wire.NotFound, match="no ask"):
                await backend.cancel_ask("q_2")

    asyncio.run(main())


def test_tokens_have_roles(valkey):  # noqa: F811
    async def main():
        async with a_backend(valkey) as backend:
            await backend.store.put_token(hash_token("t"), "operator", "wall")
            assert await backend.role_of(hash_token("t")) is Role.OPERATOR
            assert await backend.role_of(hash_token("u")) is None

    asyncio.run(main())


def test_ready_when_the_store_and_every_worker_are(valkey):  # noqa: F811
    async def main():
        async with a_backend(valkey, workers=("w0", "w1")) as backend:
            await backend.store.heartbeat("w0", {"pid": 1}, 60_000)
            found = await backend.readiness()
            assert not found.ready
            assert found.parts == {"store": "ok", "worker w0": "ok", "worker w1": "not heard of"}
            await backend.store.heartbeat("w1", {"pid": 2}, 60_000)
            assert (await backend.readiness()).ready

    asyncio.run(main())


def test_not_ready_without_any_worker_or_without_the_store(valkey):  # noqa: F811
    async def main():
        async with a_backend(valkey, settings=IMPATIENT) as backend:
            assert not (await backend.readiness()).ready
            valkey.kill()
            found = await backend.readiness()
            assert not found.ready
            assert list(found.parts) == ["store"]
            with pytest.raises(wire.Busy, match="try again"):
                await backend.list_cameras()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("away"), "busy"),
        (StoreReadOnly("replica"), "busy"),
        (StoreFull("full"), "limit"),
        (StoreReset("other"), "internal"),
    ],
)
def test_every_failure_of_the_store_has_a_wire_code(error, code):
    with pytest.raises(wire.WireError) as caught, told():
        raise error
    assert caught.value.code == code
    assert str(error) in caught.value.message


def test_a_model_that_nobody_serves_is_refused(valkey):  # noqa: F811
    """With what is served; while no worker is there, the camera waits for one; an update is judged like a new one."""
    other = msgspec.structs.replace(GATE, id="dock", model="qwen")

    async def main():
        async with a_backend(valkey) as backend:
            await backend.add_camera(other)
            await backend.store.heartbeat("w0", {"model": "tiny-random"}, ttl_ms=60_000)
            with pytest.raises(wire.Unsupported, match="'qwen', only 'tiny-random'; name one of those") as caught:
                await backend.add_camera(msgspec.structs.replace(other, id="yard"))
            assert caught.value.param == "camera.model"
            await backend.add_camera(msgspec.structs.replace(GATE, model="tiny-random"))
            with pytest.raises(wire.Unsupported):
                await backend.update_camera("gate", {"model": "qwen"})
            assert (await backend.get_camera("gate")).spec.model == "tiny-random"
            await backend.update_camera("dock", {"fps": 2})  # as unserved as it was
            await backend.store.heartbeat("w1", {"model": "qwen"}, ttl_ms=60_000)
            await backend.update_camera("gate", {"model": "qwen"})

    asyncio.run(main())


def test_a_camera_that_its_worker_could_not_carry_is_refused(valkey):  # noqa: F811
    """Going by the worker's last heartbeat, with its figures; a worker that says nothing of the kind judges itself."""
    cost = Cost(step_ms=10, cell_ms=0.5, rule_ms=0)
    busy = Capacity(
        cost=cost,
        loads=(Load(2.0, 200),) * 7,
        cells=200,
        slots=16,
        camera_bytes=1 << 20,
        max_frames=16,
        headroom=0.9,
        min_share=0.5,
    )

    async def main():
        async with a_backend(valkey) as backend:
            await backend.store.heartbeat("w0", {"cameras": 7}, ttl_ms=60_000)
            await backend.add_camera(GATE)
            await backend.store.heartbeat("w0", {"capacity": busy.as_map()}, ttl_ms=60_000)
            with pytest.raises(wire.Limit, match=r"8th camera would run at 1\.\d fps: 7 take \d+ %") as caught:
                await backend.add_camera(CameraSpec(id="dock", source="synthetic:yard", fps=30))
            assert caught.value.param == "camera.fps"
            with pytest.raises(wire.NotFound):
                await backend.get_camera("dock")
            await backend.add_camera(CameraSpec(id="dock", source="synthetic:yard", fps=1))

    asyncio.run(main())
