"""Roles, tokens, and which hosts and origins are let in."""

from __future__ import annotations

import pytest

from clients.auth import Doors, Role, hash_token, hostname, is_loopback, new_token
from clients.errors import Forbidden

OPEN = Doors(token_required=False, hosts=frozenset({"vigil.lan"}), origins=frozenset({"https://wall.example"}))
CLOSED = Doors(token_required=True)


def test_each_role_may_do_what_the_ones_below_it_may():
    Role.ADMIN.require(Role.OPERATOR, "ask")
    Role.VIEWER.require(Role.VIEWER, "subscribe")
    with pytest.raises(Forbidden, match="ask needs the role operator"):
        Role.VIEWER.require(Role.OPERATOR, "ask")


def test_roles_have_names():
    assert [Role.named(role.wire) for role in Role] == list(Role)
    with pytest.raises(ValueError, match="viewer, operator, admin"):
        Role.named("root")


def test_tokens_differ_and_their_hash_does_not_show_them():
    one, other = new_token(), new_token()
    assert one != other
    assert len(one) > 40
    assert one not in hash_token(one)
    assert hash_token(one) == hash_token(one) != hash_token(other)


def test_any_text_can_be_tried_as_a_token():
    """A lone surrogate, as JSON may carry it, is a wrong token and no fault."""
    assert len(hash_token("\ud800")) == 64


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LocalHost.", "a.localhost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "", "127.0.0.1.nip.io"]
)
def test_not_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8787", "localhost"),
        ("[::1]:8787", "::1"),
        ("Example.ORG", "example.org"),
        ("", None),
        ("a@b", None),
        ("a/b", None),
        ("a:x", None),
        ("[::1", None),
    ],
)
def test_hostname(header, name):
    assert hostname(header) == name


@pytest.mark.parametrize(
    ("doors", "headers", "enters"),
    [
        (OPEN, {"host": "127.0.0.1:8787"}, True),
        (OPEN, {"host": "localhost:8787", "origin": "http://localhost:8787"}, True),
        (OPEN, {"host": "vigil.lan"}, True),
        (OPEN, {"host": "localhost:8787", "origin": "https://wall.example"}, True),
        (OPEN, {}, False),
        (OPEN, {"host": "evil.example:8787"}, False),  # DNS rebinding, as a script without Origin
        (OPEN, {"host": "evil.example:8787", "origin": "http://evil.example:8787"}, False),  # and with it
        (OPEN, {"host": "localhost:8787", "origin": "http://evil.example"}, False),  # another site's page
        (OPEN, {"host": "localhost:8787", "origin": "http://localhost:3000"}, False),  # another program here
        (OPEN, {"host": "localhost:8787", "origin": "null"}, False),  # a sandboxed frame
        (CLOSED, {"host": "vigil.example:8787"}, True),  # the token decides
        (CLOSED, {"host": "vigil.example", "origin": "https://vigil.example"}, True),
        (CLOSED, {"host": "vigil.example", "origin": "https://evil.example"}, False),
        (CLOSED, {"host": "a b"}, True),
    ],
)
def test_who_enters(doors, headers, enters):
    """A refusal is one sentence."""
    refusal = doors.refusal(headers)
    assert (refusal is None) is enters
