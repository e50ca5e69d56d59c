"""
What one camera means to the outside: results in, events out.

A session is a plain state machine without I/O. It merges what the source says (connecting, live, offline, …), what the
scheduler sees (lagging) and what the picture shows (blind) into one state; it holds the camera's rules; it turns engine
results into durable events and lossy messages. The worker does what it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clients.messages import CameraSpec, RuleSpec
from streaming.admission import Load
from streaming.past import NoteSettings, Seen
from streaming.rules import Ended, Recheck, RuleState, Started, Transition
from streaming.trigger import Trigger, TriggerSettings
from streaming.types import (
    AnswerDelta,
    Ask,
    CameraState,
    Check,
    CheckResult,
    Frame,
    FrameResult,
    Image,
    Rule,
)

from .counters import Counters
from .meter import Share
from .scribe import Scribe
from .store import Draft

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """
    recheck_s: evaluate the rules at least this often on a picture that does not change.
    blind_std: a picture whose luma spread (0..255) stays below this for blind_s is blind; a covered lens or a black
        screen, never a dark scene with any contrast.
    lag_window_s, lag_on, lag_off: a camera is lagging while this share of its sampled frames is dropped unseen.
    gap_s: a hole between two processed frames is announced when it is longer than this and than two sampling periods;
        after a restart of the worker the two periods are enough.
    """

    recheck_s: float = 10.0
    blind_std: float = 2.0
    blind_s: float = 3.0
    lag_window_s: float = 10.0
    lag_on: float = 0.3
    lag_off: float = 0.1
    gap_s: float = 5.0
    trigger: TriggerSettings = field(default_factory=TriggerSettings)
    notes: NoteSettings = field(default_factory=NoteSettings)


@dataclass(frozen=True, slots=True)
class Emission:
    """
    One durable event to be emitted, in order.

    evidence: the picture to store as this event's JPEG before it is emitted.
    rule: told through `Session.delivered` when the store has acknowledged the event.
    """

    draft: Draft
    evidence: Image | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that an earlier worker left open. Times are Unix epoch ns."""

    rule: str
    alert: str
    started_ns: int
    delivered_ns: int


class Session:
    """
    One camera's state, rules and counters.

    new_id: gives a fresh id for a prefix ("e", "a", "n").
    model: the model's name, as alerts and notes carry it.
    scribe: its notes. seen: when frames came, between its gaps.
    """

    def __init__(
        self, spec: CameraSpec, *, settings: SessionSettings, model: str, new_id: Callable[[str], str]
    ) -> None:
        self.spec = spec
        self._settings = settings
        self._model = model
        self._new_id = new_id
        self._rules: dict[str, RuleState] = {}
        self._recheck = Recheck(settings.recheck_s)
        self._asked: dict[str, Rule] = {}  # what the newest check asked; a rule may change while it runs
        self._trigger = Trigger(settings.trigger)
        self.scribe = Scribe(settings.notes)
        self.seen = Seen()
        self._lag = Share(settings.lag_window_s, on=settings.lag_on, off=settings.lag_off)
        self._source = CameraState.CONNECTING
        self._reason: str | None = None
        self._blind_since_ns: int | None = None
        self._blind = False
        self._told: tuple[CameraState, str | None] | None = None
        self._last_frame: Frame | None = None
        self._last_frame_ns: int | None = None
        self._restarted = False  # an earlier worker had this camera, and no frame was seen since
        self._counters = Counters()
        self._lag_reason: str | None = None

    @property
    def state(self) -> CameraState:
        if self._source is not CameraState.LIVE:
            return self._source
        if self._blind:
            return CameraState.BLIND
        return CameraState.LAGGING if self._lag.active else CameraState.LIVE

    @property
    def load(self) -> Load:
        """What this camera is to the accelerator."""
        return self._counters.load(self.spec.fps)

    @property
    def last_frame(self) -> Frame | None:
        return self._last_frame

    # --- what the outside does to it

    def restore(self, last_frame_ns: int | None, alerts: Iterable[OpenAlert]) -> None:
        """Take up where an earlier worker stopped: the time up to which the camera was seen, and its open alerts."""
        self._last_frame_ns = last_frame_ns
        self._restarted = last_frame_ns is not None
        for alert in alerts:
            if alert.rule in self._rules:
                self._rules[alert.rule].restore(alert.alert, alert.started_ns, alert.delivered_ns)

    def orphans(self, alerts: Iterable[OpenAlert], now_ns: int) -> list[Emission]:
        """End the open alerts whose rule is gone: they were left by a worker that died before it could."""
        gone = []
        for alert in alerts:
            if alert.rule not in self._rules:
                rule = Rule(alert.rule, self.spec.id, "")
                ended = Ended(rule, alert.alert, now_ns, (now_ns - alert.started_ns) / 1e9, reason="rule deleted")
                gone.append(self._ended(ended, now_ns))
        return gone

    def set_rules(self, specs: Iterable[RuleSpec], now_ns: int) -> list[Emission]:
        """Bring the rules to these; alerts of rules that went or ask something else now end."""
        wanted = {spec.id: as_rule(spec) for spec in specs}
        at_ns = self._last_frame_ns or now_ns
        out: list[Emission] = []
        for rule_id in [known for known in self._rules if known not in wanted]:
            out += self._transition(self._rules.pop(rule_id).close(at_ns, reason="rule deleted"), now_ns)
        for rule_id, rule in wanted.items():
            state = self._rules.get(rule_id)
            if state is None:
                self._rules[rule_id] = RuleState(rule, new_alert=lambda: self._new_id("a"))
                self._recheck.hurry()
            elif state.rule != rule:
                out += self._transition(state.revise(rule, at_ns), now_ns)
                self._recheck.hurry()
        return out

    def on_status(
        self, state: CameraState, reason: str | None, now_ns: int, gap: tuple[int, int] | None = None
    ) -> list[Emission]:
        """What the capture says of its source; `gap` (from_ns, to_ns) when frames flow again after an interruption."""
        out: list[Emission] = []
        if gap is not None:
            from_ns = gap[0] if self._last_frame_ns is None else min(gap[0], self._last_frame_ns)
            reason = "worker_restart" if self._restarted else "reconnect"
            out.append(self._gap(from_ns, gap[1], reason, now_ns))
            self.seen.cut()
            self._last_frame_ns, self._restarted = gap[1], False
        self._source, self._reason = state, reason
        if state is not CameraState.LIVE:
            self._blind, self._blind_since_ns = False, None
        return out + self._tell(now_ns)

    def close(self, reason: str, now_ns: int) -> list[Emission]:
        """The camera goes for good: its alerts end."""
        at_ns = self._last_frame_ns or now_ns
        out: list[Emission] = []
        for state in self._rules.values():
            out += self._transition(state.close(at_ns, reason=reason), now_ns)
        return out

    def delivered(self, rule: str, now_ns: int) -> None:
        """The store has acknowledged this rule's `alert.started`."""
        if rule in self._rules:
            self._rules[rule].delivered(now_ns)

    # --- the way of a frame

    def check_for(self, frame: Frame, luma: tuple[float, float]) -> Check | None:
        """
        The rules to evaluate with this frame; None when there are none or the picture is blind.

        Args: luma: mean and standard deviation of the picture's luma, 0..255.
        """
        self._watch_blindness(frame.pts_ns, luma)
        self._asked = {} if self._blind else {r.id: r for r in self._enabled()}
        if not self._asked:
            return None
        return Check(
            self.spec.id,
            tuple((rule.id, rule.ask) for rule in self._asked.values()),
            only_if_changed=not self._recheck.due(frame.pts_ns),
            zones=tuple((rule.id, rule.zone) for rule in self._asked.values() if rule.zone is not None),
        )

    def on_frame(
        self, frame: Frame, result: FrameResult, checks: Mapping[str, CheckResult], now_ns: int
    ) -> tuple[list[Emission], list[dict[str, Any]]]:
        """
        Take in what the engine made of a frame.

        Args:
            checks: this camera's results of the step by rule; of a rule without one, since nothing changed of what it
                looks at, the last p stands.
        Returns: durable events, and lossy messages (`trace`, `heat`).
        """
        self._counters.frame(frame, result, len(checks), now_ns)
        self._lag.add(now_ns, good=1, bad=frame.dropped_before)
        out = self._gap_before(frame, now_ns)
        self._last_frame, self._last_frame_ns = frame, frame.pts_ns
        # a key frame that was due says nothing about what changed
        lossy = self._watch_change(frame, result) if result.paired and not result.key else []
        if result.paired:
            self.scribe.shown(frame)
        checks = {rule: found for rule, found in checks.items() if self._still_asks(rule)}
        if checks and all(rule.id in checks for rule in self._enabled()):  # not where a zone saw nothing new
            self._recheck.done(frame.pts_ns)
        for state in self._rules.values():
            fresh = checks.get(state.rule.id)
            p = None if self._blind else fresh.p if fresh else state.p
            out += self._transition(state.observe(p, frame.pts_ns, now_ns), now_ns)
            if fresh and p is not None:
                lossy.append({
                    "topic": "trace",
                    "camera": self.spec.id,
                    "rule": state.rule.id,
                    "p": p,
                    "frame_ts": frame.pts_ns // MS,
                })  # fmt: skip
        return out + self._tell(now_ns), lossy

    def forget_picture(self) -> None:
        """What was seen last is not to be shown again."""
        self._last_frame = None

    def on_rejected(self, reason: str, now_ns: int) -> list[Emission]:
        """The engine could not use a frame; the camera goes on with the next one."""
        self._counters.rejected += 1
        self._reason = reason
        return self._tell(now_ns)

    # --- notes

    def note_due(self, now_ns: int) -> Ask | None:
        """The question whose answer is a note, where one is due at the newest frame; nothing is noted while blind."""
        if not self.spec.notes or self._blind:
            return None
        return self.scribe.due(self.spec.id, self._new_id("n"), now_ns)

    def on_note(self, delta: AnswerDelta, text: str, now_ns: int) -> list[Emission]:
        """Take in the end of that question; a note is emitted where something was said and notes are still wanted."""
        written = self.scribe.written(delta, text, now_ns)
        if written is None or not self.spec.notes:
            return []
        data, image = written
        self._counters.notes += 1
        return [self._draft("note", data | {"model": self._model}, now_ns, evidence=image)]

    # --- numbers

    def counters(self, now_ns: int) -> dict[str, Any]:
        """Everything `stats` and `camera.get` show, as plain numbers; times are Unix epoch ms."""
        return self._counters.as_map(now_ns) | {
            "rules": len(self._rules),
            "last_frame_ts": None if self._last_frame_ns is None else self._last_frame_ns // MS,
        }

    # --- private

    def _enabled(self) -> list[Rule]:
        return [state.rule for state in self._rules.values() if state.rule.enabled]

    def _still_asks(self, rule_id: str) -> bool:
        """Whether the rule that was checked asks the same of the same part of the picture now."""
        state, asked = self._rules.get(rule_id), self._asked.get(rule_id)
        return state is not None and asked is not None and state.rule.enabled and state.rule.asks_like(asked)

    def _gap_before(self, frame: Frame, now_ns: int) -> list[Emission]:
        """The hole between this frame and the one before, where it is one."""
        restarted, self._restarted = self._restarted, False
        periods_s = 2 / self.spec.fps
        shortest_s = periods_s if restarted else max(periods_s, self._settings.gap_s)
        if self._last_frame_ns is None or frame.pts_ns - self._last_frame_ns <= shortest_s * 1e9:
            self.seen.add(frame.pts_ns)
            return []
        self.seen.cut()
        self.seen.add(frame.pts_ns)
        reason = "worker_restart" if restarted else "overload"
        return [self._gap(self._last_frame_ns, frame.pts_ns, reason, now_ns)]

    def _watch_change(self, frame: Frame, result: FrameResult) -> list[dict[str, Any]]:
        signal = self._trigger.observe(result.tokens_kept, result.tokens_in, frame.pts_ns)
        self._counters.signal(signal)
        self.scribe.heard(signal)
        heat = {"topic": "heat", "camera": self.spec.id, "frame_ts": frame.pts_ns // MS}
        return [heat | {"hw": list(result.hw), "kept": result.kept}]

    def _watch_blindness(self, frame_ns: int, luma: tuple[float, float]) -> None:
        if luma[1] >= self._settings.blind_std:
            if self._blind:
                self._recheck.hurry()  # no p stands, and what a rule looks at may be as it was before
            self._blind, self._blind_since_ns = False, None
            return
        if self._blind_since_ns is None:
            self._blind_since_ns = frame_ns
        self._blind = frame_ns - self._blind_since_ns >= self._settings.blind_s * 1e9

    def _tell(self, now_ns: int) -> list[Emission]:
        """A `camera.state` event if the state or its reason is not the one last told."""
        state, reason = self.state, self._reason
        if state is CameraState.BLIND:
            reason = "the picture has no contrast: covered lens, no light or no signal"
        elif state is CameraState.LAGGING:
            reason = self._lagging()
        else:
            self._lag_reason = None
        if self._told == (state, reason):
            return []
        self._told = (state, reason)
        last = None if self._last_frame_ns is None else self._last_frame_ns // MS
        return [self._draft("camera.state", {"state": str(state), "reason": reason, "last_frame_ts": last}, now_ns)]

    def _lagging(self) -> str:
        """The figures as they were when it began, so that one lag is told once."""
        if self._lag_reason is None:
            seen = self.spec.fps * (1 - self._lag.share)
            self._lag_reason = (
                f"the engine is slower than its cameras: {seen:.1f} of {self.spec.fps:g} frames a second are seen"
            )
        return self._lag_reason

    def _gap(self, from_ns: int, to_ns: int, reason: str, now_ns: int) -> Emission:
        return self._draft("gap", {"from": from_ns // MS, "to": to_ns // MS, "reason": reason}, now_ns)

    def _transition(self, change: Transition | None, now_ns: int) -> list[Emission]:
        match change:
            case None:
                return []
            case Started():
                return [self._started(change, now_ns)]
            case Ended():
                return [self._ended(change, now_ns)]

    def _started(self, change: Started, now_ns: int) -> Emission:
        frame = self._last_frame
        data: dict[str, Any] = {
            "rule": change.rule.id,
            "alert": change.alert,
            "p": round(change.p, 6),
            "frame_ts": change.frame_ns // MS,
            "age_ms": max(0, now_ns - change.frame_ns) // MS,
            "model": self._model,
            "dropped_frames": frame.dropped_before if frame else 0,
        }
        if change.rule.say:
            data["text"] = change.rule.say
        image = frame.image if frame else None
        dedup = f"started:{change.alert}"
        return self._draft("alert.started", data, now_ns, dedup=dedup, evidence=image, rule=change.rule.id)

    def _ended(self, change: Ended, now_ns: int) -> Emission:
        data: dict[str, Any] = {
            "rule": change.rule.id,
            "alert": change.alert,
            "duration_s": round(change.duration_s, 3),
            "frame_ts": change.frame_ns // MS,
            "age_ms": max(0, now_ns - change.frame_ns) // MS,
        }
        if change.p is not None:
            data["p"] = round(change.p, 6)
        if change.reason is not None:
            data["reason"] = change.reason
        return self._draft("alert.ended", data, now_ns, dedup=f"ended:{change.alert}")

    def _draft(
        self,
        kind: str,
        data: dict[str, Any],
        now_ns: int,
        *,
        dedup: str | None = None,
        evidence: Image | None = None,
        rule: str | None = None,
    ) -> Emission:
        event_id = self._new_id("e")
        draft = Draft(kind=kind, camera=self.spec.id, data=data, dedup=dedup or event_id, id=event_id, ts=now_ns // MS)
        return Emission(draft, evidence, rule)


def as_rule(spec: RuleSpec) -> Rule:
    """The rule as `streaming` knows it."""
    return Rule(
        spec.id,
        spec.camera,
        spec.ask,
        spec.on,
        spec.off,
        spec.hold_s,
        spec.cooldown_s,
        spec.zone,
        spec.say,
        spec.enabled,
    )
