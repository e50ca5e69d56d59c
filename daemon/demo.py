"""
`vigild demo`: the whole daemon on a synthetic camera, shown in a minute, with every part real.

What is shown depends on the model (see programme.py). The stand-in `tiny-random` has random weights: its p moves with
the picture but means nothing. So the demo says so, watches p for some seconds and places the rule's thresholds among
the values it saw; after that the path is the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from clients.messages import RuleSpec
from clients.sdk import Answer, Vigil, connect

from .bench.form import quantile
from .children import child_specs, with_free_port
from .commands.progress import Bars, heard
from .commands.telling import style, tell
from .commands.terminal import CommandError, Terminal
from .config import Config, load
from .observe import set_up_logging
from .programme import CAMERA, Act, Shown, programme
from .supervisor import serve

TOPICS: Final = ("camera", "alert", "gap", "trace")
BLIND_BUDGET: Final = 256  # tokens: a memory of seconds, so that a random p follows the picture and not its history
LOG_LINES: Final = 40


class Thresholds:
    """
    Where to put a rule's thresholds so that p crosses them, from p itself. Pure.

    `take` gives (on, off) once there is enough to place them by, and again when p has not crossed for a while: with
    random weights it drifts as the memory fills.
    """

    WINDOW: Final = 12
    HIGH: Final = 0.6
    LOW: Final = 0.4

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=self.WINDOW)
        self._since = 0

    def crossed(self) -> None:
        """An alert began or ended: the thresholds are well placed."""
        self._since = 0

    def take(self, p: float) -> tuple[float, float] | None:
        self._values.append(p)
        self._since += 1
        if self._since < self.WINDOW:
            return None
        on, off = quantile(self._values, self.HIGH), quantile(self._values, self.LOW)
        if on - off < 1e-6:  # a still picture; wait until it moves
            return None
        self._since = 0
        return on, off


def run(terminal: Terminal, *, seconds: float, stay: bool, model: str, port: int) -> None:
    """
    Show it and end; with `stay`, go on until Ctrl-C. Blocks.

    Args: seconds: what the show may take, counted from the moment the camera is live.
    Raises: CommandError: no alert or no answer came. DaemonError: the daemon did not start.
    """
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        flags = {"data.dir": folder, "gateway.port": port, "model.name": model}
        if programme(model).blind:
            flags["camera.budget_tokens"] = BLIND_BUDGET
        config = with_free_port(load("demo", flags=flags))
        set_up_logging(level=config.log.level, process="demo")
        with Bars() as bars:
            asyncio.run(Demo(config, terminal, bars, seconds=seconds, stay=stay).run())


class Demo:
    """A daemon below this process, and a client of it."""

    def __init__(self, config: Config, terminal: Terminal, bars: Bars, *, seconds: float, stay: bool) -> None:
        self._bars = bars
        self._config = config
        self._terminal = terminal
        self._seconds = seconds
        self._stay = stay
        self._started = time.monotonic()
        self._wanted = programme(config.model.name)
        self._shown = Shown()
        self._rules: dict[str, RuleSpec] = {}
        self._acts: dict[str, Act] = {}  # by the rule's id
        self._thresholds: dict[str, Thresholds] = {}  # of a blind model, by the rule's id
        self._placed: set[str] = set()
        self._asked: set[str] = set()
        self._speaking = asyncio.Lock()  # an alert does not break into an answer

    async def run(self) -> None:
        """The whole show. Raises CommandError: something that should have been seen was not; DaemonError."""
        stop, ready = asyncio.Event(), asyncio.Event()
        log: deque[str] = deque(maxlen=LOG_LINES)
        self._terminal.say(f"a daemon on {self._config.url}, data in {self._config.data_dir}", style="dim")

        def keep(child: str, line: str) -> None:
            if heard(line) is None:
                log.append(f"{child} | {line}")
            else:
                self._bars.sink(child, line)

        daemon = asyncio.create_task(
            serve(
                child_specs(self._config),
                data_dir=self._config.data_dir,
                stop=stop,
                sink=keep,
                on_ready=ready.set,
            )
        )
        client = asyncio.create_task(self._watch(ready))
        try:
            await asyncio.wait({daemon, client}, return_when=asyncio.FIRST_COMPLETED)
            if client.done():
                client.result()
        finally:  # the client ended, or the daemon did: Ctrl-C, or it gave up
            client.cancel()
            await asyncio.gather(client, return_exceptions=True)
            stop.set()
            await daemon
        if self._shown.lacking:
            sys.stderr.write("".join(f"{line}\n" for line in log))
            raise CommandError(f"the demo saw no {self._shown.lacking} in time")
        self._terminal.say("that was vigild; run your own with: vigild serve")

    async def _watch(self, ready: asyncio.Event) -> None:
        """Add the camera and the rules, follow what happens, ask; until enough was seen or the time is over."""
        await ready.wait()
        async with connect(self._config.url) as vigil, asyncio.TaskGroup() as group:
            await vigil.add_camera(CAMERA)
            for act in self._wanted.acts:
                rule = await vigil.create_rule(act.rule)
                self._rules[rule.id], self._acts[rule.id] = rule, act
                if self._wanted.blind:
                    self._thresholds[rule.id] = Thresholds()
            asked = ", ".join(f'"{act.ask}"' for act in self._wanted.acts)
            self._terminal.say(f"camera {CAMERA.source}, rules {asked}; the model is loading …", style="dim")
            asking: list[asyncio.Task[None]] = []
            async with contextlib.aclosing(vigil.messages(TOPICS, after=0)) as messages:
                while not self._over:
                    try:
                        message = await asyncio.wait_for(anext(messages), self._left_s)
                    except TimeoutError:
                        break
                    questions = await self._take(vigil, message)
                    asking += [group.create_task(self._ask(vigil, question)) for question in questions]
            for task in asking:
                task.cancel()
            await self._report(vigil)

    @property
    def _over(self) -> bool:
        return self._shown.enough(self._wanted) and not self._stay

    @property
    def _left_s(self) -> float | None:
        """Until the show is over for want of time; None while the model loads, and with `stay`."""
        if self._stay or self._shown.live_s is None:
            return None
        return max(0.0, self._shown.live_s + self._seconds - self._now_s())

    def _now_s(self) -> float:
        return time.monotonic() - self._started

    async def _take(self, vigil: Vigil, message: Mapping[str, Any]) -> list[str]:
        """Show what came; returns what is to be asked now."""
        kind, shown, rule = message["type"], self._shown, str(message.get("rule"))
        if kind == "lagged":  # values of p that nobody waited for
            return []
        if kind == "trace":
            if rule in self._thresholds and (placed := self._thresholds[rule].take(message["p"])) is not None:
                await self._place(vigil, self._rules[rule], *placed)
            return []
        if kind.startswith("alert.") and rule in self._thresholds:
            if rule not in self._placed:
                return []  # the default thresholds mean nothing to random weights
            self._thresholds[rule].crossed()
        async with self._speaking:
            if self._terminal.json:
                self._terminal.item(message)
            named = {"rule": self._rules[rule].ask} if rule in self._rules else {}
            self._terminal.say(tell({**message, **named}), style=style(message))
        if kind == "alert.started":
            shown.alerts[self._acts[rule].ask] += 1
            shown.first_alert_s = shown.first_alert_s or self._now_s()
            return self._next(self._acts[rule].at_start)
        if kind == "alert.ended":
            return self._next(self._acts[rule].at_end)
        if kind == "camera.state" and message["state"] == "live" and shown.live_s is None:
            shown.live_s = self._now_s()
            if self._wanted.blind:
                self._terminal.say(
                    f"{self._config.model.name} has random weights: its p moves with the picture and means nothing. "
                    "The demo watches p for some seconds and places the thresholds among its values.",
                    style="yellow",
                )
        return []

    def _next(self, questions: tuple[str, ...]) -> list[str]:
        """Those not asked yet; of a blind model one at a time, as long as no answer has words."""
        new = [question for question in questions if question not in self._asked]
        if self._wanted.blind:
            new = [] if self._shown.answers else new[:1]
        self._asked.update(new)
        return new

    async def _place(self, vigil: Vigil, rule: RuleSpec, on: float, off: float) -> None:
        await vigil.update_rule(rule.id, on=on, off=off)
        self._placed.add(rule.id)
        self._terminal.say(f"thresholds: an alert begins at p {on:.3f} and ends at {off:.3f}", style="yellow")

    async def _ask(self, vigil: Vigil, question: str) -> None:
        """Ask and show the answer. Random weights may end one before its first word: then the next alert asks again."""
        async with self._speaking:
            self._terminal.say(f"asked: {question}", style="bold")
            asking = await vigil.ask(CAMERA.id, question, max_tokens=24)
            said = ""
            async for piece in asking:
                self._terminal.piece(piece)
                said += piece
            answer = await asking.answer()
            self._terminal.piece(answer.text.removeprefix(said) + "\n")  # pieces are lossy, the answer is not
            if answer.text.strip():
                self._shown.answers.append(answer)
                self._conclude(question, answer)

    def _conclude(self, question: str, answer: Answer) -> None:
        if self._terminal.json:
            told = {"ask": answer.ask, "question": question, "text": answer.text, "usage": answer.usage}
            self._terminal.item({"type": "answer.done", **told})
        first, tokens = answer.usage.get("ttft_ms"), answer.usage.get("output_tokens")
        self._terminal.say(f"{tokens} tokens, the first after {first} ms", style="dim")

    async def _report(self, vigil: Vigil) -> None:
        """The figures of the show and, as anyone can ask for them, of the camera."""
        counters = (await vigil.camera(CAMERA.id)).counters
        shown = self._shown
        summary = {
            "alerts": shown.alerts.total(),
            "answers": len(shown.answers),
            "live_after_s": None if shown.live_s is None else round(shown.live_s, 1),
            "first_alert_after_s": None if shown.first_alert_s is None else round(shown.first_alert_s, 1),
            "frames": counters.get("frames"),
            "drop_ratio": counters.get("drop_ratio"),
            "p95_ms": counters.get("p95_ms"),
            "memory_tokens": counters.get("kv_tokens"),
        }
        if self._terminal.json:
            self._terminal.item({"type": "demo", **summary})
        for ask in shown.silent(self._wanted):
            self._terminal.say(f'no alert for "{ask}" in time', style="yellow")
        self._terminal.say("  ".join(f"{name} {value}" for name, value in summary.items()), style="bold green")
