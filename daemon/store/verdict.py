"""A function's reply, turned into its values or into the error it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import Exists, Fenced, LimitReached, NotFound, StoreError


def judged(words: Sequence[str], *, camera: str = "") -> Sequence[str]:
    """
    What follows the "ok".

    Args: camera: whose lease it was, for Fenced.
    Raises: StoreError of the kind that the status names.
    """
    status, *rest = words
    match status:
        case "ok":
            return rest
        case "fenced":
            raise Fenced(camera, int(rest[0]))
        case "missing":
            raise NotFound(rest[0], rest[1])
        case "exists":
            raise Exists(rest[0], rest[1])
        case "limit":
            scope, limit = rest[0], int(rest[1])
            whose = "this camera" if scope == "camera" else "the daemon"
            raise LimitReached(f"{whose} has {limit} questions waiting already; ask again later", scope, limit)
    raise StoreError(f"the store answered {status!r}, which this version of vigild does not know")
