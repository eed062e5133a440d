"""A table of the settings file."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the settings file. Unknown names are refused: a misspelt setting must not be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def without_login(url: str, instead: str) -> str:
    """An address that may be printed. Raises ValueError, which does not repeat it, for one with a user or password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is no address of a server") from None
    if "@" in parts.netloc:
        raise ValueError(f"holds a user or a password, which would be printed: {instead}")
    if not host:
        raise ValueError("names no host")
    return url
