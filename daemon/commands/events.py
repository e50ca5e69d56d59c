"""`vigild events`: what has happened, and what happens next."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from clients.messages import DURABLE, TOPIC_OF_KIND
from clients.sdk import DURABLE_TOPICS, Vigil

from .link import Token, Url, talk
from .telling import style, tell
from .terminal import CommandError, Exit, Json, Terminal

Kind = Annotated[str | None, typer.Option(help=f"Only of this kind: {', '.join(DURABLE)}.")]


def register(app: typer.Typer) -> None:
    @app.command("events")
    def events(
        *,
        follow: Annotated[
            bool, typer.Option("--follow", "-f", help="Go on with what happens; Ctrl-C ends it.")
        ] = False,
        after: Annotated[int | None, typer.Option(metavar="SEQ", help="Only later ones; resumes without loss.")] = None,
        camera: Annotated[str | None, typer.Option(help="Only of this camera.")] = None,
        kind: Kind = None,
        limit: Annotated[int, typer.Option(help="Of the history, at most the newest this many.", min=1)] = 100,
        url: Url = None,
        token: Token = None,
        as_json: Json = False,
    ) -> None:
        """Print the durable events: the newest of the history, or all that come with --follow."""
        if kind is not None and kind not in DURABLE:
            known = ", ".join(DURABLE)
            raise CommandError(f"there is no kind '{kind}'; there are {known}", Exit.USAGE, code="usage")
        terminal = Terminal(as_json)

        async def history(vigil: Vigil) -> None:
            for event in await vigil.history(after=after, camera=camera, kind=kind, limit=limit):
                show(terminal, event.as_message())

        async def stream(vigil: Vigil) -> None:
            topics = [TOPIC_OF_KIND[kind]] if kind else DURABLE_TOPICS
            cameras = [camera] if camera else "*"
            async with contextlib.aclosing(vigil.events(topics, cameras=cameras, after=after)) as events:
                async for event in events:
                    if kind in {None, event.kind} or event.data.get("reason") == "trimmed":
                        show(terminal, event.as_message())

        talk(url, token, stream if follow else history)


def show(terminal: Terminal, message: Mapping[str, Any]) -> None:
    """One event, as a line for people or for programs."""
    if terminal.json:
        terminal.item(message)
    terminal.say(tell(message), style=style(message))
