"""A file of rules: what ``[[rules]]`` of the settings would hold, beside the rest of a settings file or alone."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from sentiment_monitor.errors import SettingsError


def read_rules(path: Path) -> list[dict[str, Any]]:
    """The rules of a TOML file, not validated yet. Raises SettingsError where there is none."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    rules = tables.get("rules")
    if not isinstance(rules, list) or not rules:
        raise SettingsError(f"{path}: has no [[rules]]")
    return rules
