"""A real gateway over a real store, in a thread of its own, where a synchronous test plays the worker."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgpack
from PIL import Image

from clients.messages import CameraSpec, Event, RuleSpec
from daemon.gateway import GatewayConfig, run_gateway
from daemon.store import Draft, Store, new_event_id

Result = TypeVar("Result")
PATIENCE_S = 20.0


class Stage:
    """`url` serves the console and /v1/ws. Every method blocks until it is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store, store_url: str, data_dir: Path) -> None:
        self.store = store
        self.config = GatewayConfig(port=0, go_away_s=0.05)
        self._loop = loop
        self._store_url = store_url
        self._data_dir = data_dir
        self._stop: asyncio.Event | None = None
        self._gateway: Future[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.config.port}/"

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    # the gateway

    def open(self, **changes: Any) -> None:
        """Start the gateway; after the first time on the same port."""
        self.config = replace(self.config, **changes)
        self._stop = asyncio.Event()
        port: Future[int] = Future()
        self._gateway = asyncio.run_coroutine_threadsafe(
            run_gateway(self.config, self._store_url, self._data_dir, self._stop, on_listening=port.set_result),
            self._loop,
        )
        self._gateway.add_done_callback(
            lambda ended: port.done() or port.set_exception(ended.exception() or EOFError())
        )
        self.config = replace(self.config, port=port.result(PATIENCE_S))

    def close(self) -> None:
        """End the gateway as SIGTERM does."""
        if self._gateway is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            gateway, self._gateway = self._gateway, None
            gateway.result(PATIENCE_S)

    # the worker's part

    def camera(
        self, camera: str, source: str = "synthetic:yard", state: str = "live", reason: str | None = None
    ) -> None:
        self.run(self.store.put_camera(CameraSpec(id=camera, source=source)))
        self.emit("camera.state", camera, state=state, reason=reason, last_frame_ts=None)

    def rule(self, rule: str, camera: str, ask: str, **fields: Any) -> None:
        self.run(self.store.put_rule(RuleSpec(id=rule, camera=camera, ask=ask, **fields)))

    def emit(self, kind: str, camera: str, **data: Any) -> Event:
        event = new_event_id()
        return self.run(self.store.emit(Draft(kind, camera, data, dedup=event, id=event, ts=now_ms())))

    def alert(self, camera: str, rule: str, alert: str, *, p: float = 0.93) -> Event:
        """An alert with its evidence, as the worker starts one."""
        return self.emit(
            "alert.started",
            camera,
            rule=rule,
            alert=alert,
            p=p,
            frame_ts=now_ms() - 200,
            age_ms=200,
            evidence=self.evidence(f"e_{alert}", (200, 40, 30)),
            model="tiny-random",
            dropped_frames=0,
        )

    def evidence(self, event: str, colour: tuple[int, int, int]) -> dict[str, str]:
        """A stored picture, as an event names it."""
        folder = self._data_dir / "evidence"
        folder.mkdir(exist_ok=True)
        (folder / f"{event}.jpg").write_bytes(jpeg(colour))
        return {"jpg": f"/v1/evidence/{event}.jpg"}

    def tell(self, topic: str, **fields: Any) -> None:
        """A message on the lossy channel."""
        self.run(self.store.publish(msgpack.packb({"topic": topic} | fields)))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (160, 90)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


@contextmanager
def stage(store_url: str, data_dir: Path) -> Iterator[Stage]:
    """The loop and the store connection; `open()` starts the gateway."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stage")
    thread.start()
    try:
        store = asyncio.run_coroutine_threadsafe(Store.connect(store_url, owner="w0"), loop).result(PATIENCE_S)
        here = Stage(loop, store, store_url, data_dir)
        try:
            yield here
        finally:
            here.close()
            here.run(store.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()
