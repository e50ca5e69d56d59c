"""Settings are read strictly: what is wrong is named by key, place and, where there is one, the probable meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.strict import Between, ConfigError, build, environ_layer, flag_layer, lines_of, to_toml, toml_layer


@dataclass(frozen=True, slots=True)
class Port:
    host: str = "localhost"
    number: Annotated[int, Between(0, 65_535)] = 80
    wait_s: Annotated[float, Between(0.1)] = 1.0
    open: bool = False
    mode: Literal["fast", "slow"] = "fast"
    names: tuple[str, ...] = ("a",)


@dataclass(frozen=True, slots=True)
class Span:
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")


@dataclass(frozen=True, slots=True)
class Settings:
    port: Port = field(default_factory=Port)
    span: Span = field(default_factory=Span)


def from_toml(text: str) -> Settings:
    return build(Settings, [toml_layer(text, "x.toml")])


def test_nothing_given_is_the_defaults() -> None:
    """Without a layer, and with empty ones, every setting has its default."""
    assert build(Settings, []) == from_toml("") == from_toml("[port]\n") == Settings()


def test_later_layers_win_setting_by_setting() -> None:
    """A flag wins over the environment, the environment over the file, each for the settings it names only."""
    layers = [
        toml_layer('[port]\nhost = "file"\nnumber = 1\nwait_s = 2', "x.toml"),
        environ_layer({"VIGILD_PORT__HOST": "environment", "VIGILD_PORT__NUMBER": "2", "HOME": "/"}),
        flag_layer({"port.host": "flag"}),
    ]
    assert build(Settings, layers).port == Port(host="flag", number=2, wait_s=2.0)


def test_the_environment_gives_every_type() -> None:
    """Strings from variables become the type of the setting; lists may be written with commas or as TOML."""
    port = build(
        Settings,
        [
            environ_layer(
                {
                    "VIGILD_PORT__NUMBER": "1_000",
                    "VIGILD_PORT__WAIT_S": "3",
                    "VIGILD_PORT__OPEN": "true",
                    "VIGILD_PORT__MODE": "slow",
                    "VIGILD_PORT__NAMES": "one, two",
                }
            )
        ],
    ).port
    assert port == Port(number=1000, wait_s=3.0, open=True, mode="slow", names=("one", "two"))
    assert build(Settings, [environ_layer({"VIGILD_PORT__NAMES": '["a,b"]'})]).port.names == ("a,b",)


def test_variables_without_two_underscores_are_not_settings() -> None:
    """VIGILD_TOKEN and its like belong to someone else."""
    assert environ_layer({"VIGILD_TOKEN": "x", "OTHER__KEY": "y"}) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[port]\n\nnumbr = 1", "x.toml, line 3: there is no setting port.numbr; did you mean 'port.number'?"),
        ("[prt]\nnumber = 1", "x.toml, line 2: there is no section [prt]; did you mean 'port'?"),
        ("[sections]\n", "x.toml, line 1: there is no section [sections]"),
        ("[span]\nnumber = 1", "x.toml, line 2: there is no setting span.number; did you mean 'port.number'?"),
        ("number = 1", "x.toml, line 1: 'number' stands outside any [section]"),
        ("[[port]]\n", "x.toml: 'port' stands outside any [section]"),
        ('[port]\nnumber = "1"', "x.toml, line 2: port.number must be a whole number between 0 and 65535; got '1'"),
        ("[port]\nnumber = 65536", "x.toml, line 2: port.number must be a whole number between 0 and 65535; got 65536"),
        ("[port]\nnumber = true", "x.toml, line 2: port.number must be a whole number between 0 and 65535; got True"),
        ("[port]\nnumber = 1.0", "x.toml, line 2: port.number must be a whole number between 0 and 65535; got 1.0"),
        ("[port]\nwait_s = nan", "x.toml, line 2: port.wait_s must be a number at least 0.1; got nan"),
        ("[port]\nwait_s = 0", "x.toml, line 2: port.wait_s must be a number at least 0.1; got 0"),
        ("port.wait_s = false", "x.toml, line 1: port.wait_s must be a number at least 0.1; got False"),
        ("[port]\nopen = 1", "x.toml, line 2: port.open must be true or false; got 1"),
        ("[port]\nhost = 1", "x.toml, line 2: port.host must be a string; got 1"),
        (
            '[port]\nmode = "fst"',
            "x.toml, line 2: port.mode must be one of fast, slow; got 'fst'; did you mean 'fast'?",
        ),
        ("[port]\nmode = 1", "x.toml, line 2: port.mode must be one of fast, slow; got 1"),
        ('[port]\nnames = "a"', "x.toml, line 2: port.names must be a list of strings; got 'a'"),
        ("[port]\nnames = [1]", "x.toml, line 2: port.names must be a list of strings; got [1]"),
        ("[port]\nhost = {a = 1}", "x.toml, line 2: port.host must be a string; got {'a': 1}"),
        ("[span]\nlow = 2\nhigh = 1", "x.toml, line 2, x.toml, line 3: [span] low (2) must be below high (1)"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    """Unknown keys, wrong types and values out of bounds name the key path, the file and the line."""
    with pytest.raises(ConfigError) as raised:
        from_toml(text)
    assert str(raised.value) == said


def test_what_is_no_toml_is_named_with_its_line() -> None:
    """A syntax error names the file, and keeps the parser's line."""
    with pytest.raises(ConfigError, match=r"x\.toml is not valid TOML: .*line 2"):
        from_toml("[port]\nnumber = \n")


def test_a_wrong_variable_or_flag_is_named() -> None:
    """Errors in the environment name the variable; errors in flags say so."""
    with pytest.raises(ConfigError, match=r"^VIGILD_PORT__NUMBER: port.number must be a whole number .* got 'many'$"):
        build(Settings, [environ_layer({"VIGILD_PORT__NUMBER": "many"})])
    with pytest.raises(ConfigError, match=r"^VIGILD_PORT__NUMBR: there is no setting port.numbr; did you mean"):
        build(Settings, [environ_layer({"VIGILD_PORT__NUMBR": "1"})])
    with pytest.raises(ConfigError, match=r"^--set: 'port' is no setting; write section.key=value$"):
        flag_layer({"port": "1"}, "--set")


def test_a_long_value_is_cut_in_the_message() -> None:
    """A value of a megabyte does not become a message of a megabyte."""
    with pytest.raises(ConfigError) as raised:
        from_toml(f'[port]\nnumber = "{"x" * 1_000_000}"')
    assert len(str(raised.value)) < 200


def test_lines_are_found_in_every_spelling() -> None:
    """Headers with blanks, quoted keys and dotted keys are found; comments are not."""
    text = "# [port]\nspan.low = 0\n[ port ]\n'host' = 'x'\n  number=1 # = 2\n"
    assert lines_of(text) == {("span", "low"): 2, ("port", ""): 3, ("port", "host"): 4, ("port", "number"): 5}


@given(
    host=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    number=st.integers(0, 65_535),
    wait_s=st.floats(0.1, 1e9),
    names=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=3),
)
def test_what_is_written_reads_back_the_same(host: str, number: int, wait_s: float, names: list[str]) -> None:
    """to_toml writes any settings so that build reads them back equal, whatever characters a string holds."""
    settings = Settings(Port(host, number, wait_s, open=True, mode="slow", names=tuple(names)))
    assert from_toml(to_toml(settings)) == settings
