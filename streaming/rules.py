"""
When a rule speaks: probabilities in, at most one open alert out.

Pure state machines on frame time. A rule is *idle*, *rising* (p >= on, not yet for hold_s), *alerting*, or *falling*
(p <= off, not yet for hold_s). Between `off` and `on` nothing moves: that is the hysteresis. An unknown p moves nothing
either; "unknown" is not "no".
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from .types import Rule

NS = 1_000_000_000


class Phase(enum.Enum):
    IDLE = enum.auto()
    RISING = enum.auto()
    ALERTING = enum.auto()
    FALLING = enum.auto()


@dataclass(frozen=True, slots=True)
class Started:
    """An alert begins. p and frame_ns belong to the frame that decided."""

    rule: Rule
    alert: str
    p: float
    frame_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An alert is over; duration_s in frame time. reason: why, when it was not the picture that ended it."""

    rule: Rule
    alert: str
    frame_ns: int
    duration_s: float
    p: float | None = None
    reason: str | None = None


Transition = Started | Ended


class RuleState:
    """
    The life of one rule.

    new_alert: gives a fresh alert id; passed in, so that tests and replays are deterministic.
    """

    __slots__ = ("_alert", "_cooldown_from_ns", "_new_alert", "_phase", "_since_ns", "_started_ns", "p", "rule")

    def __init__(self, rule: Rule, *, new_alert: Callable[[], str]) -> None:
        self.rule = rule
        self.p: float | None = None
        self._new_alert = new_alert
        self._phase = Phase.IDLE
        self._since_ns = 0  # when the phase RISING or FALLING began
        self._alert: str | None = None
        self._started_ns = 0
        self._cooldown_from_ns: int | None = None

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def alert(self) -> str | None:
        """The open alert."""
        return self._alert

    def restore(self, alert: str, started_ns: int, delivered_ns: int) -> None:
        """Take up an alert that an earlier worker left open."""
        self._phase, self._alert, self._started_ns = Phase.ALERTING, alert, started_ns
        self._cooldown_from_ns = delivered_ns

    def delivered(self, at_ns: int) -> None:
        """The store has acknowledged this rule's `alert.started`: the cooldown counts from here (Unix epoch ns)."""
        self._cooldown_from_ns = at_ns

    def observe(self, p: float | None, frame_ns: int, now_ns: int) -> Transition | None:
        """
        Take in the probability at one frame.

        Args:
            p: None when it is unknown.
            frame_ns: time of the frame that p belongs to; frames older than one already seen count as that one.
            now_ns: the wall clock, for the cooldown.
        Returns: what begins or ends at this frame, if anything.
        """
        self.p = p
        if p is None or not self.rule.enabled:
            return None
        if self._phase in {Phase.IDLE, Phase.RISING}:
            return self._while_quiet(p, frame_ns, now_ns)
        return self._while_alerting(p, frame_ns)

    def revise(self, rule: Rule, frame_ns: int) -> Ended | None:
        """
        Go on with a changed rule.

        Another question or part of the picture, or a disabled rule, ends the open alert, since nobody would see its end
        otherwise, and its p is unknown; other thresholds only move the thresholds.
        """
        old, self.rule = self.rule, rule
        if rule.enabled and rule.asks_like(old):
            return None
        self.p = None
        ended = self.close(frame_ns, reason="disabled" if not rule.enabled else "rule changed")
        self.p = None
        return replace(ended, rule=rule) if ended else None

    def close(self, frame_ns: int, *, reason: str) -> Ended | None:
        """End the open alert, if there is one, because the rule or the camera goes."""
        self._phase = Phase.IDLE
        if self._alert is None:
            return None
        return self._end(self._alert, frame_ns, None, reason)

    def _while_quiet(self, p: float, frame_ns: int, now_ns: int) -> Started | None:
        if p < self.rule.on:
            self._phase = Phase.IDLE
            return None
        if self._phase is Phase.IDLE:
            self._phase, self._since_ns = Phase.RISING, frame_ns
        held_ns = frame_ns - self._since_ns
        if held_ns < self.rule.hold_s * NS or self._cooling(now_ns):
            return None
        self._phase, self._alert, self._started_ns = Phase.ALERTING, self._new_alert(), frame_ns
        return Started(self.rule, self._alert, p, frame_ns)

    def _while_alerting(self, p: float, frame_ns: int) -> Ended | None:
        assert self._alert is not None, "a rule that alerts has an alert"
        if p > self.rule.off:
            self._phase = Phase.ALERTING
            return None
        if self._phase is Phase.ALERTING:
            self._phase, self._since_ns = Phase.FALLING, frame_ns
        if frame_ns - self._since_ns < self.rule.hold_s * NS:
            return None
        self._phase = Phase.IDLE
        return self._end(self._alert, frame_ns, p, None)

    def _end(self, alert: str, frame_ns: int, p: float | None, reason: str | None) -> Ended:
        self._alert = None
        duration_s = max(0, frame_ns - self._started_ns) / NS
        return Ended(self.rule, alert, frame_ns, duration_s, p, reason)

    def _cooling(self, now_ns: int) -> bool:
        if self._cooldown_from_ns is None:
            return False
        return now_ns - self._cooldown_from_ns < self.rule.cooldown_s * NS


class Recheck:
    """
    When a camera's rules must be evaluated although its memory did not change: every `recheck_s`, and at once after a
    rule came or changed. On every other frame the rules are evaluated only if the frame left tokens in memory.
    """

    __slots__ = ("_due_ns", "_recheck_ns")

    def __init__(self, recheck_s: float) -> None:
        self._recheck_ns = int(recheck_s * NS)
        self._due_ns: int | None = None

    def due(self, frame_ns: int) -> bool:
        return self._due_ns is None or frame_ns >= self._due_ns

    def done(self, frame_ns: int) -> None:
        self._due_ns = frame_ns + self._recheck_ns

    def hurry(self) -> None:
        self._due_ns = None
