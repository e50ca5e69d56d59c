"""`vigild watch CAMERA "question"`: a rule for as long as you look, with its p live."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from clients.messages import RuleSpec
from clients.sdk import Vigil

from .link import Token, Url, talk
from .rules import Cooldown, Hold, Off, On, given
from .telling import bar, share, style, tell
from .terminal import Json, Terminal


def register(app: typer.Typer) -> None:
    @app.command("watch")
    def watch(
        camera: Annotated[str, typer.Argument()],
        question: Annotated[str, typer.Argument(help="A question that is answered by yes or no.")],
        *,
        on: On = None,
        off: Off = None,
        hold_s: Hold = None,
        cooldown_s: Cooldown = None,
        keep: Annotated[bool, typer.Option("--keep", help="Leave the rule there afterwards.")] = False,
        once: Annotated[bool, typer.Option("--once", help="End with the first alert.")] = False,
        url: Url = None,
        token: Token = None,
        as_json: Json = False,
    ) -> None:
        """Ask a camera a standing question and watch p and the alerts live; Ctrl-C ends it and removes the rule."""
        terminal = Terminal(as_json)
        spec = RuleSpec(camera=camera, ask=question, **given(on, off, hold_s, cooldown_s, None, None))

        async def main(vigil: Vigil) -> None:
            newest = await vigil.history(limit=1)
            rule = await vigil.create_rule(spec)
            kept = f"stays as {rule.id}" if keep else "goes with Ctrl-C"
            terminal.say(f"watching {camera}; alert from p {rule.on:g}, over at {rule.off:g}; the rule {kept}")
            try:
                await look(vigil, rule, newest[-1].seq if newest else 0, terminal, once=once)
            finally:
                if not keep:
                    await vigil.delete_rule(rule.id)

        talk(url, token, main)


async def look(vigil: Vigil, rule: RuleSpec, after: int, terminal: Terminal, *, once: bool) -> None:
    """Show what concerns the rule and its camera: lines for what happens, one line in place for p."""
    topics = ("alert", "camera", "gap", "trace")
    async with contextlib.aclosing(vigil.messages(topics, cameras=[rule.camera], after=after)) as messages:
        with Live(console=terminal.console, auto_refresh=False, transient=True) as live:
            async for message in messages:
                if message.get("rule", rule.id) != rule.id:
                    continue
                if terminal.json:
                    terminal.item(message)
                elif message["type"] == "lagged":
                    continue
                elif message["type"] == "trace":
                    live.update(meter(message, rule), refresh=live.is_started and terminal.console.is_terminal)
                else:
                    terminal.say(tell(message), style=style(message))
                if once and message["type"] == "alert.started":
                    return


def meter(message: dict[str, Any], rule: RuleSpec) -> Text:
    """P of the newest evaluation as a bar with both thresholds."""
    p = message.get("p")
    if not isinstance(p, int | float):
        return Text("p unknown", style="dim")
    colour = "bold red" if p >= rule.on else "green" if p <= rule.off else "yellow"
    return Text.assemble("p ", (bar(p, rule.on, rule.off), colour), f" {share(p)}")
