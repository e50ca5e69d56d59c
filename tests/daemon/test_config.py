"""One TOML explains every setting, and what it says is what the code does."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import config
from daemon.config import Config, load, shipped
from daemon.strict import ConfigError, build, toml_layer

DEFAULT = shipped() / "default.toml"
SHIPPED = sorted(shipped().glob("*.toml"))


def test_the_default_file_is_the_defaults() -> None:
    """configs/default.toml names every setting with its default: file and dataclasses hold the same keys and values."""
    layer = toml_layer(DEFAULT.read_text(), "default.toml")
    described = {key: given.value for key, given in layer.items()}
    in_code = {
        (section.name, name): list(value) if isinstance(value, tuple) else value
        for section in dataclasses.fields(Config)
        for name, value in dataclasses.asdict(getattr(Config(), section.name)).items()
    }
    assert described == in_code
    assert {key: type(value) for key, value in described.items()} == {key: type(v) for key, v in in_code.items()}


def test_every_setting_is_explained_with_its_unit() -> None:
    """Each key of default.toml carries a comment; a name that ends in a unit has the unit's word in it."""
    words = {"_s": "second", "_mb": "MiB", "_tokens": "token", "_pixels": "width x height", "_events": "count"}
    for line in DEFAULT.read_text().splitlines():
        if key := re.match(r"(\w+) = ", line):
            comment = line.partition("  #")[2]
            assert len(comment.split()) >= 3, f"{key[1]} is not explained"
            for unit, word in words.items():
                if key[1].endswith(unit):
                    assert word in comment, f"{key[1]} does not say its unit"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_load_by_name(file: Path) -> None:
    """Every shipped file is valid, and its short name is enough to find it."""
    assert load(file.stem, environ={}) == load(file, environ={})


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    """Defaults, file, environment, flags: the later wins."""
    file = tmp_path / "vigild.toml"
    file.write_text('[gateway]\nhost = "::1"\nport = 1\n[log]\nlevel = "debug"\n')
    environ = {"VIGILD_GATEWAY__PORT": "2", "VIGILD_GATEWAY__HOST": "localhost", "VIGILD_CONFIG": str(file)}
    settings = load(environ=environ, flags={"gateway.port": 3})
    assert (settings.gateway.host, settings.gateway.port, settings.log.level) == ("localhost", 3, "debug")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[gateway]\nprot = 1\n", "line 2: there is no setting gateway.prot; did you mean 'gateway.port'?"),
        (b"[rules]\nbudget_tokens = 1\n", "line 2: there is no setting rules.budget_tokens; did you mean 'camera.budg"),
        (b"[camera]\nlag_on = 0.1\nlag_off = 0.2\n", "lag_off (0.2) must be below lag_on (0.1)"),
        (b"[limits]\nretry_failed_s = 61\n", "line 2: limits.retry_failed_s must be a number between 0.001 and 60"),
        (b"[camera]\ndrop = 'featur'\n", "drop is 'featur'; there are dtdr, feature, none, pixel"),
        (b"[camera]\npolicy = 'base'\n", "policy is 'base'; there are merge, retrieve, salience, window"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """The sentence names the file and, where it can, the line and the key."""
    file = tmp_path / "vigild.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        load(file, environ={})
    assert str(file) in str(raised.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path that is not there, a folder, and an unknown short name each get a sentence."""
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: no such file"):
        load(tmp_path / "none.toml", environ={})
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, environ={})
    with pytest.raises(ConfigError, match="no file 'nowhere', and the shipped ones are default, demo, edge, gpu"):
        load("nowhere", environ={})


def test_children_read_what_the_parent_resolved() -> None:
    """The environment made for children gives the same settings, whatever else stands in it; by hand there is none."""
    settings = load("gpu", environ={}, flags={"store.redis_url": "redis://:s3cret@host", "gateway.origins": '["a"]'})
    environ = {"VIGILD_GATEWAY__PORT": "1", "VIGILD_CONFIG": "edge"} | config.for_children(settings)
    assert config.from_parent(environ) == settings
    with pytest.raises(ConfigError, match="started by `vigild serve`"):
        config.from_parent({})


def test_empty_folders_are_chosen(tmp_path: Path) -> None:
    """Media lie in the data directory unless said otherwise; ~ is the home folder; paths come out absolute."""
    settings = load(environ={}, flags={"data.dir": str(tmp_path)})
    assert settings.data_dir == tmp_path
    assert settings.media_dir == tmp_path / "media"
    assert load(environ={}, flags={"media.dir": "~/clips"}).media_dir == Path.home() / "clips"
    assert load(environ={}).data_dir.is_absolute()
    assert load(environ={}, flags={"data.dir": "here"}).data_dir == Path.cwd() / "here"


def test_kinds_are_the_modules_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new drop rule or policy is a new file, and can be named at once; its interface and private files cannot."""
    package = tmp_path / "shelf"
    package.mkdir()
    for name in ("__init__", "base", "_private", "merge", "window"):
        (package / f"{name}.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert config.kinds("shelf") == ["merge", "window"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "ws://127.0.0.1:1"),
        ("0.0.0.0", "ws://127.0.0.1:1"),
        ("::", "ws://[::1]:1"),
        ("fd00::2", "ws://[fd00::2]:1"),
        ("cam.local", "ws://cam.local:1"),
    ],
)
def test_clients_find_the_gateway(host: str, url: str) -> None:
    """The address to connect to, for every address to listen on."""
    assert load(environ={}, flags={"gateway.host": host, "gateway.port": 1}).url == url


def test_reading_settings_loads_no_torch_and_no_decoder() -> None:
    """`import daemon.config` stays light: neither torch nor transformers nor av nor redis comes with it."""
    heavy = "sorted({'torch', 'transformers', 'av', 'redis', 'numpy'} & set(sys.modules))"
    code = f"import sys, daemon.config; daemon.config.load('gpu'); print({heavy})"
    env = {key: value for key, value in os.environ.items() if not key.startswith("VIGILD_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, timeout=60)
    assert done.stdout.strip() == "[]"


def test_build_accepts_its_own_defaults() -> None:
    """The schema is one that `build` can read: every type of every setting is known to it."""
    assert build(Config, [toml_layer(DEFAULT.read_text(), "default.toml")]) == Config()
