"""What a camera's results become: states, gaps, alerts; pure, on given times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection

import msgspec
import numpy as np
import pytest

from clients.messages import CameraSpec, RuleSpec
from daemon.answered import answer_draft
from daemon.session import OpenAlert, Session, SessionSettings
from streaming.types import AnswerDelta, AskStatus, CameraState, CheckResult, Frame, FrameResult

S = 1_000_000_000
MS = 1_000_000
T0 = 1_790_000_000 * S
PICTURE = np.zeros((4, 4, 3), np.uint8)
BRIGHT = (120.0, 40.0)
BLACK = (0.0, 0.0)
RULE = RuleSpec(id="r_1", camera="dock", ask="is the door open?", hold_s=0, cooldown_s=0)


class Driver:
    """Feeds a session one frame every half second."""

    def __init__(self, *rules: RuleSpec, notes: bool = False, **settings: float) -> None:
        count = itertools.count(1)
        self.session = Session(
            CameraSpec(id="dock", source="synthetic:yard", notes=notes),
            settings=SessionSettings(**settings),
            model="tiny-random",
            new_id=lambda prefix: f"{prefix}_{next(count)}",
        )
        self.events = self.session.set_rules(rules, T0)
        self.at_ns = T0
        self.seq = 0

    def live(self) -> None:
        self.events += self.session.on_status(CameraState.LIVE, None, self.at_ns)

    def frame(
        self,
        p: float | None = None,
        *,
        luma=BRIGHT,
        kept: int = 4,
        dropped: int = 0,
        step_s: float = 0.5,
        encoded: bool = True,
        key: bool = False,
        skip: Collection[str] = (),
        meanwhile: Callable[[], object] = lambda: None,
    ):
        """
        One frame, with p for every rule that the session asks to have checked; the check it asked for.

        skip: rules whose zone did not change. meanwhile: what happens while the engine works.
        """
        self.at_ns += int(step_s * S)
        frame = Frame("dock", self.seq, self.at_ns, self.at_ns, PICTURE, dropped)
        self.seq += 1
        check = self.session.check_for(frame, luma)
        results = {}
        if check is not None and p is not None and not (check.only_if_changed and kept == 0):
            asked = [rule for rule, _ in check.rules if not (check.only_if_changed and rule in skip)]
            results = {rule: CheckResult("dock", rule, p, frame.seq, frame.pts_ns) for rule in asked}
        meanwhile()
        done = FrameResult(
            "dock", frame.seq, frame.pts_ns, 16, kept, (4, 4), b"\xff\xff", 100, 1000, encoded=encoded, key=key
        )
        emissions, self.lossy = self.session.on_frame(frame, done, results, self.at_ns + 20 * MS)
        self.events += emissions
        self.noted = self.session.note_due(self.at_ns)
        return check

    def kinds(self) -> list[str]:
        return [emission.draft.kind for emission in self.events]

    def states(self) -> list[str]:
        return [e.draft.data["state"] for e in self.events if e.draft.kind == "camera.state"]


def test_an_alert_carries_what_the_wire_promises():
    """Rule, alert, p, the deciding frame with its age, the model, the drops, and the picture as evidence."""
    driver = Driver(RULE)
    driver.live()
    driver.frame(0.1)
    driver.frame(0.93, dropped=2)
    driver.frame(0.2)
    started, ended = (e for e in driver.events if e.draft.kind.startswith("alert"))
    assert started.draft.data == {
        "rule": "r_1",
        "alert": started.draft.data["alert"],
        "p": 0.93,
        "frame_ts": (T0 + S) // MS,
        "age_ms": 20,
        "model": "tiny-random",
        "dropped_frames": 2,
    }
    assert started.evidence is PICTURE
    assert started.rule == "r_1"
    assert ended.draft.data["alert"] == started.draft.data["alert"]
    assert ended.draft.data["duration_s"] == 0.5
    assert started.draft.dedup != ended.draft.dedup


def test_a_still_picture_confirms_a_hold_without_new_checks():
    """When nothing changed the last p stands, so hold_s passes although the rule is not evaluated again."""
    driver = Driver(RuleSpec(id="r_1", camera="dock", ask="x?", hold_s=1))
    driver.live()
    driver.frame(0.9)
    assert driver.frame(None, kept=0).only_if_changed
    driver.frame(None, kept=0)
    assert "alert.started" in driver.kinds()


def test_rules_are_evaluated_at_least_every_recheck_s():
    """On an unchanged picture, one unconditional check every recheck_s of frame time."""
    driver = Driver(RULE, recheck_s=5)
    checks = [driver.frame(0.1, kept=0) for _ in range(25)]
    assert [i for i, check in enumerate(checks) if not check.only_if_changed] == [0, 10, 20]


ZONE = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5))
DOOR = RuleSpec(id="r_2", camera="dock", ask="is it ajar?", hold_s=1, cooldown_s=0, zone=ZONE)


def test_a_check_names_the_zones_of_its_rules():
    check = Driver(RULE, DOOR).frame(0.1)
    assert check.zones == (("r_2", ZONE),)
    assert [rule for rule, _ in check.rules] == ["r_1", "r_2"]


def test_a_rule_whose_zone_is_still_keeps_its_p_and_is_rechecked():
    """While all the rest moves: its last p stands and its hold passes; every recheck_s it is asked with the others."""
    driver = Driver(RULE, DOOR, recheck_s=5)
    driver.live()
    driver.frame(0.9)
    checks = [driver.frame(0.1, skip={"r_2"}) for _ in range(24)]
    assert [i for i, check in enumerate(checks) if not check.only_if_changed] == [9, 19]
    driver.frame(0.1)
    assert driver.frame(0.1).only_if_changed
    started = next(event for event in driver.events if event.draft.kind == "alert.started" and event.rule == "r_2")
    assert started.draft.data["p"] == 0.9
    assert started.draft.data["frame_ts"] == (T0 + 3 * S // 2) // MS


@pytest.mark.parametrize("change", [{"ask": "is it shut?"}, {"zone": None}, {"enabled": False}])
def test_what_was_answered_to_another_question_is_no_answer(change):
    """A rule that changed has no p until it is asked, not even that of the check that ran when it changed."""
    driver = Driver(msgspec.structs.replace(DOOR, hold_s=0))
    driver.live()
    driver.frame(0.1)
    changed = msgspec.structs.replace(DOOR, hold_s=0, **change)
    driver.frame(0.9, meanwhile=lambda: driver.session.set_rules([changed], driver.at_ns))
    driver.session.set_rules([msgspec.structs.replace(changed, enabled=True)], driver.at_ns)
    driver.frame(None, kept=0)
    assert "alert.started" not in driver.kinds()
    assert not driver.frame(0.9).only_if_changed
    assert "alert.started" in driver.kinds()


def test_a_picture_that_is_back_is_looked_at_whatever_changed():
    """After blindness no p stands, so every rule is asked, also where its zone is as it was."""
    driver = Driver(DOOR, blind_s=1)
    driver.frame(0.1)
    for _ in range(4):
        driver.frame(luma=BLACK)
    assert not driver.frame(0.1).only_if_changed


def test_a_blind_camera_is_unknown_not_no():
    """After blind_s without contrast: state `blind`, no check, and an open alert stays open."""
    driver = Driver(RULE, blind_s=1)
    driver.live()
    driver.frame(0.95)
    for _ in range(4):
        check = driver.frame(0.0 if driver.session.state is not CameraState.BLIND else None, luma=BLACK, kept=0)
    assert check is None
    assert driver.states() == ["live", "blind"]
    assert driver.kinds().count("alert.ended") == 0
    driver.frame(0.1)
    assert driver.states() == ["live", "blind", "live"]
    assert driver.kinds().count("alert.ended") == 1


def test_dropped_frames_make_a_camera_lagging_and_back():
    """A third of the frames dropped unseen for a while is `lagging`; it passes when they are seen again."""
    driver = Driver()
    driver.live()
    for _ in range(12):
        driver.frame(dropped=1)
    for _ in range(40):
        driver.frame()
    assert driver.states() == ["live", "lagging", "live"]
    told = [event.draft.data for event in driver.events if event.draft.kind == "camera.state"]
    assert told[1]["reason"] == "the engine is slower than its cameras: 1.0 of 2 frames a second are seen"
    assert told[2]["reason"] is None


def test_a_state_is_told_once():
    """The same state with the same reason is not repeated."""
    driver = Driver()
    for _ in range(3):
        driver.events += driver.session.on_status(CameraState.OFFLINE, "connection refused", T0)
    assert driver.states() == ["offline"]


def test_an_interruption_is_a_gap():
    """When frames flow again after an outage, the hole is announced once."""
    driver = Driver()
    driver.live()
    driver.frame()
    before_ns = driver.at_ns
    driver.at_ns += 60 * S
    driver.events += driver.session.on_status(CameraState.LIVE, None, driver.at_ns, gap=(before_ns, driver.at_ns))
    driver.frame()
    gaps = [e.draft.data for e in driver.events if e.draft.kind == "gap"]
    assert gaps == [{"from": before_ns // MS, "to": (before_ns + 60 * S) // MS, "reason": "reconnect"}]


def test_a_slow_camera_has_no_gaps_and_a_starved_one_has():
    """One frame in ten seconds is what a camera of 0.1 fps is asked for; ten seconds at 2 fps are a hole."""
    for fps, gaps in ((0.1, 0), (2.0, 3)):
        driver = Driver()
        driver.session.spec = CameraSpec(id="dock", source="synthetic:yard", fps=fps)
        for _ in range(4):
            driver.frame(step_s=10)
        assert driver.kinds().count("gap") == gaps


def test_a_restart_announces_the_unseen_time_and_keeps_the_alert():
    """A new worker's first frame closes the hole, and the alert that the old one opened ends under its own id."""
    driver = Driver(RULE)
    driver.session.restore(T0 - 30 * S, [OpenAlert("r_1", "a_old", T0 - 60 * S, T0 - 60 * S)])
    driver.live()
    driver.frame(0.1)
    gap = next(e.draft.data for e in driver.events if e.draft.kind == "gap")
    assert (gap["from"], gap["reason"]) == ((T0 - 30 * S) // MS, "worker_restart")
    ended = next(e.draft.data for e in driver.events if e.draft.kind == "alert.ended")
    assert ended["alert"] == "a_old"


def test_orphaned_alerts_end():
    """An open alert whose rule is gone is ended by the next worker."""
    driver = Driver(RULE)
    (ended,) = driver.session.orphans([OpenAlert("r_gone", "a_1", T0, T0)], T0 + S)
    assert ended.draft.kind == "alert.ended"
    assert ended.draft.data["rule"] == "r_gone"


def test_removing_or_rewording_a_rule_ends_its_alert():
    """Both say why."""
    driver = Driver(RULE)
    driver.live()
    driver.frame(0.95)
    reworded = RuleSpec(id="r_1", camera="dock", ask="is it raining?", hold_s=0, cooldown_s=0)
    (ended,) = driver.session.set_rules([reworded], driver.at_ns)
    assert ended.draft.data["reason"] == "rule changed"
    driver.frame(0.95)
    (ended,) = driver.session.set_rules([], driver.at_ns)
    assert ended.draft.data["reason"] == "rule deleted"


def test_closing_the_camera_ends_its_alerts():
    """A removed camera leaves no alert open."""
    driver = Driver(RULE)
    driver.frame(0.95)
    (ended,) = driver.session.close("camera removed", driver.at_ns)
    assert ended.draft.data["reason"] == "camera removed"


def test_a_key_frame_that_was_due_is_no_change():
    """It is whole whatever it shows: no scene change, no heat; a frame as whole that was not due is both."""
    told = []
    for due in (True, False):
        driver = Driver(RULE)
        for _ in range(20):
            driver.frame(kept=0)
        driver.frame(kept=16, key=due)
        told.append((driver.session.counters(driver.at_ns)["changes"], len(driver.lossy)))
    assert told == [(0, 0), (1, 1)]


def test_only_encoded_frames_count_as_encoded():
    driver = Driver()
    for at in range(10):
        driver.frame(kept=0, encoded=at % 5 == 0)
    counters = driver.session.counters(driver.at_ns)
    assert counters["fps_encoded"] == pytest.approx(counters["fps_seen"] / 5, abs=0.1)


def test_lossy_messages_show_heat_and_trace():
    """One heat a frame; one trace for each evaluated rule."""
    driver = Driver(RULE)
    driver.frame(0.4)
    heat, trace = driver.lossy
    assert (heat["topic"], heat["hw"], heat["kept"]) == ("heat", [4, 4], b"\xff\xff")
    assert (trace["topic"], trace["rule"], trace["p"]) == ("trace", "r_1", 0.4)


def test_counters_add_up():
    """Tokens, drops and latency as the frames brought them."""
    driver = Driver()
    for _ in range(4):
        driver.frame(kept=4, dropped=1)
    counters = driver.session.counters(driver.at_ns)
    assert counters["frames"] == 4
    assert counters["queue_drops"] == 4
    assert counters["drop_ratio"] == 0.75
    assert counters["p50_ms"] == 20.0
    assert counters["last_frame_ts"] == driver.at_ns // MS


@pytest.mark.parametrize(
    ("delta", "status"),
    [
        (AnswerDelta("q_1", "dock", "", AskStatus.COMPLETED, T0, 100, 3, T0 - 9 * S, T0), "completed"),
        (AnswerDelta("q_1", "dock", "", AskStatus.UNKNOWN), "unknown"),
        (AnswerDelta("q_1", "dock", "", AskStatus.FAILED, reason="no"), "failed"),
    ],
)
def test_answers_say_how_fresh_they_are(delta, status):
    """Status, freshness, citations and usage; what is not known is null, never invented."""
    draft = answer_draft(delta, "A truck.", T0 + S, T0 + S + 40 * MS, T0 + 2 * S, "e_1")
    assert draft.data["status"] == status
    assert draft.dedup == "answer:q_1"
    if status == "completed":
        assert draft.data["age_ms"] == 2000
        assert draft.data["citations"] == [{"t0": (T0 - 9 * S) // MS, "t1": T0 // MS}]
        assert draft.data["usage"] == {"memory_tokens": 100, "output_tokens": 3, "ttft_ms": 40, "total_ms": 1000}
    else:
        assert draft.data["frame_ts"] is None
        assert draft.data["citations"] == []
        assert draft.data["reason"]


def test_an_answer_cites_what_was_brought_back_too() -> None:
    """Older stretches first, each as it was."""
    delta = AnswerDelta(
        "q_1", "dock", "", AskStatus.COMPLETED, T0, 100, 3, T0 - 9 * S, T0, recalled=((T0 - 90 * S, T0 - 80 * S),)
    )
    data = answer_draft(delta, "A truck.", T0 + S, T0 + S, T0 + 2 * S, "e_1").data
    assert data["citations"] == [
        {"t0": (T0 - 90 * S) // MS, "t1": (T0 - 80 * S) // MS},
        {"t0": (T0 - 9 * S) // MS, "t1": T0 // MS},
    ]


def test_an_answer_cites_only_what_was_seen() -> None:
    """A gap inside the memory's span is in no citation; a time that nothing bears out is told as doubtful."""
    driver = Driver()
    driver.live()
    for step_s in (0.5, 0.5, 60.0, 0.5):
        driver.frame(step_s=step_s)
    first_ns, last_ns = T0 + S // 2, driver.at_ns
    delta = AnswerDelta("q_1", "dock", "", AskStatus.COMPLETED, last_ns, 100, 3, first_ns, last_ns)
    data = answer_draft(delta, "It came 30 s ago.", last_ns, None, last_ns, "e_1", seen=driver.session.seen).data
    assert data["citations"] == [
        {"t0": first_ns // MS, "t1": (first_ns + S // 2) // MS},
        {"t0": (last_ns - S // 2) // MS, "t1": last_ns // MS},
    ]
    assert data["doubtful"] == ["30 s ago"]


def test_notes_are_only_asked_for_where_they_are_wanted_and_something_is_seen() -> None:
    """`notes` on the camera, a frame in memory, and no blindness; switched off, the one being written is dropped."""
    plain = Driver()
    plain.live()
    plain.frame()
    assert plain.noted is None
    blind = Driver(notes=True, blind_s=0)
    blind.live()
    blind.frame(luma=BLACK)
    assert blind.noted is None
    driver = Driver(notes=True)
    driver.live()
    driver.frame()
    ask = driver.noted
    assert ask is not None
    assert ask.background
    driver.session.scribe.begun(driver.at_ns)
    done = AnswerDelta(ask.id, "dock", "", AskStatus.COMPLETED, driver.at_ns, 100, 3)
    (emission,) = driver.session.on_note(done, "A yard.", driver.at_ns + S)
    assert emission.draft.kind == "note"
    assert emission.draft.data["text"] == "A yard."
    assert emission.draft.data["model"] == "tiny-random"
    assert emission.evidence is PICTURE
    assert driver.session.counters(driver.at_ns)["notes"] == 1
    driver.frame(step_s=400)
    assert driver.noted is not None
    driver.session.spec = CameraSpec(id="dock", source="synthetic:yard")
    assert driver.session.on_note(done, "A yard.", driver.at_ns) == []
