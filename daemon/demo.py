"""
`vigild demo`: the whole daemon on a synthetic camera, shown in a minute, with every part real.

The stand-in model `tiny-random` has random weights: its p moves with the picture but means nothing. So the demo says
so, watches p for some seconds and places the rule's thresholds among the values it saw; after that the path is the real
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from clients.messages import CameraSpec, RuleSpec
from clients.sdk import Answer, Vigil, connect

from .bench.form import quantile
from .children import child_specs, with_free_port
from .commands.telling import style, tell
from .commands.terminal import CommandError, Terminal
from .config import Config, load
from .observe import set_up_logging
from .supervisor import serve

CAMERA: Final = "yard"
SOURCE: Final = "synthetic:yard"
FPS: Final = 4.0
RULE: Final = "Is somebody in the yard?"
QUESTION: Final = "What is going on in the yard?"
STAND_IN: Final = "tiny-random"
ENOUGH_ALERTS: Final = 3
LEAST_VALUES: Final = 24
LOG_LINES: Final = 40


@dataclass(slots=True)
class Shown:
    """What there was to see."""

    kinds: Counter[str] = field(default_factory=Counter)
    answer: Answer | None = None
    first_alert_s: float | None = None

    @property
    def enough(self) -> bool:
        return self.kinds["alert.started"] >= ENOUGH_ALERTS and self.answer is not None

    @property
    def lacking(self) -> str | None:
        """What should have come and did not."""
        lacks = [] if self.kinds["alert.started"] else ["alert"]
        lacks += [] if self.answer is not None else ["answer"]
        return " and no ".join(lacks) or None


def run(terminal: Terminal, *, seconds: float, stay: bool, model: str, port: int) -> None:
    """
    Show it and end; with `stay`, go on until Ctrl-C. Blocks.

    Args: seconds: what the show may take, counted from the moment the camera is live.
    Raises: CommandError: no alert or no answer came. DaemonError: the daemon did not start.
    """
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        flags = {"data.dir": folder, "gateway.port": port, "model.name": model}
        config = with_free_port(load("demo", flags=flags))
        set_up_logging(level=config.log.level, process="demo")
        asyncio.run(show(config, terminal, seconds=seconds, stay=stay))


async def show(config: Config, terminal: Terminal, *, seconds: float, stay: bool) -> None:
    """Run the daemon in here, its children below us, and a client of it."""
    started, stop, ready = time.monotonic(), asyncio.Event(), asyncio.Event()
    log: deque[str] = deque(maxlen=LOG_LINES)
    terminal.say(f"vigild demo: a daemon in {config.data_dir}, on {config.url}, model {config.model.name}")
    daemon = asyncio.create_task(
        serve(
            child_specs(config),
            data_dir=config.data_dir,
            stop=stop,
            sink=lambda child, line: log.append(f"{child} | {line}"),
            on_ready=ready.set,
        )
    )
    client = asyncio.create_task(watch(config, terminal, ready, seconds=seconds, stay=stay, started=started))
    try:
        await asyncio.wait({daemon, client}, return_when=asyncio.FIRST_COMPLETED)
        if not client.done():  # Ctrl-C, or the daemon gave up
            client.cancel()
            await asyncio.gather(client, return_exceptions=True)
            return
        shown = client.result()
    except BaseException:
        sys.stderr.write("".join(f"{line}\n" for line in log))
        raise
    finally:
        stop.set()
        await daemon
    conclude(shown, terminal)


async def watch(
    config: Config, terminal: Terminal, ready: asyncio.Event, *, seconds: float, stay: bool, started: float
) -> Shown:
    """The client's side of the show."""
    await ready.wait()
    shown = Shown()
    async with connect(config.url) as vigil:
        await vigil.add_camera(CameraSpec(id=CAMERA, source=SOURCE, fps=FPS))
        rule = await vigil.create_rule(RuleSpec(camera=CAMERA, ask=RULE, hold_s=0, cooldown_s=1))
        terminal.say(f'a camera {SOURCE} and a rule: "{RULE}"; the model is loading …')
        topics = ("camera", "alert", "gap", "trace", "answer")
        async with contextlib.aclosing(vigil.messages(topics, after=0)) as messages, asyncio.TaskGroup() as group:
            asking: asyncio.Task[None] | None = None
            values: list[float] | None = [] if config.model.name == STAND_IN else None
            give_up_at: float | None = None
            while not shown.enough or stay:
                left_s = None if give_up_at is None or stay else give_up_at - time.monotonic()
                try:
                    message = await asyncio.wait_for(anext(messages), left_s)
                except TimeoutError:
                    break
                kind = message["type"]
                shown.kinds[kind] += 1
                if kind == "trace":
                    if values is not None and message.get("rule") == rule.id:
                        values.append(message["p"])
                        if ripe(values):
                            await place_thresholds(vigil, rule, values, terminal)
                            values = None
                    continue
                if kind == "alert.started" and values is not None:
                    continue  # the thresholds are not placed yet
                tell_all(terminal, message)
                if kind == "camera.state" and message["state"] == "live" and give_up_at is None:
                    give_up_at = time.monotonic() + seconds
                    if values is not None:
                        terminal.say(
                            f"{STAND_IN} has random weights: its p moves with the picture and means nothing. "
                            "Watching it for some seconds to place the thresholds among its values …",
                            style="yellow",
                        )
                if kind == "alert.started" and shown.first_alert_s is None:
                    shown.first_alert_s = time.monotonic() - started
                if kind == "alert.started" and asking is None:
                    asking = group.create_task(question(vigil, terminal, shown))
            if asking is not None and shown.answer is None:
                asking.cancel()
        await report(vigil, terminal, shown)
    return shown


def ripe(values: Sequence[float]) -> bool:
    """Are these enough values of p, and do they differ, to place two thresholds among them."""
    return len(values) >= LEAST_VALUES and quantile(values, 0.7) - quantile(values, 0.3) > 1e-6


async def place_thresholds(vigil: Vigil, rule: RuleSpec, values: Sequence[float], terminal: Terminal) -> None:
    on, off = quantile(values, 0.7), quantile(values, 0.3)
    await vigil.update_rule(rule.id, on=on, off=off)
    low, high = min(values), max(values)
    terminal.say(f"p was {low:.4f} to {high:.4f}; alert from {on:.4f}, over at {off:.4f}", style="yellow")


async def question(vigil: Vigil, terminal: Terminal, shown: Shown) -> None:
    """Ask one question and show its answer as it comes."""
    asking = await vigil.ask(CAMERA, QUESTION, max_tokens=24)
    terminal.say(f"asked: {QUESTION}", style="bold")
    pieces = [piece async for piece in asking]
    shown.answer = await asking.answer()
    ttft_ms = shown.answer.usage.get("ttft_ms")
    terminal.say(f"answered in {len(pieces)} pieces, the first after {ttft_ms} ms: {shown.answer.text}", style="bold")


def tell_all(terminal: Terminal, message: dict[str, Any]) -> None:
    if terminal.json:
        terminal.item(message)
    terminal.say(tell(message), style=style(message))


async def report(vigil: Vigil, terminal: Terminal, shown: Shown) -> None:
    """The figures of the camera, as anyone can ask for them."""
    view = await vigil.camera(CAMERA)
    counters = view.counters
    summary = {
        "alerts": shown.kinds["alert.started"],
        "answers": int(shown.answer is not None),
        "first_alert_s": None if shown.first_alert_s is None else round(shown.first_alert_s, 1),
        "frames": counters.get("frames"),
        "drop_ratio": counters.get("drop_ratio"),
        "p95_ms": counters.get("p95_ms"),
        "kv_tokens": counters.get("kv_tokens"),
    }
    if terminal.json:
        terminal.item({"type": "demo", **summary})
    terminal.say("  ".join(f"{name} {value}" for name, value in summary.items()), style="bold green")


def conclude(shown: Shown, terminal: Terminal) -> None:
    """Raises CommandError when what was to be shown did not come."""
    if shown.lacking:
        raise CommandError(f"the demo saw no {shown.lacking} in time")
    terminal.say("that was vigild; run your own with: vigild serve")
