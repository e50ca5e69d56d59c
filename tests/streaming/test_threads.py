"""How many CPU threads a pass runs on, on a clock of the test's own; and that it changes nothing but time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.threads import AGAIN, FIRST, ThreadChoice, Threaded
from streaming.types import Ask, CameraSettings, Check, StepPlan, StepResult

from .scenes import frame, walk

Takes = Callable[[int, int], float]  # threads, rows: seconds


class Machine:
    """A machine on which passes take what the test says."""

    def __init__(self, takes: Takes) -> None:
        self.takes = takes
        self.threads = 1
        self.now = 0.0

    def choice(self, most: int) -> ThreadChoice:
        return ThreadChoice(most, use=self.use, now=lambda: self.now)

    def use(self, threads: int) -> None:
        self.threads = threads

    def run(self, choice: ThreadChoice, rows: int, times: int, kind: str = "forward") -> Counter[int]:
        """So many passes; how often each number of threads was used."""
        used: Counter[int] = Counter()
        for _ in range(times):
            with choice.over(kind, rows) as threads:
                assert self.threads == threads
                self.now += self.takes(self.threads, rows)
            assert self.threads == choice.numbers[-1]
            used[threads] += 1
        return used


def shared(threads: int, rows: int) -> float:
    """Everything but a millisecond is shared by the threads."""
    return 0.001 + 0.001 * rows / threads


def alone(threads: int, rows: int) -> float:
    """Threads wait for each other: more of them are slower."""
    return 0.001 * rows * threads


@pytest.mark.parametrize(
    ("most", "numbers"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (16, (1, 2, 4, 8, 16))]
)
def test_numbers_double_up_to_the_most(most: int, numbers: tuple[int, ...]) -> None:
    assert ThreadChoice(most, use=lambda _: None).numbers == numbers


@pytest.mark.parametrize(("takes", "best"), [(shared, 4), (alone, 1), (lambda _, rows: 0.001 * rows, 1)])
def test_the_fewest_threads_that_are_not_slower_run_nearly_everything(takes: Takes, best: int) -> None:
    """Each number is tried a few times at first, and once in a while."""
    machine = Machine(takes)
    choice = machine.choice(4)
    assert machine.run(choice, 200, 3 * FIRST) == dict.fromkeys((1, 2, 4), FIRST)
    used = machine.run(choice, 200, 10 * AGAIN)
    assert used[best] == 10 * AGAIN - 20
    assert set(used.values()) == {10, used[best]}


def test_every_kind_and_size_is_decided_by_itself() -> None:
    """What helps a large batch is not done to a small one."""
    machine = Machine(lambda threads, rows: alone(threads, rows) if rows < 64 else shared(threads, rows))
    choice = machine.choice(2)
    for _ in range(2):
        small, large = machine.run(choice, 10, 30), machine.run(choice, 1000, 30)
        other = machine.run(choice, 10, 30, kind="encode")
    assert (small, large, other) == ({1: 30}, {2: 30}, {1: 30})


def test_it_changes_its_mind_with_the_machine() -> None:
    """When other processes take the cores, and when they give them back."""
    machine = Machine(shared)
    choice = machine.choice(2)
    for takes, best in ((shared, 2), (alone, 1), (shared, 2)):
        machine.takes = takes
        machine.run(choice, 200, 6 * AGAIN)
        assert machine.run(choice, 200, AGAIN)[best] >= AGAIN - 2


def test_a_stall_of_the_machine_decides_nothing() -> None:
    """A trial that took a hundred times as long is one of several."""
    machine = Machine(shared)
    choice = machine.choice(2)
    machine.run(choice, 200, 6)
    stalls = iter([100.0])
    machine.takes = lambda threads, rows: shared(threads, rows) * (next(stalls, 1.0) if threads == 2 else 1.0)
    assert machine.run(choice, 200, 40) == {2: 40}


def test_a_pass_that_fails_is_no_measure() -> None:
    """And leaves the number that was there, as every pass does."""
    machine = Machine(shared)
    choice = machine.choice(2)
    for _ in range(5):
        with pytest.raises(RuntimeError), choice.over("forward", 10):
            raise RuntimeError
    assert machine.threads == 2
    assert machine.run(choice, 10, 2 * FIRST) == {1: FIRST, 2: FIRST}


@given(most=st.integers(1, 32), rows=st.lists(st.integers(0, 5000), max_size=40))
def test_any_pass_runs_on_one_of_the_numbers(most: int, rows: list[int]) -> None:
    machine = Machine(shared)
    choice = machine.choice(most)
    for each in rows:
        assert set(machine.run(choice, each, 1)) <= set(choice.numbers)


def played(engine: Engine) -> list[StepResult]:
    """A walk past two cameras, rules and a question."""
    for camera in ("yard", "dock"):
        engine.open(CameraSettings(camera, drop="feature", budget_tokens=300))
    results = []
    for i, image in enumerate(walk(8)):
        checks = (Check("yard", (("door", "Is a person at the door?"), ("night", "Is it night?"))),)
        ask = (Ask("q", "dock", "Who is there?", max_tokens=3),) if i == 4 else ()
        frames = frame("yard", i, image), frame("dock", i, image[::-1].copy())
        results.append(engine.step(StepPlan(frames=frames, checks=checks, start=ask, advance=("q",) if i > 4 else ())))
    return results


def test_an_engine_sees_the_same_on_any_number_of_threads(
    tiny: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying both numbers all the time, it keeps the same tokens and says the same; p moves by rounding alone."""
    before = torch.get_num_threads()
    monkeypatch.setattr("streaming.threads.FIRST", 1000)
    try:
        one = played(Engine(tiny, settings=EngineSettings(threads=1)))
        torch.set_num_threads(2)
        engine = Engine(tiny, settings=EngineSettings(threads=0))
        assert isinstance(engine._model, Threaded)
        several = played(engine)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for a, b in zip(one, several, strict=True):
        assert [(f.camera, f.kept) for f in a.frames] == [(f.camera, f.kept) for f in b.frames]
        assert [answer.text for answer in a.answers] == [answer.text for answer in b.answers]
        assert [check.p for check in a.checks] == pytest.approx([check.p for check in b.checks], abs=1e-5)


def test_where_there_is_one_thread_nothing_is_tried(tiny: VisionLanguageModel) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert not isinstance(Engine(tiny, settings=EngineSettings(threads=0))._model, Threaded)
    finally:
        torch.set_num_threads(before)
