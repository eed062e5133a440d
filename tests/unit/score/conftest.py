"""The tiny checkpoint, and copies of it to change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoints import write_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, without a manifest. Do not write to it: take ``copy``."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the checkpoint and changes its config."""

    def make(**config: object) -> Path:
        directory = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(tiny, directory)
        path = directory / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **config}), encoding="utf-8")
        return directory

    return make
