"""What a child tells of its progress is what people see, and no other line is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.commands.progress import STEPS, Bars, Teller, heard


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), st.floats(0, 1))
def test_what_is_told_is_heard(what: str, share: float) -> None:
    """A line that a teller writes is read back, to a hundredth of a percent."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout.write", lines.append)
        Teller()(what, share)
    (line,) = lines
    told = heard(line.removesuffix("\n"))
    assert told is not None
    assert told[0] == what
    assert told[1] == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("line", ["", "ready", "@progress", "@progress x", "x @progress 0.5 y", "@progress 10.0 y"])
def test_other_lines_are_only_lines(line: str) -> None:
    """Only the exact form tells progress."""
    assert heard(line) is None


def test_a_teller_does_not_flood(capsys: pytest.CaptureFixture[str]) -> None:
    """A million steps of a download are at most a hundred and one lines."""
    teller = Teller()
    for step in range(100_001):
        teller("downloading", step / 100_000)
    assert len(capsys.readouterr().out.splitlines()) == STEPS + 1


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each tenth is a line; what is no progress passes as it is, whatever brackets it holds."""
    with Bars() as bars:
        for step in range(101):
            bars.sink("worker w0", f"@progress {step / 100:.4f} loading x")
        bars.sink("worker w0", "[bold]ready[/]")
    lines = capsys.readouterr().err.split("\n")
    assert [line for line in lines if line.startswith("worker w0 | loading x: ")][1:3] == [
        "worker w0 | loading x: 10%",
        "worker w0 | loading x: 20%",
    ]
    assert "worker w0 | [bold]ready[/]" in lines


def test_the_terminal_is_drawn_only_while_there_is_a_bar() -> None:
    """With the last bar the redrawing ends, and begins again with the next one; leaving ends it in any case."""
    with Bars() as bars:
        assert not bars.live.is_started
        for name in ("one", "two"):
            bars.begin(name)
        bars.end("one")
        assert bars.live.is_started
        bars.end("two")
        assert not bars.live.is_started
        bars.begin("three")
        assert bars.live.is_started
    assert not bars.live.is_started
