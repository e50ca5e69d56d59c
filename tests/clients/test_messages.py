"""Specifications, and the secrets in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.backend import CameraView
from clients.errors import Invalid
from clients.messages import CameraSpec, Event, RuleSpec, check_source, redacted, updated

SECRETS = {
    "rtsp://admin:s3cret@cam/main": "rtsp://***@cam/main",
    "rtsps://s3cret@cam:322/main?x=1": "rtsps://***@cam:322/main?x=1",
    "rtsp://admin:s3c@ret/s3cret@cam/main": "rtsp://***@cam/main",
    "rtsp://admin:s3cret?#@cam/main": "rtsp://***@cam/main",
    "RTSP://admin:s3cret@[fe80::1]:554/": "RTSP://***@[fe80::1]:554/",
    "http:admin:s3cret@cam/": "http:***@cam/",
    "admin:s3cret@cam": "***@cam",
    "http://cam/snap.cgi?user=admin&pwd=s3cret&ch=1": "http://cam/snap.cgi?user=***&pwd=***&ch=1",
    "http://cam/v?TOKEN=s3cret#t": "http://cam/v?TOKEN=***#t",
    "http://cam/v?api_key=s3cret": "http://cam/v?api_key=***",
    "rtsp://cam/user=admin&password=s3cret&channel=1": "rtsp://cam/user=***&password=***&channel=1",
}


@pytest.mark.parametrize(("source", "shown"), SECRETS.items())
def test_secrets_are_not_shown(source, shown):
    """Whatever looks like a credential is hidden, also in a URL that is malformed."""
    assert redacted(source) == shown
    assert "s3cret" not in redacted(source)


@pytest.mark.parametrize(
    "source",
    ["file:a@b.mp4?loop=1", "synthetic:yard", "webrtc:", "v4l2:/dev/video0", "rtsp://cam/1", "http://cam/?monkey=1"],
)
def test_what_holds_no_secret_is_shown_as_it_is(source):
    assert redacted(source) == source


@given(password=st.text(st.characters(codec="ascii", exclude_characters=" "), min_size=6, max_size=20))
def test_no_password_is_ever_shown(password):
    """Neither by `redacted` nor by the refusal of the source."""
    source = f"rtsp://admin:{password}@cam.local/main"
    assert redacted(source) == "rtsp://***@cam.local/main"
    try:
        check_source(source)
    except Invalid as error:
        assert password not in error.message


@pytest.mark.parametrize("source", [source for source in SECRETS if not source.startswith("admin")])
def test_a_source_with_credentials_never_appears_in_a_refusal(source):
    for wrong in (source, source.replace("cam", "cam:99999"), "gopher" + source):
        try:
            check_source(wrong)
        except Invalid as error:
            assert "s3cret" not in error.message


def test_a_reply_shows_the_camera_without_its_secrets():
    view = CameraView(CameraSpec(id="dock", source="rtsp://u:p@h/1"), "live", None, 5, {"fps_seen": 2.0})
    message = view.as_message()
    assert message["source"] == "rtsp://***@h/1"
    assert (message["id"], message["state"], message["counters"]) == ("dock", "live", {"fps_seen": 2.0})


def test_a_camera_that_comes_back_as_it_was_shown_keeps_its_secrets():
    """A client that reads a camera, changes one field and writes it all back does not destroy the password."""
    camera = CameraSpec(id="dock", source="rtsp://u:p@h/1")
    shown = CameraView(camera, "live", None, None, {}).as_message()
    assert updated(camera, shown | {"fps": 5}) == CameraSpec(id="dock", source="rtsp://u:p@h/1", fps=5)


def test_an_update_is_checked_as_a_whole():
    """Thresholds that are fine alone may cross those that stand."""
    rule = RuleSpec(camera="dock", ask="?", on=0.8, off=0.5)
    with pytest.raises(Invalid) as caught:
        updated(rule, {"on": 0.4})
    assert caught.value.param == "rule.off"
    with pytest.raises(Invalid) as caught:
        updated(rule, {"enabled": "yes"})
    assert caught.value.param == "rule.enabled"


def test_an_update_never_changes_the_id():
    assert updated(CameraSpec(id="dock", source="synthetic:yard"), {"id": "gate", "fps": 1}).id == "dock"


def test_an_event_without_a_camera_says_none():
    """The field is left out, not null."""
    assert "camera" not in Event(1, "e_1", "gap", None, 5, {"reason": "trimmed"}).as_message()
