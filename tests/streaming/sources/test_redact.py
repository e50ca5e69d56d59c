"""No password, token or key of an address is ever shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.sources.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/ch1", "rtsp://***@10.0.0.7:554/ch1"),
        ("rtsp://admin@10.0.0.7/ch1", "rtsp://***@10.0.0.7/ch1"),
        ("rtsp://a:p@ss:w@rd@cam/x", "rtsp://***@cam/x"),
        ("rtsp://a:sl/ash@cam/x", "rtsp://***@cam/x"),
        ("'admin:hunter2@cam' has no scheme", "'***@cam' has no scheme"),
        ("http://cam/v?user=bob&password=x&n=1", "http://cam/v?user=bob&password=***&n=1"),
        ("http://cam/v?access_token=abc#t", "http://cam/v?access_token=***#t"),
        ("http://cam/v?X-Amz-Signature=ab%2Fc", "http://cam/v?X-Amz-Signature=***"),
        ("http://cam/v?apikey=1;SECRET=2", "http://cam/v?apikey=***;SECRET=***"),
        ("file:clip@2x.mp4?loop=1", "file:clip@2x.mp4?loop=1"),
        ("http://cam:80/a.mjpg?fps=2", "http://cam:80/a.mjpg?fps=2"),
        ("no picture for 5 s", "no picture for 5 s"),
    ],
)
def test_hides_secrets_and_only_those(text, shown):
    """Userinfo and the values of secret parameters become ***; hosts, paths and other parameters stay."""
    assert redact(text) == shown
    assert redact(f"{text} is gone") == f"{shown} is gone"


SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/&;#@"), min_size=1).map(
    lambda text: f"Zq{text}qZ"
)


@given(SECRET, SECRET)
def test_no_part_of_a_password_survives(user, password):
    """Any printable user and password, and any value of a key, are gone; redacting twice changes nothing."""
    once = redact(f"rtsp://{user}:{password}@host/path cannot be opened")
    assert once == "rtsp://***@host/path cannot be opened"
    assert redact(once) == once
