"""The leak checks catch what they promise to catch: each is run on a test that leaks on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HEAD = "import asyncio, subprocess, sys, threading\n"


def outcome(pytester: pytest.Pytester, body: str) -> tuple[dict[str, int], str]:
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text().replace("GRACE_S = 3.0", "GRACE_S = 0.2"))
    pytester.makepyfile(HEAD + body)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    return result.parseoutcomes(), result.stdout.str()


TASK = """
def test_task():
    async def main():
        main.task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
        await asyncio.sleep(0)
    asyncio.run(main())
"""
LOOP = """
kept = []
def test_loop():
    kept.append(asyncio.new_event_loop())
"""
THREAD = """
def test_thread():
    threading.Thread(target=threading.Event().wait, name="stray", daemon=True).start()
"""
CHILD = """
kept = []
def test_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
"""

LOG = """
import structlog
def test_log():
    structlog.configure(cache_logger_on_first_use=True)
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(TASK, "task still running: forgotten", id="task"),
        pytest.param(LOOP, "event loop not closed", id="loop"),
        pytest.param(THREAD, "thread still alive: stray", id="thread"),
        pytest.param(CHILD, "child still running", id="child"),
        pytest.param(LOG, "structlog still configured", id="log"),
    ],
)
def test_a_leak_fails_the_test_by_name(pytester: pytest.Pytester, body: str, said: str) -> None:
    """A test that passes but leaves something behind ends in an error that names what it left."""
    counts, text = outcome(pytester, body)
    assert counts == {"passed": 1, "errors": 1}
    assert said in text


def test_what_ends_in_time_is_no_leak(pytester: pytest.Pytester) -> None:
    """Threads, children and tasks that end by themselves pass; a module's fixture may outlive one test."""
    counts, _ = outcome(
        pytester,
        "import pytest\n"
        "@pytest.fixture(scope='module')\n"
        "def server():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "    yield child\n"
        "    child.communicate(b'\\n')\n"
        "def test_one(server):\n"
        "    threading.Thread(target=int).start()\n"
        "    subprocess.run([sys.executable, '-c', ''], check=True)\n"
        "def test_two(server):\n"
        "    async def main():\n"
        "        await asyncio.create_task(asyncio.to_thread(int))\n"
        "    asyncio.run(main())\n",
    )
    assert counts == {"passed": 2}


def test_a_failing_test_is_not_blamed_twice(pytester: pytest.Pytester) -> None:
    """What a failing test leaves behind is not reported on top of its own failure."""
    counts, _ = outcome(
        pytester,
        "def test_fails():\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "    raise AssertionError('mine')\n",
    )
    assert counts == {"failed": 1}
