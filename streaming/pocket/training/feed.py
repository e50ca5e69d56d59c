"""Batches made ahead in a thread, so that drawing and computing overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(made: Iterator[T], *, depth: int = 3) -> Generator[T]:
    """`made`, up to `depth` items early; what it raises is raised here. Ends its thread when it is closed."""
    waiting: queue.Queue[T | BaseException | None] = queue.Queue(depth)
    closing = threading.Event()

    def work() -> None:
        try:
            for item in made:
                if not _put(waiting, item, closing):
                    return
            _put(waiting, None, closing)
        except BaseException as error:  # noqa: BLE001  # handed to the reader, whatever it is
            _put(waiting, error, closing)

    thread = threading.Thread(target=work, name="pocket-feed", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closing.set()
        thread.join()


def _put(
    waiting: queue.Queue[T | BaseException | None], item: T | BaseException | None, closing: threading.Event
) -> bool:
    while not closing.is_set():
        try:
            waiting.put(item, timeout=0.2)
        except queue.Full:
            continue
        return True
    return False
