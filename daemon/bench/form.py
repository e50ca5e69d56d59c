"""
The one form of every benchmark: what a suite is given, what it gives back, and how both are shown.

A suite is a module of this folder with a `SUMMARY` line and `def run(options, say) -> Report`; `suites()` finds it by
its file name. One that names a `MODEL` measures that one unless another is asked for. One that says `NEEDS_DATA = True`
runs only by name, on the folder of --data; `all` leaves it out. People get a table; `--json` adds one object on the
last line, with stable figure names:

    {"suite": …, "commit": …, "machine": …, "settings": {…}, "rows": [{…}], "figures": {name: number}}
"""

from __future__ import annotations

import importlib
import json
import math
import os
import pkgutil
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, cast

from rich import box
from rich.console import Console
from rich.table import Table

NOT_SUITES: Final = {"form"}
ROOT: Final = Path(__file__).resolve().parent.parent.parent

Row = Mapping[str, str | int | float | None]
Say = Callable[[str], None]  # progress, one short sentence


@dataclass(frozen=True, slots=True)
class Options:
    """
    What the command line hands every suite.

    seed: every random choice of the suite follows from it.
    device, model: as in the configuration.
    short: a form that ends within a minute on two cores, for `make bench`; the figures keep their names.
    clips: a folder of clips with events.json, for the suites that use real video.

    For the published benchmarks, which need `data`, the folder of their annotations and videos:
    fps, drops, policy, budget_tokens: how their videos are watched; None or nothing is the default of a camera.
    skip_missing: leave out the questions of videos that are not there.

    For `accuracy`; 0 or nothing is its own choice:
    groups, scenes, minutes, size: what is shown: sorts of scenes, how many of each, how long, (width, height) of it.
    settings, more_settings: the ways of seeing and remembering that are compared, in place of its own and besides.
    plot: a file for the trade-off as SVG.
    """

    seed: int = 0
    device: str = "auto"
    model: str = "tiny-random"
    short: bool = False
    clips: Path | None = None
    data: Path | None = None
    fps: float | None = None
    drops: Sequence[str] = ()
    policy: str | None = None
    budget_tokens: int | None = None
    skip_missing: bool = False
    groups: Sequence[str] = ()
    scenes: int = 0
    minutes: float = 0.0
    size: tuple[int, int] | None = None
    settings: Sequence[str] = ()
    more_settings: Sequence[str] = ()
    plot: Path | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """
    What a suite measured.

    settings: whatever someone needs to run it again. rows: one measurement each, the baseline among them.
    figures: the few stable numbers that are compared over time.
    """

    settings: Mapping[str, Any]
    rows: Sequence[Row]
    figures: Mapping[str, float]
    notes: Sequence[str] = field(default=())


class Suite(Protocol):
    SUMMARY: str

    def run(self, options: Options, say: Say) -> Report: ...


def suites() -> dict[str, str]:
    """The name of each suite and its one line, by name; imports none but reads each module's SUMMARY on import."""
    return {name: load(name).SUMMARY for name in names()}


def names() -> list[str]:
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(each.name for each in found if each.name not in NOT_SUITES and not each.name.startswith("_"))


def load(name: str) -> Suite:
    """The suite of that name. Raises KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    module: ModuleType = importlib.import_module(f".{name}", __package__)
    return cast("Suite", module)


def needs_data(suite: Suite) -> bool:
    """Whether it measures something that is brought along, so that `all` cannot run it."""
    return bool(getattr(suite, "NEEDS_DATA", False))


def own_model(suite: Suite) -> str:
    """The model it measures unless another is asked for."""
    return str(getattr(suite, "MODEL", Options().model))


def as_map(suite: str, report: Report) -> dict[str, Any]:
    """The object of the last line. Raises ValueError: a figure that is no finite number."""
    for name, value in report.figures.items():
        if not math.isfinite(value):
            raise ValueError(f"{suite}: the figure {name} is {value}; a figure must be a finite number")
    return {
        "suite": suite,
        "commit": commit(),
        "machine": machine(),
        "settings": dict(report.settings),
        "rows": [
            {name: rounded(value) if isinstance(value, float) else value for name, value in row.items()}
            for row in report.rows
        ],
        "figures": {name: rounded(value) for name, value in report.figures.items()},
    }


def show(console: Console, suite: str, report: Report) -> None:
    """Print the rows as a table with one column for each name in them, then the figures."""
    columns = list(dict.fromkeys(name for row in report.rows for name in row))
    console.print(f"{suite} · {machine()} · {commit()}", style="bold", highlight=False, markup=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        numeric = all(not isinstance(row.get(name), str) for row in report.rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in report.rows:
        table.add_row(*(cell(row.get(name)) for name in columns))
    # at its own width: a row that the terminal must wrap is still readable, cells cut to three letters are not
    needed = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    wide = Console(file=console.file, width=max(console.width, needed), color_system=None)
    wide.print(table)
    for name, value in report.figures.items():
        console.print(f"  {name:<24} {cell(rounded(value))}", highlight=False)
    for note in report.notes:
        console.print(f"  {note}", style="dim", highlight=False, markup=False, soft_wrap=True)


def last_line(suite: str, report: Report) -> str:
    return json.dumps(as_map(suite, report), ensure_ascii=False, allow_nan=False)


def cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def rounded(value: float) -> float:
    """Six significant digits: more is noise in a measurement."""
    return float(f"{value:.6g}")


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile (0..1) by linear interpolation. Raises ValueError when there are no values."""
    if not values:
        raise ValueError("no values to take a quantile of")
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def commit() -> str:
    """The short commit of the checkout, "-dirty" when it differs from it; "installed" outside of one."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "installed"
    return done.stdout.strip() or "installed"


def machine() -> str:
    """Processor, cores and memory, and the accelerator when torch is loaded and sees one."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [processor(), f"{len(os.sched_getaffinity(0))} cores", f"{memory_gib:.0f} GiB"]
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name(0))
    return ", ".join(parts)


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
