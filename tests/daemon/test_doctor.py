"""Every check tells what is there, or why not and what to do, and none of them raises."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.messages import CameraSpec
from daemon import doctor
from daemon.config import Config, load
from daemon.offline import temporary_store
from daemon.store import LinkSettings, Store, StoreSettings, StoreUnavailable
from daemon.wiring.worker import worker_settings
from memory.kernels.flash import in_pages
from streaming.engine import Engine


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: the path of a Unix socket is bounded."""
    with tempfile.TemporaryDirectory(prefix="vg-") as name:
        yield Path(name)


def configured(folder: Path, **settings: object) -> Config:
    flags = {name.replace("__", "."): value for name, value in settings.items()}
    return load(environ={}, flags={"data.dir": str(folder), "gateway.port": 0} | flags)


def test_a_sound_machine_passes_every_check(folder: Path) -> None:
    """On this machine, with a synthetic camera, every line is ok; progress of the model is told between 0 and 1."""
    told: list[float] = []
    listed = doctor.checks(configured(folder), url="synthetic:yard", progress=lambda _, share: told.append(share))
    findings = [check.run() for check in listed]
    assert [finding.name for finding in findings] == [check.name for check in listed]
    assert all(finding.ok and finding.detail and not finding.advice for finding in findings), findings
    assert told
    assert min(told) >= 0
    assert max(told) == 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names what is missing and the command that installs it."""
    monkeypatch.setattr(doctor, "PACKAGES", ("msgspec", "no-such-package"))
    finding = doctor.packages()
    assert not finding.ok
    assert finding.detail == "missing: no-such-package"
    assert finding.advice == "pip install no-such-package"


@pytest.mark.parametrize(
    ("check", "module"), [(doctor.device, "torch"), (doctor.decoders, "av"), (doctor.model, "streaming.models")]
)
def test_a_part_that_does_not_load_is_a_line_and_no_crash(
    check: object, module: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken installation of torch or FFmpeg is what doctor is for."""
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ModuleNotFoundError
    finding = doctor.decoders() if check is doctor.decoders else check(configured(folder))
    assert not finding.ok
    assert "not load" in finding.detail
    assert finding.advice


def test_a_device_that_is_not_there(folder: Path) -> None:
    """A GPU that is configured but missing says so and what to do."""
    finding = doctor.device(configured(folder, worker__devices=["cuda:63"]))
    assert not finding.ok
    assert "cuda:63 cannot be used" in finding.detail
    assert "\n" not in finding.detail


def test_a_data_folder_that_cannot_be_made(folder: Path) -> None:
    """A file where the folder should be: named, with another way."""
    (folder / "file").write_text("")
    finding = doctor.data_folder(configured(folder / "file" / "data"))
    assert not finding.ok
    assert "not a directory" in finding.detail
    assert "--data-dir" in finding.advice


def test_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than 1 GiB free is not enough for a day."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1 << 20))
    finding = doctor.data_folder(configured(folder))
    assert not finding.ok
    assert "0.0 GiB free" in finding.detail


def test_the_check_of_the_data_folder_leaves_nothing(folder: Path) -> None:
    """It writes, and what it wrote is gone."""
    assert doctor.data_folder(configured(folder / "data")).ok
    assert list((folder / "data").iterdir()) == []


def test_a_store_that_is_not_there(folder: Path) -> None:
    """A configured store that refuses: one sentence, without its password."""
    url = f"unix://:s3cret@{folder}/none.sock"
    finding = doctor.store(configured(folder, store__redis_url=url))
    assert not finding.ok
    assert "s3cret" not in finding.detail
    assert "redis_url" in finding.advice


@pytest.mark.parametrize("model", ["tiny-random", "tiny-random-2.5"])
def test_a_model_that_loads_tells_what_runs_it(model: str, folder: Path) -> None:
    """What was chosen at start, and that random weights mean nothing."""
    finding = doctor.model(configured(folder, model__name=model))
    assert finding.ok
    assert re.search(
        r"attention (reference|(flash|chunked)-cpu) \(.* on cpu.*\), decoder lean \(.*\), decode: eager \(cpu\), products .*: random weights",
        finding.detail,
    )


def test_the_model_is_tried_with_the_rows_that_a_worker_gives_its_questions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with an archive, of which it takes one span: rows decide how questions are decoded."""
    made: list[Engine] = []

    class Kept(Engine):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            made.append(self)

    monkeypatch.setattr("streaming.engine.Engine", Kept)
    config = configured(folder, model__name="tiny-random", engine__archive_mb=64, engine__recall_tokens=100)
    assert doctor.model(config).ok
    wanted = worker_settings(config).engine
    assert made[0]._answers.suffixes.rows == in_pages(100 + wanted.max_question_tokens + wanted.max_answer_tokens)
    assert made[0]._archive.pool.total == 1


@pytest.mark.parametrize("model", ["nowhere/near", "./missing"])
def test_a_model_that_cannot_load(model: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder or hub id that is not there: one sentence that names it, no traceback."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    finding = doctor.model(configured(folder, model__name=model))
    assert not finding.ok
    assert model in finding.detail
    assert "\n" not in finding.detail


def test_a_port_in_use(folder: Path) -> None:
    """A port that something else holds is refused; one that vigild serves is as good as free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        other.settimeout(0)
        finding = doctor.port(configured(folder, gateway__port=number))
    assert not finding.ok
    assert f"127.0.0.1:{number} cannot be used: address already in use" in finding.detail
    assert "--port" in finding.advice


def test_a_host_that_is_not_ours(folder: Path) -> None:
    """An address of another machine cannot be listened on; it is not the port that must change."""
    finding = doctor.port(configured(folder, gateway__host="192.0.2.1", gateway__port=1024))
    assert not finding.ok
    assert "set gateway.host" in finding.advice


def test_a_host_that_others_reach_needs_a_token(folder: Path) -> None:
    """It can be listened on, and what `vigild serve` will ask for is told before it does."""
    finding = doctor.port(configured(folder, gateway__host="0.0.0.0"))
    assert finding.ok
    assert "vigild token create" in finding.detail


def test_a_model_that_cannot_be_kept(folder: Path) -> None:
    """A data folder that cannot be used is not blamed on the model."""
    (folder / "file").write_text("")
    finding = doctor.model(configured(folder / "file", model__name="tiny-random"))
    assert not finding.ok
    assert f"cannot be read or kept ({folder / 'file' / 'models'}: not a directory)" in finding.detail
    assert "--data-dir" in finding.advice


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rtsp://user:s3cret@127.0.0.1:9/stream", "refuse"),
        ("gopher://host/", "gopher"),
        ("file:none.mp4", "none.mp4"),
    ],
)
def test_a_source_that_cannot_be_opened(url: str, said: str, folder: Path) -> None:
    """The sentence says what is wrong; credentials are never shown."""
    (folder / "media").mkdir()
    finding = doctor.source(configured(folder), url)
    assert not finding.ok
    assert said in finding.detail
    assert "s3cret" not in finding.detail
    assert finding.advice
    assert url.startswith("file:") == (str(folder / "media") in finding.advice)


def test_the_temporary_store_is_real_and_gone_afterwards(folder: Path) -> None:
    """It takes a camera and answers with it; its socket does not answer once the block is left."""

    async def main() -> str:
        async with temporary_store(folder) as url, await Store.connect(url, owner="test") as store:
            await store.put_camera(CameraSpec(id="dock", source="synthetic:yard"))
            assert [camera.id for camera in await store.cameras()] == ["dock"]
        return url

    url = asyncio.run(main())
    with pytest.raises(StoreUnavailable):
        asyncio.run(Store.connect(url, owner="test", settings=StoreSettings(link=LinkSettings(patience_s=0))))
