"""`vigild rules`: list, add, set and remove standing questions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from clients.messages import RuleSpec, Zone

from .link import Token, Url, talk
from .terminal import CommandError, Exit, Json, Terminal

app = typer.Typer(help="The standing questions.", pretty_exceptions_enable=False)

CORNERS = "'x,y x,y x,y'"  # 0,0 is the top left corner, 1,1 the bottom right one
On = Annotated[float | None, typer.Option("--on", help="An alert starts at this probability …")]
Off = Annotated[float | None, typer.Option("--off", help="… and ends at this one.")]
Hold = Annotated[float | None, typer.Option("--hold", metavar="SECONDS", help="How long p must stay beyond either.")]
Cooldown = Annotated[float | None, typer.Option("--cooldown", metavar="SECONDS", help="Quiet after an alert.")]
Say = Annotated[str | None, typer.Option("--say", help="The text that an alert carries.")]
ZoneText = Annotated[
    str | None, typer.Option("--zone", metavar=CORNERS, help="The only part of the picture that it looks at.")
]


@app.callback(invoke_without_command=True)
def rules(ctx: typer.Context, *, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List the standing questions, or add, set and remove one."""
    if ctx.invoked_subcommand is None:
        list_rules(url=url, token=token, as_json=as_json)


@app.command("list")
def list_rules(
    *,
    camera: Annotated[str | None, typer.Option(help="Only of this camera.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List the standing questions."""
    found = [to_map(rule) for rule in talk(url, token, lambda vigil: vigil.rules(camera))]
    terminal = Terminal(as_json)
    if as_json:
        for rule in found:
            terminal.item(rule)
    elif not found:
        terminal.say('no rules yet; add one with: vigild rules add CAMERA "question"')
    columns = ("rule", "camera", "question", "on", "off", "hold s", "cooldown s", "enabled")
    names = ("id", "camera", "ask", "on", "off", "hold_s", "cooldown_s", "enabled")
    terminal.rows("rules", columns, [[rule.get(name) for name in names] for rule in found])


@app.command("add")
def add(
    camera: Annotated[str, typer.Argument()],
    question: Annotated[str, typer.Argument(help="A question that is answered by yes or no.")],
    *,
    on: On = None,
    off: Off = None,
    hold_s: Hold = None,
    cooldown_s: Cooldown = None,
    zone: ZoneText = None,
    say: Say = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Ask a camera something for ever; its alerts are events."""
    spec = RuleSpec(camera=camera, ask=question, **given(on, off, hold_s, cooldown_s, zone, say))
    rule = talk(url, token, lambda vigil: vigil.create_rule(spec))
    terminal = Terminal(as_json)
    if as_json:
        terminal.item(to_map(rule))
    terminal.say(f"added {rule.id} on {camera}")


@app.command("set")
def set_rule(
    rule: Annotated[str, typer.Argument(metavar="ID")],
    *,
    question: Annotated[str | None, typer.Option("--question", help="Ask something else.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Evaluate it or not.")] = None,
    on: On = None,
    off: Off = None,
    hold_s: Hold = None,
    cooldown_s: Cooldown = None,
    zone: ZoneText = None,
    say: Say = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Change a rule; what is not named stays."""
    changes = given(on, off, hold_s, cooldown_s, zone, say)
    changes |= {} if question is None else {"ask": question}
    changes |= {} if enabled is None else {"enabled": enabled}
    if not changes:
        raise CommandError("nothing to change is named; see vigild rules set --help", Exit.USAGE, code="usage")
    changed = talk(url, token, lambda vigil: vigil.update_rule(rule, **changes))
    terminal = Terminal(as_json)
    if as_json:
        terminal.item(to_map(changed))
    terminal.say(f"changed {rule}")


@app.command("remove")
def remove(
    rule: Annotated[str, typer.Argument(metavar="ID")],
    *,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Remove a rule; an open alert of it ends."""
    removed = talk(url, token, lambda vigil: vigil.delete_rule(rule))
    terminal = Terminal(as_json)
    if as_json:
        terminal.item(to_map(removed))
    terminal.say(f"removed {rule}")


def given(
    on: float | None,
    off: float | None,
    hold_s: float | None,
    cooldown_s: float | None,
    zone: str | None,
    say: str | None,
) -> dict[str, Any]:
    """The fields that were named on the command line, by their names on the wire."""
    fields = {
        "on": on,
        "off": off,
        "hold_s": hold_s,
        "cooldown_s": cooldown_s,
        "zone": None if zone is None else polygon(zone),
        "say": say,
    }
    return {name: value for name, value in fields.items() if value is not None}


def to_map(rule: RuleSpec) -> dict[str, Any]:
    return dict(msgspec.to_builtins(rule))


def polygon(text: str, option: str = "--zone") -> Zone:
    """`"0,0 1,0 1,1"` as points. Raises CommandError when it is not of this form; bounds are the daemon's to check."""
    points = []
    for pair in text.split():
        x, comma, y = pair.partition(",")
        try:
            points.append((float(x), float(y)))
        except ValueError:
            comma = ""
        if not comma:
            raise CommandError(f"{option}: '{pair}' is no point; write 'x,y x,y x,y'", Exit.USAGE, code="usage")
    return tuple(points)
