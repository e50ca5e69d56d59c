"""
`pocket`: the small model that ships with vigild, trained on the scenes of streaming/pocket; see checkpoint/README.md.

An ordinary Qwen3-VL checkpoint folder, read where it was installed: nothing is downloaded, built or copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from streaming.errors import ModelError

NAME = "pocket"
REMARK = "it knows the drawn scenes of synthetic: and nothing of the world; for real cameras give another with --model"
CHECKPOINT: Final = Path(__file__).parent / "checkpoint"
FILES: Final = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json")


def folder(cache_dir: Path) -> Path:  # noqa: ARG001  # what others build into a cache is here already
    """The checkpoint's folder, not to be written to. Raises: ModelError: files are missing from the installation."""
    return installed(CHECKPOINT)


def installed(path: Path) -> Path:
    """`path`, if it holds a whole checkpoint. Raises: ModelError: it does not; says what is missing and what to do."""
    if missing := [name for name in FILES if not (path / name).is_file()]:
        raise ModelError(
            NAME,
            f"this installation lacks {', '.join(missing)} in {path}; install vigild again, or train it: "
            "vigild pocket train",
        )
    return path
