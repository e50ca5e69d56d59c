"""`vigild ask CAMERA "question"`: one question, its answer as it is made."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from clients.sdk import Answer, Vigil

from .link import Token, Url, talk
from .telling import milliseconds
from .terminal import CommandError, Json, Terminal, stamp


def register(app: typer.Typer) -> None:
    @app.command("ask")
    def ask(
        camera: Annotated[str, typer.Argument()],
        question: Annotated[str, typer.Argument()],
        *,
        max_tokens: Annotated[int, typer.Option(min=1, max=1024, help="Length of the answer.")] = 128,
        url: Url = None,
        token: Token = None,
        as_json: Json = False,
    ) -> None:
        """Ask a camera about what it sees and remembers. With --json: each piece, then the whole answer."""
        terminal = Terminal(as_json)

        said = ""

        async def main(vigil: Vigil) -> Answer:
            nonlocal said
            asking = await vigil.ask(camera, question, max_tokens=max_tokens)
            async for piece in asking:
                said += piece
                terminal.piece(piece)
                if as_json:
                    terminal.item({"type": "answer.delta", "ask": asking.ask, "text": piece})
            return await asking.answer()

        answer = talk(url, token, main)
        if as_json:
            terminal.item({"type": "answer.done", **msgspec.to_builtins(answer)})
        terminal.piece(answer.text.removeprefix(said) + "\n")  # pieces are lossy, the answer is not
        for line in sources(answer):
            terminal.say(line, style="dim")
        terminal.say(footnote(answer), style="dim")
        if answer.status != "completed":
            reason = f": {answer.reason}" if answer.reason else ""
            raise CommandError(f"the answer is {answer.status}{reason}", code=answer.status)


def sources(answer: Answer) -> list[str]:
    """What the answer rests on, one line each: notes, stretches of memory, and times that nothing bears out."""
    lines = [
        f"  {stamp(each['t0'])}  note: {each['text']}"
        if "note" in each
        else f"  {stamp(each['t0'])} to {stamp(each['t1'])}  seen"
        for each in answer.citations
    ]
    if answer.doubtful:
        lines.append(f"  not borne out by anything seen: {', '.join(answer.doubtful)}")
    return lines


def footnote(answer: Answer) -> str:
    """How fresh the answer is, and what it cost."""
    usage = answer.usage
    parts = [
        f"frame {milliseconds(answer.age_ms)} old",
        f"first token after {milliseconds(usage.get('ttft_ms'))}",
        f"{usage.get('output_tokens', 0)} tokens in {milliseconds(usage.get('total_ms'))}",
        f"{usage.get('memory_tokens', 0)} tokens of memory",
    ]
    return " · ".join(parts)
