"""Secrets in files, which may change while the process runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from sentiment_monitor.errors import SettingsError

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
    return _latest(file, value) if _content(file) == value else value


def given(value: SecretStr | None, file: Path | None) -> str | Callable[[], str]:
    """A secret that is set, or lies in the file that is named instead; nothing when there is neither.

    Raises SettingsError for a file that cannot be read or is empty.
    """
    if file is None:
        return value.get_secret_value() if value else ""
    content = _content(file)
    if not content:
        raise SettingsError(f"{file} cannot be read, or is empty")
    return _latest(file, content)


def _latest(file: Path, value: str) -> Callable[[], str]:
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
