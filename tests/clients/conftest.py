"""Coroutine tests run in an event loop of their own."""

from __future__ import annotations

from tests.daemon.store.conftest import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
