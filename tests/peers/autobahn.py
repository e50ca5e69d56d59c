"""
The Autobahn suite's fuzzing client, where CPython 2.7 is there to run it.

    python -m tests.peers.autobahn        # install it (a minute; needs python2.7 with pip, and PyPI)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("VIGILD_AUTOBAHN", ROOT / ".stamps" / "autobahn"))
REQUIREMENT = "autobahntestsuite==25.10.1"
ENVIRONMENT = os.environ | {"PYENV_VERSION": "2.7.18"}  # where python2.7 is a shim of pyenv
RUN = "import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()"


def missing() -> str | None:
    """Why the suite cannot run here, or None."""
    if shutil.which("python2.7") is None:
        return "the Autobahn suite needs python2.7"
    if not (FOLDER / "autobahntestsuite").is_dir():
        return "the Autobahn suite is not installed: python -m tests.peers.autobahn"
    return None


def install() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = ["python2.7", "-m", "pip", "install", "--quiet", "--target", str(FOLDER), REQUIREMENT]
    subprocess.run(command, env=ENVIRONMENT, check=True)


def fuzz(url: str, folder: Path, *, cases: list[str], exclude: list[str]) -> dict[str, dict[str, str]]:
    """Run the cases against `url`; what the suite says of each. Blocks. Reports lie in `folder` afterwards."""
    settings = {
        "outdir": str(folder),
        "servers": [{"agent": "vigild", "url": url}],
        "cases": cases,
        "exclude-cases": exclude,
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(settings))
    command = ["python2.7", "-c", RUN, str(FOLDER), "-m", "fuzzingclient", "-s", "spec.json"]
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return json.loads((folder / "index.json").read_text())["vigild"]


if __name__ == "__main__":
    install()
