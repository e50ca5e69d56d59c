"""What the next step does: fairness between cameras, and between frames and questions."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.admission import Cost, Load
from streaming.scheduler import Scheduler, SchedulerSettings
from streaming.types import Ask, Frame

BLACK = np.zeros((2, 2, 3), np.uint8)


def frame(camera: str) -> Frame:
    return Frame(camera, 0, 0, 0, BLACK)


def ask(number: int, camera: str = "dock") -> Ask:
    return Ask(f"q_{number}", camera, "what is there?")


def test_cameras_are_served_longest_ago_first():
    """With room for two, three always-ready cameras get the same share."""
    scheduler = Scheduler(SchedulerSettings(max_frames=2))
    served = Counter(camera for _ in range(30) for camera in scheduler.choose(["a", "b", "c"]))
    assert served == {"a": 20, "b": 20, "c": 20}


@given(st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=60), st.integers(1, 4))
def test_no_ready_camera_waits_longer_than_one_round(rounds, max_frames):
    """A camera that stays ready is chosen within ceil(cameras / max_frames) steps; nothing idle is ever chosen."""
    scheduler = Scheduler(SchedulerSettings(max_frames=max_frames))
    waited: Counter[str] = Counter()
    for ready in rounds:
        chosen = scheduler.choose(sorted(ready))
        assert set(chosen) <= ready
        assert len(chosen) == min(len(ready), max_frames)
        for camera in "abcdefgh":
            waited[camera] = waited[camera] + 1 if camera in ready and camera not in chosen else 0
        assert max(waited.values(), default=0) <= -(-8 // max_frames)


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 400), min_size=1),
    st.floats(0, 300),
    st.floats(0, 2),
    st.integers(1, 8),
)
def test_a_step_is_kept_short_but_never_empty(cells, step_ms, cell_ms, max_frames):
    """No more frames than fit into step_ms, but one; and over some rounds, everyone that waits is served."""
    cost = Cost(step_ms, cell_ms, 0.0)
    loads = {camera: Load(2.0, count) for camera, count in cells.items()}
    scheduler = Scheduler(SchedulerSettings(max_frames=max_frames, step_ms=250))
    served: set[str] = set()
    for _ in cells:
        chosen = scheduler.choose(list(cells), cost=cost, loads=loads)
        assert 1 <= len(chosen) <= max_frames
        took_ms = step_ms + sum(cost.frame_ms(loads[camera]) for camera in chosen)
        assert len(chosen) == 1 or took_ms <= 250
        served |= set(chosen)
    assert served == set(cells)


def test_when_late_every_camera_gets_the_same_rate():
    """A camera that asks for ten times as much gets no more than the others while these want more than they get."""
    scheduler = Scheduler(SchedulerSettings(max_frames=16, step_ms=250))
    loads = {name: Load(2.0, 200) for name in "abcdef"} | {"greedy": Load(20.0, 200)}
    served = Counter(
        name for _ in range(70) for name in scheduler.choose(list(loads), cost=Cost(10, 0.5, 0), loads=loads)
    )
    assert len(set(served.values())) == 1


def test_questions_and_frames_share_every_step():
    """With frames due, one question starts a step and all running ones advance; frames are never held back."""
    scheduler = Scheduler(SchedulerSettings(max_running=3, decode_tokens_busy=2))
    for number in range(5):
        assert scheduler.ask(ask(number))
    starts = [[a.id for a in scheduler.plan((frame("dock"),)).start] for _ in range(4)]
    assert starts == [["q_0"], ["q_1"], ["q_2"], []]
    plan = scheduler.plan((frame("dock"),))
    assert plan.advance == ("q_0", "q_1", "q_2")
    assert plan.decode_tokens == 2
    assert len(plan.frames) == 1


def test_idle_steps_start_everything_there_is_room_for():
    """Without frames, questions start together, up to max_running."""
    scheduler = Scheduler(SchedulerSettings(max_running=3))
    for number in range(5):
        scheduler.ask(ask(number))
    assert [a.id for a in scheduler.plan(()).start] == ["q_0", "q_1", "q_2"]
    scheduler.finished("q_1")
    assert [a.id for a in scheduler.plan(()).start] == ["q_3"]


def test_a_full_queue_and_a_known_question_are_refused():
    """The queue is bounded; one id is answered once."""
    scheduler = Scheduler(SchedulerSettings(max_waiting=1))
    assert scheduler.ask(ask(1))
    assert not scheduler.ask(ask(1))
    assert not scheduler.ask(ask(2))


def test_cancel_returns_a_waiting_question_and_stops_a_running_one():
    """A waiting one comes back at once; a running one is cancelled by the next step and no longer advanced."""
    scheduler = Scheduler(SchedulerSettings(max_running=1))
    scheduler.ask(ask(1))
    scheduler.ask(ask(2))
    scheduler.plan(())
    assert scheduler.cancel("q_2") == ask(2)
    assert scheduler.cancel("q_1") is None
    plan = scheduler.plan(())
    assert plan.cancel == ("q_1",)
    assert plan.advance == ()
    assert scheduler.cancel("q_9") is None


def test_a_removed_camera_gives_its_questions_back():
    """Waiting and running questions of the camera come back; others go on."""
    scheduler = Scheduler(SchedulerSettings(max_running=1))
    scheduler.ask(ask(1))
    scheduler.ask(ask(2))
    scheduler.ask(ask(3, "yard"))
    scheduler.plan(())
    assert {a.id for a in scheduler.drop_camera("dock")} == {"q_1", "q_2"}
    assert [a.id for a in scheduler.plan(()).start] == ["q_3"]


def test_an_empty_plan_says_so():
    """Nothing due: the engine need not be called."""
    assert Scheduler().plan(()).empty


def note(number: int, camera: str = "dock") -> Ask:
    return Ask(f"n_{number}", camera, "what changed?", background=True)


def test_a_note_waits_for_a_step_without_frames_and_questions():
    """It neither starts nor advances beside either; then it goes in short pieces."""
    scheduler = Scheduler(SchedulerSettings(max_running=2, decode_tokens_background=3))
    assert scheduler.ask(note(1))
    assert scheduler.asks_pending
    assert scheduler.plan((frame("dock"),)).start == ()
    scheduler.ask(ask(1))
    assert [a.id for a in scheduler.plan(()).start] == ["q_1"]
    assert scheduler.plan(()).advance == ("q_1",)
    scheduler.finished("q_1")
    started = scheduler.plan(())
    assert [a.id for a in started.start] == ["n_1"]
    assert started.decode_tokens == 3
    assert scheduler.plan((frame("dock"),)).advance == ()
    assert scheduler.plan(()).advance == ("n_1",)
    assert scheduler.plan(()).decode_tokens == 3
    scheduler.ask(ask(2))
    assert scheduler.plan(()).advance == ()
    assert scheduler.plan(()).advance == ("q_2",)


def test_one_note_runs_at_a_time():
    """The next one starts when it has ended."""
    scheduler = Scheduler(SchedulerSettings(max_running=4))
    for number, camera in enumerate(("dock", "yard"), 1):
        scheduler.ask(note(number, camera))
    assert [a.id for a in scheduler.plan(()).start] == ["n_1"]
    assert scheduler.plan(()).start == ()
    scheduler.finished("n_1")
    assert [a.id for a in scheduler.plan(()).start] == ["n_2"]


def test_a_note_leaves_its_place_to_a_question():
    """Where no place is free it is cancelled in the step that starts the question, also beside frames; else it stays."""
    scheduler = Scheduler(SchedulerSettings(max_running=1))
    scheduler.ask(note(1))
    scheduler.plan(())
    scheduler.ask(ask(1))
    plan = scheduler.plan((frame("dock"),))
    assert plan.cancel == ("n_1",)
    assert [a.id for a in plan.start] == ["q_1"]
    roomy = Scheduler(SchedulerSettings(max_running=2))
    roomy.ask(note(1))
    roomy.plan(())
    roomy.ask(ask(1))
    assert roomy.plan(()).cancel == ()


def test_a_removed_camera_gives_its_notes_back():
    """Those that wait and the one that runs."""
    scheduler = Scheduler(SchedulerSettings(max_running=1))
    scheduler.ask(note(1))
    scheduler.plan(())
    scheduler.ask(note(2))
    assert {a.id for a in scheduler.drop_camera("dock")} == {"n_1", "n_2"}
    assert not scheduler.asks_pending


ACTIONS = st.sampled_from(["ask", "note", "frame", "idle", "finish", "cancel"])


@given(st.lists(ACTIONS, max_size=80), st.integers(1, 3))
def test_background_is_never_ahead(actions, most):
    """In any order of events: no note in a step with a frame or another question; all places kept; a note alone goes on."""
    scheduler = Scheduler(SchedulerSettings(max_running=most))
    running: dict[str, Ask] = {}
    for number, action in enumerate(actions):
        match action:
            case "ask":
                scheduler.ask(ask(number))
            case "note":
                scheduler.ask(note(number))
            case "finish" if running:
                done = next(iter(running))
                running.pop(done)
                scheduler.finished(done)
            case "cancel" if running:
                scheduler.cancel(next(iter(running)))
        plan = scheduler.plan((frame("dock"),) if action == "frame" else ())
        for gone in plan.cancel:
            running.pop(gone)
            scheduler.finished(gone)
        advanced = [running[name] for name in plan.advance]
        running |= {a.id: a for a in plan.start}
        assert len(running) <= most
        assert sum(a.background for a in running.values()) <= 1
        if any(a.background for a in (*plan.start, *advanced)):
            assert len(plan.start) + len(plan.advance) == 1
            assert not plan.frames
            assert scheduler.waiting == 0
        if scheduler.waiting and action != "frame":
            assert len(running) == most
            assert not any(a.background for a in running.values())
    while scheduler.asks_pending:
        plan = scheduler.plan(())
        assert not plan.empty
        for gone in (*plan.cancel, *plan.advance, *(a.id for a in plan.start)):
            scheduler.finished(gone)
