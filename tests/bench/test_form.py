"""Every benchmark has one form: a table for people, one object with stable names for programs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from daemon.bench import form

REPORT = form.Report(
    settings={"seed": 1},
    rows=[{"cameras": 1, "how": "batched", "p50_ms": 12.3456}, {"cameras": 4, "how": "one by one", "p95_ms": None}],
    figures={"p50_ms_1": 12.34567891, "count": 3},
    notes=["measured on [bold] hardware"],
)


def test_the_object_has_the_agreed_keys() -> None:
    """suite, commit, machine, settings, rows and figures, in one line of strict JSON."""
    line = json.dumps(form.as_map("pipeline", REPORT), allow_nan=False)
    assert "\n" not in line
    read = json.loads(line)
    assert list(read) == ["suite", "commit", "machine", "settings", "rows", "figures"]
    assert read["figures"] == {"p50_ms_1": 12.3457, "count": 3.0}
    assert read["rows"][1] == {"cameras": 4, "how": "one by one", "p95_ms": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_is_a_finite_number(value: float) -> None:
    """A figure that could not be measured is an error of the suite, not a null that compares to nothing."""
    with pytest.raises(ValueError, match="pipeline: the figure x"):
        form.as_map("pipeline", form.Report({}, [], {"x": value}))


def test_people_get_every_column_and_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has one column for each name in any row; what a row lacks is a dash; notes are not markup."""
    form.show(Console(width=20), "pipeline", REPORT)  # narrower than the table: cells stay whole
    shown = capsys.readouterr().out
    for word in ("cameras", "how", "p50_ms", "p95_ms", "one by one", "12.35", "-", "p50_ms_1", "[bold] hardware"):
        assert word in shown


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_ordered_and_within_the_values(values: list[float], low: float, high: float) -> None:
    """A higher q is never a smaller value, 0 and 1 are the extremes."""
    low, high = sorted((low, high))
    assert form.quantile(values, 0) == min(values)
    assert form.quantile(values, 1) == max(values)
    assert form.quantile(values, low) <= form.quantile(values, high) + 1e-6


def test_the_median_of_an_even_number_lies_between() -> None:
    """Linear interpolation, and no values is an error."""
    assert form.quantile([1, 2, 3, 4], 0.5) == 2.5
    with pytest.raises(ValueError, match="no values"):
        form.quantile([], 0.5)


@pytest.mark.parametrize("name", form.names())
def test_every_module_of_the_folder_is_a_suite(name: str) -> None:
    """A file in daemon/bench is a suite: it has a one-line summary and can be run."""
    suite = form.load(name)
    assert suite.SUMMARY
    assert "\n" not in suite.SUMMARY
    assert callable(suite.run)


def test_an_unknown_suite_is_a_key_error() -> None:
    """Neither a missing suite nor the form itself can be loaded."""
    for name in ("none", "form", "../form"):
        with pytest.raises(KeyError):
            form.load(name)


def test_the_commit_is_the_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean checkout gives its commit, a changed one says so, and outside of one it is "installed"."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(form, "ROOT", tmp_path)
    assert form.commit() == "installed"
    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "--message", "One")
    assert form.commit() == git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "file").write_text("two")
    assert form.commit().endswith("-dirty")


def test_the_machine_is_described() -> None:
    """Processor, cores and memory, in one line."""
    assert re.search(r"\w, \d+ cores, \d+ GiB", form.machine())
