"""The command line: what it prints, for people and for programs, and with which status it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemon import cli
from daemon.commands.rules import polygon
from daemon.commands.terminal import CommandError, Exit, ago, overrides
from daemon.lock import held
from tests.peers.daemon import ROOT, Daemon, free_port, running_daemon

COMMANDS = {
    "serve",
    "demo",
    "doctor",
    "cameras",
    "rules",
    "watch",
    "ask",
    "events",
    "token",
    "bench",
    "config",
    "version",
    "pocket",
}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def items(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def vigild(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `vigild …` in this process, without anything of this machine's configuration."""
    for name in [name for name in os.environ if name.startswith("VIGILD_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def folder() -> Iterator[str]:
    """A data folder with a short name: the path of a Unix socket is bounded."""
    with tempfile.TemporaryDirectory(prefix="vg-") as name:
        yield name


def until(holds: Callable[[], bool], within_s: float = 20) -> None:
    """Return once the condition holds; asked ten times a second."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s"
        threading.Event().wait(0.1)


# without a daemon


def test_help_names_every_command(vigild: Run) -> None:
    """`vigild --help` lists what a person may run, and none of the child processes' commands."""
    shown = vigild("--help")
    assert shown.status == 0
    listed = set(re.findall(r"│ (\w+) ", shown.out))
    assert listed >= COMMANDS
    assert not listed & {"worker", "gateway"}


@pytest.mark.parametrize("command", sorted(COMMANDS - {"cameras", "rules", "token", "pocket"}))
def test_every_command_speaks_json(vigild: Run, command: str) -> None:
    """`--json` is everywhere."""
    assert "--json" in vigild(command, "--help").out


@pytest.mark.parametrize(
    "command",
    [f"cameras {verb}" for verb in ("list", "add", "show", "remove")]
    + [f"rules {verb}" for verb in ("list", "add", "set", "remove")]
    + [f"token {verb}" for verb in ("create", "list", "revoke")]
    + [f"pocket {verb}" for verb in ("render", "train")],
)
def test_every_subcommand_speaks_json(vigild: Run, command: str) -> None:
    """`--json` is everywhere."""
    assert "--json" in vigild(*command.split(), "--help").out


def test_version(vigild: Run) -> None:
    """The version, as a line and as an object."""
    assert vigild("version").out.startswith("vigild 0.")
    assert vigild("--version").out.startswith("vigild 0.")
    assert vigild("version", "--json").items[0]["protocol"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("cameras",),
        ("cameras", "add", "dock", "synthetic:yard"),
        ("rules",),
        ("events", "--follow"),
        ("ask", "dock", "What?"),
        ("watch", "dock", "Is it?"),
    ],
    ids=" ".join,
)
def test_without_a_daemon_there_is_one_sentence(vigild: Run, arguments: tuple[str, ...]) -> None:
    """Nobody listens: status 3, one line on stderr that says where and what to do, nothing on stdout."""
    url = f"ws://127.0.0.1:{free_port()}"
    done = vigild(*arguments, "--url", url)
    assert done.status == Exit.UNREACHABLE
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert url in done.err
    assert "vigild serve" in done.err
    told = vigild(*arguments, "--url", url, "--json")
    assert json.loads(told.err)["error"]["code"] == "unreachable"


def test_what_answers_is_no_daemon(vigild: Run) -> None:
    """A port where a web server of another kind answers: still one sentence and status 3."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        serving = threading.Thread(target=other.serve_forever)
        serving.start()
        try:
            done = vigild("cameras", "--url", f"ws://127.0.0.1:{other.server_port}")
        finally:
            other.shutdown()
            serving.join()
    assert done.status == Exit.UNREACHABLE
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("cameras", "add", "dock"),
        ("events", "--kind", "alarm"),
        ("bench", "none"),
        ("rules", "add", "dock", "Is it?", "--zone", "0,0 1"),
        ("cameras", "add", "dock", "synthetic:yard", "--mask", "0,0 1;0 1,1"),
        ("rules", "set", "r_1"),
        ("token", "create", "--role", "king"),
        ("serve", "--set", "gateway.port"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_status_2(vigild: Run, arguments: tuple[str, ...]) -> None:
    """What the command line itself shows to be wrong ends with status 2 before anything is tried."""
    done = vigild(*arguments)
    assert done.status == Exit.USAGE
    assert done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "command", [("serve",), ("cameras",), ("doctor",), ("config",), ("token", "list")], ids=" ".join
)
def test_a_wrong_configuration_names_file_line_and_key(
    vigild: Run, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command refuses it alike: status 78 and one sentence."""
    file = tmp_path / "vigild.toml"
    file.write_text("[gateway]\nprot = 1\n")
    monkeypatch.setenv("VIGILD_CONFIG", str(file))
    done = vigild(*command)
    assert done.status == Exit.CONFIGURATION
    assert f"{file}, line 2: there is no setting gateway.prot; did you mean 'gateway.port'?" in done.err


def test_config_shows_what_is_in_force(vigild: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, environment and command line laid over each other, as TOML that can be read back, and as an object."""
    monkeypatch.setenv("VIGILD_GATEWAY__PORT", "1")
    done = vigild("config", "--config", "edge", "--set", "gateway.host=::1")
    assert 'host = "::1"\nport = 1\n' in done.out
    (shown,) = vigild("config", "--config", "edge", "--json").items
    assert shown["engine"]["pairing"] == "pair"


def test_the_children_are_not_for_hands(vigild: Run) -> None:
    """A worker or gateway started by hand says who starts it; its parent puts the name before the line."""
    for command in ("worker", "gateway"):
        done = vigild(command)
        assert done.status == Exit.CONFIGURATION
        assert done.err.startswith("VIGILD_RESOLVED is not set: this command is started by `vigild serve`")


def test_a_data_folder_has_one_daemon(folder: str) -> None:
    """A second daemon says whose it is and leaves everything alone: status 75."""
    command = [sys.executable, "-m", "daemon", "serve", "--data-dir", folder, "--port", "0"]
    with held(Path(folder)):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == Exit.ALREADY_RUNNING
        assert f"process {os.getpid()}" in done.stderr
        assert [path.name for path in Path(folder).iterdir()] == ["vigild.lock"]


def test_a_missing_redis_is_refused(vigild: Run, folder: str) -> None:
    """A redis_url that cannot be understood: one sentence, no traceback."""
    done = vigild("token", "list", "--data-dir", folder, "--set", "store.redis_url=carrier-pigeon://roof")
    assert done.status == Exit.CONFIGURATION
    assert "redis_url" in done.err


def test_tokens_without_a_daemon(vigild: Run, folder: str) -> None:
    """Tokens are made, listed and taken back before the daemon first runs; the secret is on stdout once, alone."""
    made = vigild("token", "create", "--name", "wall", "--role", "operator", "--data-dir", folder)
    assert made.status == 0
    secret = made.out.strip()
    assert secret.startswith("vgl_")
    (listed,) = vigild("token", "list", "--data-dir", folder, "--json").items
    assert (listed["name"], listed["role"]) == ("wall", "operator")
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert files
    assert not any(secret.encode() in path.read_bytes() for path in files)

    second = vigild("token", "create", "--name", "wall", "--json", "--data-dir", folder).items[0]
    ambiguous = vigild("token", "revoke", "wall", "--data-dir", folder)
    assert ambiguous.status == Exit.FAILED
    assert "2 tokens" in ambiguous.err
    assert vigild("token", "revoke", listed["hash"][:8], "--data-dir", folder).out == "revoked wall (operator)\n"
    assert vigild("token", "revoke", second["token"], "--data-dir", folder).status == 0
    assert vigild("token", "list", "--data-dir", folder, "--json").items == []
    assert vigild("token", "revoke", "wall", "--data-dir", folder).status == Exit.FAILED


def test_doctor_says_what_fails_and_how_to_mend_it(vigild: Run, folder: str) -> None:
    """One object a check; a source that cannot be opened makes the status 1, and everything else is still looked at."""
    done = vigild("doctor", "file:none.mp4", "--data-dir", folder, "--set", "gateway.port=0", "--json")
    assert done.status == Exit.FAILED
    findings = {item["name"]: item for item in done.items}
    assert [name for name, item in findings.items() if not item["ok"]] == ["source"]
    assert findings["source"]["advice"]
    assert findings["store"]["detail"].startswith("valkey")


# small parts


def test_a_polygon_is_read() -> None:
    """Points are pairs with a comma; anything else names the pair."""
    assert polygon("0,0 1,0 0.5,1") == ((0, 0), (1, 0), (0.5, 1))
    for text in ("0,0 1", "0,0 a,b", "0;0"):
        with pytest.raises(CommandError, match="is no point"):
            polygon(text)


def test_overrides_are_pairs() -> None:
    """--set takes the first '=' as the separator."""
    assert overrides(["a.b=c=d", " e.f =1"]) == {"a.b": "c=d", "e.f": "1"}
    with pytest.raises(CommandError, match=r"write section\.key=value"):
        overrides(["a.b"])


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (None, "never"),
        (0, "0.0 s ago"),
        (9_900, "9.9 s ago"),
        (60_000, "60 s ago"),
        (7_200_000, "2 h ago"),
        (-5, "0.0 s ago"),
    ],
)
def test_how_long_ago(ms: int | None, said: str) -> None:
    """In the largest unit of which there are two."""
    now = 1_790_000_000_000
    assert ago(None if ms is None else now - ms, now) == said


def test_the_command_line_is_light() -> None:
    """`vigild` starts without torch, transformers, av or the web server."""
    code = "import sys, daemon.cli; print([m for m in ('torch', 'transformers', 'av', 'uvicorn') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# with a daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A real daemon with a live camera `yard`."""
    with running_daemon(VIGILD_RULES__RECHECK_S="0.5", VIGILD_LOG__LEVEL="warning") as running:
        asyncio.run(running.until_ready())
        yield running


@pytest.fixture
def talk(vigild: Run, daemon: Daemon) -> Run:
    """`vigild …` against the daemon."""
    return lambda *arguments: vigild(*arguments, "--url", daemon.url)


@pytest.mark.slow
def test_a_session_at_the_command_line(talk: Run) -> None:
    """Add a camera and a rule, watch until an alert, ask, read the events, remove: all as a person would."""
    corners = ("0,0 1,0 0.5,0.1", "0,0.9 1,0.9 1,1 0,1")
    masks = [part for text in corners for part in ("--mask", text)]
    added = talk("cameras", "add", "dock", "synthetic:yard", "--fps", "4", "--model", "tiny-random", *masks, "--json")
    assert (added.items[0]["id"], added.items[0]["model"]) == ("dock", "tiny-random")
    assert [len(mask) for mask in added.items[0]["masks"]] == [3, 4]
    again = talk("cameras", "add", "dock", "synthetic:yard", "--json")
    assert again.status == Exit.FAILED
    assert json.loads(again.err)["error"]["code"] == "conflict"

    watched = talk("watch", "dock", "Is it day?", "--on", "0.001", "--off", "0", "--hold", "0", "--once", "--json")
    assert watched.status == 0
    assert watched.items[-1]["type"] == "alert.started"
    assert "trace" in {item["type"] for item in watched.items}
    unserved = talk("cameras", "add", "gate", "synthetic:yard", "--model", "qwen", "--json")
    assert unserved.status == Exit.FAILED
    assert json.loads(unserved.err)["error"]["code"] == "unsupported"
    assert talk("rules", "--json").items == []  # it went with the watching

    (rule,) = talk("rules", "add", "dock", "Is it night?", "--zone", "0,0 1,0 1,1", "--say", "dark", "--json").items
    assert (rule["ask"], rule["say"], len(rule["zone"])) == ("Is it night?", "dark", 3)
    (changed,) = talk("rules", "set", rule["id"], "--on", "0.9", "--disable", "--json").items
    assert (changed["on"], changed["off"], changed["enabled"]) == (0.9, 0.5, False)
    crossed = talk("rules", "set", rule["id"], "--off", "0.95")
    assert crossed.status == Exit.FAILED
    assert "rule.off (0.95) must be below rule.on (0.9)" in crossed.err
    assert "Is it night?" in talk("rules", "list", "--camera", "dock").out
    assert talk("rules", "remove", rule["id"]).status == 0

    answered = talk("ask", "dock", "Who is there?", "--max-tokens", "8", "--json").items
    assert answered[-1]["type"] == "answer.done"
    assert answered[-1]["status"] == "completed"
    text = answered[-1]["text"]
    assert text.startswith("".join(item["text"] for item in answered[:-1]))  # pieces are lossy, the answer is not
    said = talk("ask", "dock", "Who is there?", "--max-tokens", "2").out
    answer, seen, cost = said.splitlines()
    assert answer
    assert seen.endswith("seen")  # the stretch of memory that it read
    assert "tokens of memory" in cost

    events = talk("events", "--json").items
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert talk("events", "--kind", "answer", "--camera", "dock", "--json").items[-1]["ask"]
    assert talk("events", "--after", str(len(events)), "--json").items == []
    assert talk("events", "--limit", "1", "--json").items == events[-1:]

    assert "synthetic:yard" in talk("cameras").out
    assert talk("cameras", "show", "dock", "--json").items[0]["state"] == "live"
    until(lambda: "kv_tokens" in talk("cameras", "show", "dock").out)  # counters come once a second
    assert talk("cameras", "remove", "dock").out == "removed dock\n"
    assert "no cameras yet" in talk("cameras", "list").out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cameras", "show", "none"), "no camera 'none'"),
        (("cameras", "remove", "none"), "no camera 'none'"),
        (("rules", "remove", "r_none"), "no rule 'r_none'"),
        (("rules", "add", "none", "Is it?"), "no camera 'none'"),
        (("ask", "none", "Is it?"), "no camera 'none'"),
        (("watch", "none", "Is it?"), "no camera 'none'"),
        (("cameras", "add", "bad id", "synthetic:yard"), "camera.id must be"),
        (("cameras", "add", "x", "gopher://hole"), "camera.source must begin with"),
        (("cameras", "add", "x", "synthetic:yard", "--fps", "1000"), "camera.fps must be between"),
        (("rules", "add", "x", "  "), "rule.ask is blank"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_daemon_refuses_in_one_sentence(talk: Run, arguments: tuple[str, ...], said: str) -> None:
    """What the daemon refuses is status 1 and its sentence."""
    done = talk(*arguments)
    assert done.status == Exit.FAILED
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def heeding_ctrl_c() -> None:
    """In the child: what a shell runs in the background ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_following_resumes_and_ends_with_ctrl_c(daemon: Daemon, talk: Run) -> None:
    """`events --follow --after 0` gives history and what comes, a line each; Ctrl-C ends it with status 130."""
    talk("cameras", "add", "gate", "synthetic:static")
    follower = subprocess.Popen(
        [sys.executable, "-m", "daemon", "events", "--follow", "--after", "0", "--json", "--url", daemon.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_ctrl_c,  # noqa: PLW1509  # it takes no lock
    )
    try:
        assert follower.stdout is not None
        for line in follower.stdout:
            event = json.loads(line)
            if event["camera"] == "gate" and event.get("state") == "live":
                break
        follower.send_signal(signal.SIGINT)
        _, err = follower.communicate(timeout=20)
    finally:
        follower.kill()
        follower.wait()
        talk("cameras", "remove", "gate")
    assert follower.returncode == Exit.INTERRUPTED
    assert "Traceback" not in err


@pytest.mark.slow
def test_tokens_beside_a_running_daemon(daemon: Daemon, vigild: Run) -> None:
    """The store of a running daemon is used as it is: no second one is started."""
    made = vigild("token", "create", "--name", "x", "--data-dir", str(daemon.data_dir), "--json")
    assert made.status == 0
    assert vigild("token", "revoke", "x", "--data-dir", str(daemon.data_dir)).status == 0
    assert daemon.ready()
