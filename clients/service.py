"""What every protocol is given: the hub, the daemon behind it, and the bounds for one client."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import requests as rq
from .auth import Doors, Role
from .backend import Backend
from .errors import Invalid
from .hub import Hub, Subscriber
from .metrics import Metrics

NEEDED = {
    rq.CameraAdd: Role.ADMIN,
    rq.CameraUpdate: Role.ADMIN,
    rq.CameraRemove: Role.ADMIN,
    rq.RuleCreate: Role.OPERATOR,
    rq.RuleUpdate: Role.OPERATOR,
    rq.RuleDelete: Role.OPERATOR,
    rq.Ask: Role.OPERATOR,
    rq.AskCancel: Role.OPERATOR,
}  # every other request: Role.VIEWER


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """
    Bounds for one client, and for all of them.

    clients: WebSocket connections at once.
    messages_per_s, message_burst: incoming messages; past them the connection is closed with 4408.
    auth_timeout_s: for the `auth` message.
    stall_s: how long one message may wait for a peer that does not read.
    page: events read from the store at once for a client that catches up.
    """

    clients: int = 1000
    messages_per_s: float = 200.0
    message_burst: int = 1000
    auth_timeout_s: float = 5.0
    stall_s: float = 20.0
    page: int = 256


@dataclass(slots=True)
class Service:
    """The client side of one process. now_ms: Unix epoch milliseconds. server: name and version, for `hello`."""

    hub: Hub
    backend: Backend
    doors: Doors
    metrics: Metrics
    now_ms: Callable[[], int]
    server: str
    limits: ClientLimits = field(default_factory=ClientLimits)


async def fulfil(request: rq.Request, role: Role, subscriber: Subscriber, service: Service) -> dict[str, Any]:
    """
    Do what one authenticated client asks; the fields of its `result`.

    Raises: WireError.
    """
    backend = service.backend
    role.require(NEEDED.get(type(request), Role.VIEWER), str(request.__struct_config__.tag))
    match request:
        case rq.Ping():
            return {}
        case rq.Auth():
            return {"role": role.wire}
        case rq.CameraAdd():
            return {"camera": (await backend.add_camera(request.camera)).as_message()}
        case rq.CameraUpdate():
            view = await backend.update_camera(rq.named(request.camera, "camera"), request.camera)
            return {"camera": view.as_message()}
        case rq.CameraRemove():
            return {"camera": (await backend.remove_camera(rq.named(request.camera, "camera"))).as_message()}
        case rq.CameraGet():
            return {"camera": (await backend.get_camera(rq.named(request.camera, "camera"))).as_message()}
        case rq.CameraList():
            return {"cameras": [view.as_message() for view in await backend.list_cameras()]}
        case rq.RuleCreate():
            return {"rule": await backend.create_rule(request.rule)}
        case rq.RuleUpdate():
            return {"rule": await backend.update_rule(rq.named(request.rule, "rule"), request.rule)}
        case rq.RuleDelete():
            return {"rule": await backend.delete_rule(rq.named(request.rule, "rule"))}
        case rq.RuleList():
            return {"rules": await backend.list_rules(request.camera)}
        case rq.Ask():
            return {"ask": await ask(request, subscriber, service)}
        case rq.AskCancel():
            await backend.cancel_ask(request.ask)
            return {"ask": request.ask}
        case rq.Subscribe():
            return {"seq": await subscribe(request, subscriber, service)}
        case rq.Unsubscribe():
            subscriber.unsubscribe(request.topics, request.chosen)
            return {}
        case rq.EventsList():
            events = await backend.list_events(
                after=request.after,
                before=request.before,
                camera=request.camera,
                kind=request.kind,
                limit=request.limit,
            )
            return {"events": [event.as_message() for event in events]}
        case _:
            raise AssertionError(f"{type(request).__name__} is in REQUESTS, but not here")


async def ask(request: rq.Ask, subscriber: Subscriber, service: Service) -> str:
    """Hand over a question; its answer may flow once `answer_may_flow` is called for the id."""
    name = new_id("q")
    service.hub.expect_answer(name, subscriber)
    try:
        await service.backend.ask(name, request.camera, request.text, request.max_tokens)
    except BaseException:
        service.hub.forget_answer(name)
        raise
    return name


async def subscribe(request: rq.Subscribe, subscriber: Subscriber, service: Service) -> int:
    """
    Begin to deliver; the newest seq there is.

    A camera need not exist: what is chosen here is a filter, and holds for one that is added later, or was removed.
    """
    newest = await service.backend.newest_seq()
    after = newest if request.after is None else request.after
    if after > newest:
        raise Invalid(
            f"after is {after}, but the newest event is {newest}; subscribe without after, or with the last seq "
            "that you got from this daemon",
            "after",
        )
    subscriber.subscribe(request.topics, request.chosen, after)
    return newest


def new_id(kind: str) -> str:
    """A fresh id such as `q_3f9a1c07d2e4`."""
    return f"{kind}_{secrets.token_hex(6)}"
