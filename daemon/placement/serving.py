"""Which worker has a camera that may name its model: one of those that serve it, as their heartbeats say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .rendezvous import owner

Serves = Mapping[str, str]  # worker -> the model it serves


def served(heartbeats: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What each worker says that it serves; nothing where it does not say."""
    return {worker: str(said.get("model", "")) for worker, said in heartbeats.items()}


def place(camera: str, model: str | None, serves: Serves) -> str:
    """
    The worker that has the camera. Where nobody serves its model, it is the one that tells so (see `refusal`).

    Raises: ValueError: there is no worker.
    """
    able = [worker for worker, served_model in serves.items() if model in (None, served_model)]
    return owner(camera, able or serves)


def refusal(model: str | None, models: Iterable[str]) -> str | None:
    """Why a camera that names this model cannot be watched where these are served; None where it can."""
    known = sorted(set(models))
    if model is None or model in known:
        return None
    names = ", ".join(f"'{name}'" for name in known)
    return (
        f"no worker serves the model '{model}', only {names}; name one of those, leave camera.model out, or run a "
        f"worker with model.name = '{model}'"
    )
