"""Secrets in files, which may change while the process runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

PREFIX = "MONITOR_"
SECRETS_DIR = Path("/run/secrets")


def as_it_is_now(setting: str, loaded: SecretStr | None) -> str | Callable[[], str] | None:
    """A secret's value; where it came from its file, a function that reads the file again.

    ``setting`` is its path, ``kafka.sasl_password``. A file that is being replaced, or is empty, says what it said
    before.
    """
    if loaded is None:
        return None
    value = loaded.get_secret_value()
    file = SECRETS_DIR / (PREFIX + setting.replace(".", "__")).lower()
    if _content(file) != value:
        return value
    latest = value

    def read() -> str:
        nonlocal latest
        latest = _content(file) or latest
        return latest

    return read


def _content(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
