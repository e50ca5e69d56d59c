"""From an untrusted map to a request, or to an error that names the field."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import requests as rq
from clients.errors import Invalid, Unsupported, WireError

CAMERA = {"id": "dock", "source": "synthetic:yard"}
RULE = {"camera": "dock", "ask": "Is a truck there?"}
SQUARE = [[0, 0], [1, 0], [1, 1]]

WRONG = [
    ({}, "type"),
    ({"type": 7, "id": 1}, "type"),
    ({"type": "ping"}, "id"),
    ({"type": "ping", "id": True}, "id"),
    ({"type": "ping", "id": 1.0}, "id"),
    ({"type": "ping", "id": "1"}, "id"),
    ({"type": "ping", "id": 2**64}, "id"),
    ({"type": "ping", "id": None}, "id"),
    ({"type": "auth", "id": 1}, "token"),
    ({"type": "auth", "id": 1, "token": 5}, "token"),
    ({"type": "camera.add", "id": 1}, "camera"),
    ({"type": "camera.add", "id": 1, "camera": []}, "camera"),
    ({"type": "camera.add", "id": 1, "camera": {"id": "dock"}}, "camera.source"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"id": "../etc"}}, "camera.id"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"id": "a" * 65}}, "camera.id"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"fps": True}}, "camera.fps"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"fps": "2"}}, "camera.fps"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"fps": 0}}, "camera.fps"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"fps": math.nan}}, "camera.fps"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"fps": math.inf}}, "camera.fps"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"fps": 10**30}}, "camera.fps"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"notes": 1}}, "camera.notes"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"zones": [[[0, 0], [2, 0], [1, 1]]]}}, "camera.zones"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"zones": [[[0, 0], [math.nan, 0], [1, 1]]]}}, "camera.zones"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"masks": [[[0, 0]]]}}, "camera.masks"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"zones": [SQUARE] * 33}}, "camera.zones"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"zones": SQUARE}}, "camera.zones[0][0]"),
    (
        {"type": "camera.add", "id": 1, "camera": CAMERA | {"masks": [SQUARE, [[0, 0], [1, -0.1], [1, 1]]]}},
        "camera.masks",
    ),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"masks": [[[0, 0], [1, math.inf], [1, 1]]]}}, "camera.masks"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"masks": [[[0, 0], [0.5, 0.5], [1, 1]]]}}, "camera.masks"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"never_drop": [[[0.3, 0.3]] * 3]}}, "camera.never_drop"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"never_drop": [[[0, 0], [1, 1]] * 33]}}, "camera.never_drop"),
    (
        {"type": "camera.add", "id": 1, "camera": CAMERA | {"masks": [[[0, 0], ["1", 0], [1, 1]]]}},
        "camera.masks[0][1][0]",
    ),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"model": ""}}, "camera.model"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"model": "m" * 501}}, "camera.model"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"source": "gopher://x"}}, "camera.source"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"source": "rtsp://"}}, "camera.source"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"source": "rtsp://h:99999/"}}, "camera.source"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"source": "rtsp://h/\x00"}}, "camera.source"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"source": "file:"}}, "camera.source"),
    ({"type": "camera.add", "id": 1, "camera": CAMERA | {"source": "rtsp://" + "h" * 2000}}, "camera.source"),
    ({"type": "camera.update", "id": 1}, "camera"),
    ({"type": "camera.update", "id": 1, "camera": {"fps": 1}}, "camera.id"),
    ({"type": "camera.get", "id": 1, "camera": 5}, "camera"),
    ({"type": "camera.get", "id": 1, "camera": {"id": 5}}, "camera.id"),
    ({"type": "camera.remove", "id": 1, "camera": ""}, "camera.id"),
    ({"type": "rule.create", "id": 1, "rule": {"camera": "dock"}}, "rule.ask"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"id": "r_1"}}, "rule.id"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"ask": "  \n"}}, "rule.ask"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"ask": "a" * 1_000_000}}, "rule.ask"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"on": 0.4, "off": 0.6}}, "rule.off"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"on": 0.5, "off": 0.5}}, "rule.off"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"on": 1.5}}, "rule.on"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"hold_s": -1}}, "rule.hold_s"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"zone": [[0, 0], [0, 1.01], [1, 1]]}}, "rule.zone"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"zone": [[0, 0, 0]]}}, "rule.zone[0]"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"zone": []}}, "rule.zone"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"zone": [[0, 0], [1, 1]]}}, "rule.zone"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"zone": [[0, 0], [1, math.nan], [1, 1]]}}, "rule.zone"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"zone": [[0, 0.2], [1, 0.2], [0.3, 0.2]]}}, "rule.zone"),
    ({"type": "rule.create", "id": 1, "rule": RULE | {"zone": [[0, 0], [1, 0], [1, 1]] * 22}}, "rule.zone"),
    ({"type": "rule.update", "id": 1, "rule": {"on": 0.5}}, "rule.id"),
    ({"type": "ask", "id": 1, "camera": "dock"}, "text"),
    ({"type": "ask", "id": 1, "camera": "dock", "text": ""}, "text"),
    ({"type": "ask", "id": 1, "camera": "dock", "text": "a" * 2001}, "text"),
    ({"type": "ask", "id": 1, "camera": "dock", "text": "?", "max_tokens": 0}, "max_tokens"),
    ({"type": "ask", "id": 1, "camera": "dock", "text": "?", "max_tokens": True}, "max_tokens"),
    ({"type": "subscribe", "id": 1}, "topics"),
    ({"type": "subscribe", "id": 1, "topics": []}, "topics"),
    ({"type": "subscribe", "id": 1, "topics": "alert"}, "topics"),
    ({"type": "subscribe", "id": 1, "topics": ["alarm"]}, "topics"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "cameras": "dock"}, "cameras"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "cameras": []}, "cameras"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "cameras": ["/"]}, "cameras"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "cameras": ["c"] * 1025}, "cameras"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "after": -1}, "after"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "after": 1.5}, "after"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "after": 2**64 - 1}, "after"),
    ({"type": "subscribe", "id": 1, "topics": ["alert"], "after": 10**40}, "after"),
    ({"type": "events.list", "id": 1, "limit": 1001}, "limit"),
    ({"type": "events.list", "id": 1, "kind": "alert"}, "kind"),
    ({"type": "events.list", "id": 1, "before": "now"}, "before"),
]


@pytest.mark.parametrize(("message", "param"), WRONG, ids=[f"{n}-{param}" for n, (_, param) in enumerate(WRONG)])
def test_what_is_wrong_is_named(message, param):
    """Every wrong field is refused as `invalid`, in one sentence of bounded length, with its path."""
    with pytest.raises(Invalid) as caught:
        rq.parse(message)
    assert caught.value.param == param
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("polygon", "why"),
    [
        ([[0, 0], [1, 1]], "camera.masks[1] must have 3 to 64 points; got 2"),
        (
            [[0, 0], [1.5, 0], [1, 1]],
            "camera.masks[1] has the point (1.5, 0); x and y must lie in 0..1, from the top left corner",
        ),
        (
            [[0, 0], [math.nan, 0], [1, 1]],
            "camera.masks[1] has the point (nan, 0); x and y must lie in 0..1, from the top left corner",
        ),
        ([[0, 0], [1, 1], [0.2, 0.2]], "camera.masks[1] encloses nothing: its points lie on one line"),
    ],
)
def test_a_bad_polygon_is_told_by_its_place(polygon, why):
    with pytest.raises(Invalid) as caught:
        rq.parse({"type": "camera.add", "id": 1, "camera": CAMERA | {"masks": [SQUARE, polygon]}})
    assert (caught.value.message, caught.value.param) == (why, "camera.masks")


def test_every_request_of_the_protocol_is_known():
    """The table of the contract, and nothing forgotten."""
    assert set(rq.REQUESTS) == {
        "auth", "ping", "camera.add", "camera.update", "camera.remove", "camera.list", "camera.get",
        "rule.create", "rule.update", "rule.delete", "rule.list", "ask", "ask.cancel", "subscribe", "unsubscribe", "events.list",
    }  # fmt: skip


def test_defaults_are_those_of_the_contract():
    """What may be left out has the value that the contract gives."""
    camera = rq.parse({"type": "camera.add", "id": 1, "camera": CAMERA}).camera
    assert (camera.fps, camera.notes, camera.zones) == (2.0, False, ())
    rule = rq.parse({"type": "rule.create", "id": 1, "rule": RULE}).rule
    assert (rule.on, rule.off, rule.hold_s, rule.cooldown_s, rule.enabled) == (0.8, 0.5, 1.0, 30.0, True)
    assert rq.parse({"type": "ask", "id": 1, "camera": "dock", "text": "?"}).max_tokens == 128
    assert rq.parse({"type": "events.list", "id": 1}).limit == 100


def test_an_unknown_type_is_ignored_unless_somebody_waits_for_a_reply():
    """Both sides can grow, and no request hangs."""
    assert rq.parse({"type": "telemetry", "x": 1}) is None
    with pytest.raises(Unsupported, match="telemetry"):
        rq.parse({"type": "telemetry", "id": 1})


def test_unknown_fields_are_ignored():
    """A newer client may say more."""
    message = {"type": "camera.add", "id": 1, "camera": CAMERA | {"colour": "red"}, "trace": "x"}
    assert rq.parse(message).camera.id == "dock"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "camera.update", "id": 1, "camera": {"id": "dock", "fps": 4}},
        {"type": "camera.update", "id": 1, "camera": "dock", "fps": 4},
    ],
)
def test_an_update_may_stand_in_the_map_or_beside_the_id(message):
    assert rq.parse(message).camera == {"id": "dock", "fps": 4}


def test_a_rule_update_beside_the_id_may_change_every_field_of_a_rule():
    message = {
        "type": "rule.update",
        "id": 1,
        "rule": "r_1",
        "on": 0.9,
        "ask": "Is it red?",
        "camera": "gate",
        "else": 1,
    }
    assert rq.parse(message).rule == {"id": "r_1", "on": 0.9, "ask": "Is it red?", "camera": "gate"}


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)
nested = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
FIELDS = [
    "camera",
    "rule",
    "text",
    "topics",
    "cameras",
    "after",
    "before",
    "limit",
    "kind",
    "ask",
    "token",
    "max_tokens",
]


@given(
    kind=st.sampled_from([*rq.REQUESTS, "zzz"]),
    number=values,
    fields=st.dictionaries(st.sampled_from(FIELDS), nested, max_size=5),
)
def test_any_map_gives_a_request_or_a_wire_error(kind, number, fields):
    """No map whatsoever makes anything but a WireError."""
    try:
        rq.parse({"type": kind, "id": number} | fields)
    except WireError as error:
        assert error.as_map()["message"]
