"""
How far a long start is: told by a child process in lines of its output, shown to people as bars.

A child writes `@progress 0.35 downloading Qwen/…`; whoever reads its output shows a bar for it, or without a terminal a
plain line every tenth.
"""

from __future__ import annotations

import re
import sys
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

LINE: Final = re.compile(r"@progress (\d\.\d+) (.*)")
STEPS: Final = 100  # a child tells at most this many lines for one thing


class Teller:
    """What a child process calls with (what, share from 0 to 1); from any thread."""

    def __init__(self) -> None:
        self._told: tuple[str, int] | None = None

    def __call__(self, what: str, share: float) -> None:
        step = (what, int(share * STEPS))
        if step != self._told:
            self._told = step
            sys.stdout.write(f"@progress {share:.4f} {what}\n")
            sys.stdout.flush()


def heard(line: str) -> tuple[str, float] | None:
    """(what, share) of a line that tells progress, None of any other."""
    match = LINE.fullmatch(line)
    return None if match is None else (match[2], float(match[1]))


class Bars(Progress):
    """
    Bars on stderr, one a name, of which nothing stays; lines of text go above them.

    Use as a context manager. The terminal is redrawn only while there is a bar: a daemon that runs for days draws none.
    """

    def __init__(self) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=30))
        super().__init__(*columns, console=Console(stderr=True), transient=True)
        self._tasks_by_name: dict[str, TaskID] = {}
        self._tenths: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def begin(self, name: str) -> None:
        """Show that `name` is under way; how far is not known."""
        if not self._tasks_by_name:
            self.start()
        self._tasks_by_name[name] = self.add_task(name, total=None)

    def tell(self, name: str, what: str, share: float) -> None:
        """Show `share` (0 to 1) of `what` as done for `name`; at 1 its bar goes."""
        if not self.console.is_terminal:
            tenth = (what, int(share * 10))
            if self._tenths.get(name) != tenth:
                self._tenths[name] = tenth
                self.line(name, f"{what}: {share:.0%}")
            return
        if name not in self._tasks_by_name:
            self.begin(name)
        self.update(self._tasks_by_name[name], description=f"{name}: {what}", total=1.0, completed=share)

    def end(self, name: str) -> None:
        if name in self._tasks_by_name:
            self.remove_task(self._tasks_by_name.pop(name))
            if not self._tasks_by_name:
                self.stop()

    def line(self, name: str, text: str) -> None:
        """One line of text behind a name, as it is."""
        self.console.print(f"{name} | {text}", markup=False, highlight=False, soft_wrap=True)

    def sink(self, child: str, line: str) -> None:
        """Take a child's line of output: a bar if it tells progress, else the line."""
        progress = heard(line)
        if progress is None:
            self.line(child, line)
            return
        self.tell(child, *progress)
        if progress[1] >= 1:
            self.end(child)
