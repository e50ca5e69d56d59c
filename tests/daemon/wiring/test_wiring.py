"""Every setting of the file reaches the part it is for, and the defaults are that part's own."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from daemon.config import Config, Limits, load
from daemon.gateway import GatewayConfig
from daemon.offline import embedded_settings
from daemon.store import EmbeddedSettings
from daemon.wiring.gateway import gateway_settings
from daemon.wiring.worker import worker_settings
from daemon.worker import WorkerSettings
from streaming.sources import Limits as SourceLimits

# What configures the command line, the supervisor or the folders, and is no worker's, gateway's or store's own setting.
ELSEWHERE = {"data.dir", "store.redis_url", "worker.devices", "log.level", "log.format"}


def test_the_defaults_are_the_gateways_own() -> None:
    """An empty configuration is a gateway with its own defaults."""
    assert gateway_settings(Config()) == GatewayConfig()


def test_the_defaults_are_the_embedded_stores_own() -> None:
    """An empty configuration is a store with its own defaults."""
    assert embedded_settings(Config()) == EmbeddedSettings()


def test_the_limits_are_the_sources_own() -> None:
    """[limits] has the names, the defaults and the checks of streaming.sources."""
    assert dataclasses.asdict(Limits()) == dataclasses.asdict(SourceLimits())


def test_the_defaults_are_the_workers_own() -> None:
    """What a worker decides by itself is the same with an empty configuration; retention and folders are the file's."""
    ours, own = worker_settings(Config()), WorkerSettings()
    same = ("model", "dtype", "outbox")
    assert ours.engine == dataclasses.replace(
        own.engine, drop_options=ours.engine.drop_options, policy_options=ours.engine.policy_options
    )
    assert [getattr(ours, name) for name in same] == [getattr(own, name) for name in same]
    assert dataclasses.replace(ours.roster, media_dir=None) == own.roster


def settings_of(config: Config) -> tuple[object, ...]:
    return worker_settings(config), gateway_settings(config), embedded_settings(config)


def another(value: object) -> object:
    """A value of the same type that every bound allows."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 0.95
        case tuple():
            return ["other"]
    choices = {"auto": "float16", "always": "everysec", "repeat": "pair", "pixel+dtdr": "none", "salience": "window"}
    return choices.get(str(value), f"{value}-other")


@pytest.mark.parametrize(
    "name",
    [
        f"{section.name}.{setting.name}"
        for section in dataclasses.fields(Config)
        for setting in dataclasses.fields(getattr(Config(), section.name))
        if f"{section.name}.{setting.name}" not in ELSEWHERE
    ],
)
def test_no_setting_is_without_effect(name: str) -> None:
    """Changing any one setting changes what some part runs with: none is read and forgotten."""
    section, _, setting = name.partition(".")
    value = getattr(getattr(Config(), section), setting)
    assert settings_of(load(environ={}, flags={name: another(value)})) != settings_of(Config())


def test_a_named_precision_is_torchs() -> None:
    """model.dtype becomes the torch dtype of that name."""
    assert worker_settings(load(environ={}, flags={"model.dtype": "bfloat16"})).dtype is torch.bfloat16
