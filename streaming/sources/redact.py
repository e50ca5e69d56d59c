"""
Addresses without their credentials, for reasons and logs.
"""

from __future__ import annotations

import re

_SECRET_KEYS = r"pass(?:word|wd|phrase)?|pwd|token|secret|signature|sig|auth(?:orization)?|credentials?|key|session(?:id)?"
# user:pass@ may hold anything but a slash or a blank; greedy, so that an @ inside a password is eaten too
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(rf"([?&;#]|%26|%3F)([\w.~-]*(?:{_SECRET_KEYS})[\w.~-]*)(=|%3D)([^&;#\s'\"]*)", re.IGNORECASE)


def redact(text: str) -> str:
    """
    The text with `user:pass@` of every address, and the value of every query parameter that names a secret, as ***.

    Meant for whole sentences: everything else is left as it is. Applying it twice changes nothing more.
    """
    return _QUERY.sub(r"\1\2\3***", _USERINFO.sub("***@", text))
