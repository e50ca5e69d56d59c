"""Addresses without their credentials, for reasons and logs."""

from __future__ import annotations

import re

_NAMES = r"pass(?:word|wd|phrase)?|pwd|token|secret|signature|sig|auth(?:orization)?|credentials?|key|session(?:id)?"
# After ://, user and password reach to the last @ before the path; one with a raw slash in it is malformed but still a
# secret, so that an address whose path has an @ may lose its host to caution. Without a scheme, name:word@ is one too.
_USERINFO = re.compile(
    r"(?<=://)(?:[^/\s]*|[^/\s:@]*:\S*)@|(?<![\w/:])(?!(?:file|synthetic|v4l2):)[\w.~%+-]+:[^\s/@]+@(?=[\w\[])"
)
_QUERY = re.compile(rf"([?&;#]|%26|%3F)([\w.~-]*(?:{_NAMES})[\w.~-]*)(=|%3D)([^&;#\s'\"]*)", re.IGNORECASE)


def redact(text: str) -> str:
    """
    The text with `user:pass@` of every address, and the value of every query parameter that names a secret, as ***.

    Meant for whole sentences: everything else is left as it is. Applying it twice changes nothing more.
    """
    return _QUERY.sub(r"\1\2\3***", _USERINFO.sub("***@", text))
