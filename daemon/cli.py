"""
The command line `vigild`: the commands of daemon/commands put together, and the one place where a command ends badly.

No torch, no decoder and no Redis is imported here; commands import what they need when they run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from .commands import (
    ask,
    bench,
    cameras,
    children,
    demo,
    doctor,
    events,
    pocket,
    rules,
    serve,
    settings,
    token,
    version,
    watch,
)
from .commands.terminal import CommandError, Exit
from .errors import DaemonError

app = typer.Typer(
    name="vigild",
    help="Watches live video with a vision-language model and speaks up.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 failed or refused, 2 wrong command line, 3 no daemon answers, 4 token missing "
    "or not sufficient, 75 already running, 78 wrong configuration.",
)

for each in (serve, demo, doctor, watch, ask, events, bench, settings, version, children):
    each.register(app)
app.add_typer(cameras.app, name="cameras")
app.add_typer(rules.app, name="rules")
app.add_typer(token.app, name="token")
app.add_typer(pocket.app, name="pocket")


def print_version(wanted: bool) -> None:
    if wanted:
        version.print_version(as_json=False)
        raise typer.Exit


@app.callback()
def root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Options that hold for no command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `vigild` with these arguments (sys.argv when None) and exit the process with its status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=arguments, prog_name="vigild")
    except CommandError as error:
        end(arguments, error.message, error.status, error.code)
    except DaemonError as error:
        end(arguments, str(error), Exit(error.exit_status), type(error).__name__)


def end(arguments: Sequence[str], message: str, status: Exit, code: str) -> NoReturn:
    """Say on stderr why the command ends, and exit. A child process says it bare: its parent puts a name before it."""
    if "--json" in arguments:
        sys.stderr.write(json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False) + "\n")
    elif arguments[:1] in (["worker"], ["gateway"]):
        sys.stderr.write(message + "\n")
    else:
        Console(stderr=True).print(f"[bold red]vigild:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise SystemExit(int(status))
