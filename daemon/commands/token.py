"""`vigild token`: who may connect when the daemon listens beyond loopback. Works with and without a running daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from clients.auth import Role, hash_token, new_token
from daemon.config import load
from daemon.offline import store_of
from daemon.store import Store
from daemon.store import Token as Stored

from .terminal import CommandError, ConfigFile, Exit, Json, Setting, Terminal, overrides

T = TypeVar("T")

SHOWN_HASH_DIGITS = 12

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="data.dir")]

app = typer.Typer(help="The access tokens.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Option(help="What to call it in the list.")] = "unnamed",
    role: Annotated[str, typer.Option(help="viewer, operator (may ask and keep rules) or admin.")] = "viewer",
    file: ConfigFile = None,
    data_dir: DataDir = None,
    setting: Setting = None,
    as_json: Json = False,
) -> None:
    """Create a token and print it; only its hash is kept, so it is shown this once."""
    try:
        Role.named(role)
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE, code="usage") from None
    token = new_token()
    with_store(file, data_dir, setting, lambda store: store.put_token(hash_token(token), role.lower(), name))
    terminal = Terminal(as_json)
    if as_json:
        terminal.item({"token": token, "role": role.lower(), "name": name})
        return
    typer.echo(token)
    typer.echo(f"role {role.lower()}, name {name}; it is not shown again", err=True)


@app.command("list")
def list_tokens(
    *, file: ConfigFile = None, data_dir: DataDir = None, setting: Setting = None, as_json: Json = False
) -> None:
    """List the tokens by name, role and the beginning of their hash."""
    tokens = with_store(file, data_dir, setting, lambda store: store.tokens())
    terminal = Terminal(as_json)
    for token in tokens:
        if as_json:
            terminal.item({"name": token.name, "role": token.role, "hash": token.hash})
    rows = [(token.name, token.role, token.hash[:SHOWN_HASH_DIGITS]) for token in tokens]
    terminal.rows("tokens", ("name", "role", "hash"), rows)


@app.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(help="Its name, the beginning of its hash, or the token itself.")],
    *,
    file: ConfigFile = None,
    data_dir: DataDir = None,
    setting: Setting = None,
    as_json: Json = False,
) -> None:
    """Take a token back; connections made with it end when they next come."""

    async def remove(store: Store) -> Stored:
        token = chosen(await store.tokens(), which)
        await store.remove_token(token.hash)
        return token

    token = with_store(file, data_dir, setting, remove)
    terminal = Terminal(as_json)
    if as_json:
        terminal.item({"revoked": token.hash, "name": token.name, "role": token.role})
    terminal.say(f"revoked {token.name} ({token.role})")


def chosen(tokens: list[Stored], which: str) -> Stored:
    """The one token that is meant. Raises CommandError: none, or more than one."""
    digest = hash_token(which)
    exact = [token for token in tokens if which == token.name or digest == token.hash]
    found = exact or [token for token in tokens if len(which) >= 4 and token.hash.startswith(which.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError("there is no such token; `vigild token list` shows them", code="not_found")
    hashes = ", ".join(token.hash[:SHOWN_HASH_DIGITS] for token in found)
    raise CommandError(f"{len(found)} tokens are meant by that; name one by its hash: {hashes}", code="conflict")


def with_store(
    file: str | None, data_dir: Path | None, setting: list[str] | None, do: Callable[[Store], Awaitable[T]]
) -> T:
    """Run `do` on the store of the configuration. Raises DaemonError."""
    flags = overrides(setting) | ({"data.dir": str(data_dir)} if data_dir else {})
    config = load(file, flags=flags)

    async def main() -> T:
        async with store_of(config) as store:
            return await do(store)

    return asyncio.run(main())
