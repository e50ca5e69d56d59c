"""
Who may connect, and what they may do.

Tokens are 256 random bits, so a plain SHA-256 of one can be stored and looked up: there is nothing to guess and nothing
to salt. Hosts and origins are checked against DNS rebinding: a page of another site that reaches a loopback address
through a name of its own still says that name in `Host` and its own site in `Origin`.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from .errors import Forbidden

TOKEN_PREFIX: Final = "vgl_"  # noqa: S105  # makes a leaked token easy to find, it is no secret


class Role(enum.IntEnum):
    """What a client may do; each role may do all that the ones before it may."""

    VIEWER = 0  # read and subscribe
    OPERATOR = 1  # also ask, and keep rules
    ADMIN = 2  # also add, change and remove cameras

    @classmethod
    def named(cls, name: str) -> Role:
        """The role `viewer`, `operator` or `admin`. Raises ValueError otherwise."""
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(role.wire for role in cls)
            raise ValueError(f"no role {name!r}; the roles are {known}") from None

    @property
    def wire(self) -> str:
        return self.name.lower()

    def require(self, needed: Role, request: str) -> None:
        """Raises Forbidden when this role is below `needed`."""
        if self < needed:
            raise Forbidden(f"{request} needs the role {needed.wire}; this connection has {self.wire}")


def new_token() -> str:
    """A fresh token, to be shown once."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is stored of a token, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_loopback(host: str) -> bool:
    """True for `localhost` and the loopback addresses; False for every other name, and for 0.0.0.0 and ::."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Doors:
    """
    Which requests may come in at all, decided from their headers.

    token_required: every request must show a token; else the address is a loopback one and everyone there is admin.
    hosts: further names by which the daemon is reached (`vigil.example.org`), beside the loopback ones.
    origins: further sites whose pages may connect (`https://wall.example.org`), beside our own.
    """

    token_required: bool
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """One sentence why a request with these headers (lower-case names) is refused, or None when it may enter."""
        host = hostname(headers.get("host", ""))
        if host is None:
            return "the Host header is missing or malformed"
        if not self.token_required and not is_loopback(host) and host not in self.hosts:
            return f"the Host {host!r} is not a name of this daemon; use localhost, or add the name to gateway.hosts"
        origin = headers.get("origin")
        if origin is None or origin in self.origins:  # not a browser, or a site that was named
            return None
        if origin.partition("://")[2].lower() != headers["host"].lower():
            return f"pages of {origin[:200]!r} may not connect; add the origin to gateway.origins if they should"
        return None


def hostname(host_header: str) -> str | None:
    """The name in a Host header without its port, lower case; None when it is malformed."""
    try:
        parts = urlsplit(f"//{host_header}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.netloc != host_header or "@" in host_header:
        return None
    return name
