"""
How clients reach the daemon. Each module here offers `routes(service)`, and whatever it offers is served: a new
protocol is a new file.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from starlette.routing import BaseRoute

from clients.service import Service


def modules() -> list[ModuleType]:
    """Every protocol, by name."""
    return [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]


def routes(service: Service) -> list[BaseRoute]:
    """The routes of every protocol."""
    return [route for module in modules() for route in module.routes(service)]
