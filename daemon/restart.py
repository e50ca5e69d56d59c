"""
When a child process is started again, and when not. Pure: no clock, no process, its randomness passed in.

A child that ended is started again after a pause that doubles with every end, up to a bound, with jitter; once it has
run well for a while, the next end counts as the first. It is given up when trying again cannot help: it said so (exit
status EXIT_CONFIGURATION), its last words say so, or it has never once started.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import EXIT_CONFIGURATION


@dataclass(frozen=True, slots=True)
class RestartSettings:
    """
    first_s, factor, cap_s: the pauses. jitter: share of a pause that chance adds or takes away, 0 to 1.
    healthy_s: running this long forgets earlier ends. attempts: ends before the first success until it is given up.
    """

    first_s: float = 0.2
    factor: float = 2.0
    cap_s: float = 15.0
    jitter: float = 0.2
    healthy_s: float = 30.0
    attempts: int = 5


@dataclass(frozen=True, slots=True)
class Ended:
    """
    One run of a child. status: its exit status, negative the signal that killed it. ran_s: how long it ran.

    started: it became ready, or ran long enough where nothing tells. hopeless: a sentence when its last words say that
    it will never start. last_line: the last thing it said.
    """

    status: int
    ran_s: float
    started: bool
    hopeless: str | None = None
    last_line: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """Start it again after pause_s."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not start it again; `reason` is one sentence."""

    reason: str


class RestartPolicy:
    """The memory of one child: `ended` takes what happened and says what to do."""

    def __init__(self, name: str, settings: RestartSettings, random: Callable[[], float]) -> None:
        """Args: random: 0 to 1, uniform."""
        self._name = name
        self._settings = settings
        self._random = random
        self._ever_started = False
        self._failures = 0  # ends in a row without a healthy run

    def ended(self, run: Ended) -> Again | GiveUp:
        settings = self._settings
        self._ever_started = self._ever_started or run.started
        healthy = run.started and run.ran_s >= settings.healthy_s
        self._failures = 1 if healthy else self._failures + 1
        if run.hopeless is not None:
            return GiveUp(f"{self._name}: {run.hopeless}")
        if run.status == EXIT_CONFIGURATION:
            return GiveUp(f"{self._name} cannot run as configured: {run.last_line or 'it did not say why'}")
        if not self._ever_started and self._failures >= settings.attempts:
            why = f": {run.last_line}" if run.last_line else ""
            return GiveUp(f"{self._name} did not start in {self._failures} attempts ({manner(run.status)}){why}")
        pause_s = min(settings.cap_s, settings.first_s * settings.factor ** min(self._failures - 1, 64))
        return Again(pause_s * (1 + settings.jitter * (2 * self._random() - 1)))


def manner(status: int) -> str:
    """How a process ended, for people: "exit status 3", "killed by signal 9"."""
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


def shares(total_s: float, stages: int, reserve_s: float) -> list[float]:
    """
    Deadlines, in seconds from the start of a drain, for stages that stop one after another within total_s.

    Each stage may use all the time that is left but reserve_s for every stage behind it; whoever is quick gives the
    rest to the others.
    """
    return [max(0.0, total_s - reserve_s * (stages - 1 - stage)) for stage in range(stages)]
