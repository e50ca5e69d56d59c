"""
What every command shares: exit statuses, the one sentence of a failure, and output for people or for programs.

People get tables and coloured lines on stdout; with `--json` every line of stdout is one JSON object, so that a pipe
can be read line by line. Failures go to stderr, as a sentence or as {"error": {…}}.
"""

from __future__ import annotations

import base64
import enum
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from daemon.errors import EXIT_ALREADY_RUNNING, EXIT_CONFIGURATION, EXIT_FAILURE


class Exit(enum.IntEnum):
    """The exit statuses of `vigild`; every command uses these and no others."""

    OK = 0
    FAILED = EXIT_FAILURE  # what was asked for was refused, did not work, or a required check failed
    USAGE = 2  # the command line is wrong
    UNREACHABLE = 3  # no daemon answers
    UNAUTHORIZED = 4  # the daemon wants a token, another one, or a role that may do this
    ALREADY_RUNNING = EXIT_ALREADY_RUNNING  # another daemon owns the data folder
    CONFIGURATION = EXIT_CONFIGURATION  # the configuration is wrong, or the store is not fit; trying again won't help
    INTERRUPTED = 130  # Ctrl-C


class CommandError(Exception):
    """Ends the command with one sentence and a status. code: a short word for programs."""

    def __init__(self, message: str, status: Exit = Exit.FAILED, *, code: str = "failed") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for programs.")]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", "-c", envvar="VIGILD_CONFIG", help="A TOML file, or a shipped one: demo, edge, gpu."),
]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="SECTION.KEY=VALUE", help="Override one setting; may be repeated."),
]


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a command writes. json: programs read it."""

    json: bool = False
    console: Console = field(default_factory=Console)

    def item(self, message: Mapping[str, Any]) -> None:
        """One object, as a line of JSON."""
        sys.stdout.write(as_json(message) + "\n")
        sys.stdout.flush()

    def say(self, text: str, *, style: str | None = None) -> None:
        """One line for people; programs don't get it."""
        if not self.json:
            self.console.print(escape(text), style=style, highlight=False, soft_wrap=True)

    def piece(self, text: str) -> None:
        """A part of a line for people, at once; programs don't get it."""
        if not self.json:
            sys.stdout.write(text)
            sys.stdout.flush()

    def rows(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table for people; programs don't get it."""
        if self.json:
            return
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in columns:
            table.add_column(name)
        for row in rows:
            table.add_row(*("" if value is None else escape(str(value)) for value in row))
        self.console.print(table)


def overrides(settings: Sequence[str] | None) -> dict[str, str]:
    """`["gateway.port=1"]` as `{"gateway.port": "1"}`. Raises CommandError: one without '='."""
    out = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not equals:
            raise CommandError(f"--set {setting}: write section.key=value", Exit.USAGE, code="usage")
        out[name.strip()] = value
    return out


def as_json(message: Mapping[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, default=plain)


def plain(value: Any) -> Any:
    """What json cannot write: bytes as base64, as on the json wire."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is not for JSON")


def clock(ts_ms: int | None) -> str:
    """Unix epoch milliseconds as local time of day."""
    return "--:--:--" if ts_ms is None else time.strftime("%H:%M:%S", time.localtime(ts_ms / 1000))


def stamp(ts_ms: int) -> str:
    """Unix epoch milliseconds as local time of day, with the date where that is not today's."""
    at = time.localtime(ts_ms / 1000)
    return time.strftime("%H:%M:%S" if at[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M:%S", at)


def ago(ts_ms: int | None, now_ms: int) -> str:
    """How long ago, in the largest fitting unit."""
    if ts_ms is None:
        return "never"
    seconds = max(0, now_ms - ts_ms) / 1000
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.1f} s ago" if seconds < 10 else f"{seconds:.0f} s ago"
