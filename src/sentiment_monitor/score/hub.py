"""Finds a classifier's directory: bundled, on disk, or a Hugging Face hub name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sentiment_monitor.errors import ClassifierError

BUNDLED = Path(__file__).with_name("bundled")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w./-]+)?")
_WANTED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "manifest.json")
_WANTED_SHARDS = ("model.safetensors.index.json", "model-?????-of-?????.safetensors")


def locate(name: str) -> tuple[Path, str]:
    """Return directory and name of a classifier.

    ``bundled``, a directory, or ``owner/name`` (``owner/name@revision``) of the hub, downloaded once into
    huggingface_hub's cache: weights as safetensors and text files only. ClassifierError when it cannot be had.
    """
    if name == "bundled":
        return BUNDLED, "bundled"
    path = Path(name).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if path.exists():
        raise ClassifierError(f"{name}: a classifier is a directory, this is a file")
    if not _HUB_NAME.fullmatch(name):
        raise ClassifierError(
            f"{name}: neither 'bundled', 'lexicon', a directory, nor a hub name like ProsusAI/finbert"
        )
    return _download(name), name.partition("@")[0].rpartition("/")[2]


def _download(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ClassifierError(f"{name}: no such directory, and huggingface_hub is not installed") from error
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    repository, _, revision = name.partition("@")
    try:
        directory = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=[*_WANTED, *_WANTED_SHARDS])
        )
    except LocalEntryNotFoundError as error:
        raise ClassifierError(
            f"{name}: no such directory, not in the local hub cache, and the hub cannot be reached; "
            "download it elsewhere and give its directory"
        ) from error
    except HfHubHTTPError as error:
        raise ClassifierError(f"{name}: the hub refused it: {error}") from error
    except (OSError, ValueError) as error:
        raise ClassifierError(f"{name}: cannot be downloaded: {error}") from error
    if not any((directory / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise ClassifierError(
            f"{name}: this revision has no safetensors weights, and others may run code when opened; name a revision "
            f"that has them ({repository}@REVISION, see its pull requests) or convert it and give the directory"
        )
    return directory
