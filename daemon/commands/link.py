"""A connection to the daemon for one command: where it is, and its failures as sentences with an exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from clients.errors import Forbidden, Unauthorized, Unreachable, WireError
from clients.sdk import Vigil, connect
from daemon.config import load

from .terminal import CommandError, Exit

T = TypeVar("T")

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="VIGILD_URL", help="Where the daemon is; otherwise as in the configuration."),
]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="VIGILD_TOKEN", help="Better given as the variable: ps shows command lines."),
]


def talk(url: str | None, token: str | None, do: Callable[[Vigil], Awaitable[T]]) -> T:
    """
    Connect, run `do` and disconnect; what it returned.

    Raises: CommandError: no daemon answers, the token is not enough, or the daemon refused.
    """
    address = url or load().url

    async def main() -> T:
        async with connect(address, token) as vigil:
            return await do(vigil)

    try:
        return asyncio.run(main())
    except Unreachable as error:
        raise CommandError(error.message, Exit.UNREACHABLE, code=error.code) from None
    except (Unauthorized, Forbidden) as error:
        advice = "" if token else "; give it in VIGILD_TOKEN"
        raise CommandError(f"{error.message}{advice}", Exit.UNAUTHORIZED, code=error.code) from None
    except WireError as error:
        raise CommandError(error.message, code=error.code) from None
