"""Access tokens: only their hashes are stored, so that the store's files do not open the door."""

from __future__ import annotations

from dataclasses import dataclass

from .codec import pack, unpack
from .keys import TOKENS
from .link import Link


@dataclass(frozen=True, slots=True)
class Token:
    """hash: whatever clients/auth.py makes of the secret. role: what it may do. name: what people call it."""

    hash: str
    role: str
    name: str


class Tokens:
    """Part of Store."""

    _link: Link

    async def put_token(self, hash: str, role: str, name: str) -> None:  # noqa: A002  what it is
        await self._link.command("HSET", TOKENS, hash, pack({"role": role, "name": name}))

    async def remove_token(self, hash: str) -> bool:  # noqa: A002  what it is
        """Whether there was one. Works on a full store."""
        return bool(await self._link.command("HDEL", TOKENS, hash))

    async def tokens(self) -> list[Token]:
        """Every token, by name."""
        words = await self._link.command("HGETALL", TOKENS)
        pairs = zip(words[::2], words[1::2], strict=True)
        tokens = [Token(str(key, "utf-8"), **unpack(value)) for key, value in pairs]
        return sorted(tokens, key=lambda token: (token.name, token.hash))
