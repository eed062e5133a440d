"""What people write, before it is kept: not too long, and nothing that a database keeps in no text."""

from __future__ import annotations

from sentiment_monitor.errors import UsageError

MOST_OF_A_NAME = 200  # characters
MOST_OF_A_TEXT = 4_000


def name(what: str, text: str) -> str:
    """Somebody's name without blanks around it. Raises UsageError, which calls it ``what``."""
    return _written(what, text, MOST_OF_A_NAME) or _missing(what)


def text(what: str, written: str, *, required: bool = False) -> str:
    """A note, reason or comment without blanks around it. Raises UsageError, which calls it ``what``."""
    kept = _written(what, written, MOST_OF_A_TEXT)
    return _missing(what) if required and not kept else kept


def _missing(what: str) -> str:
    raise UsageError(f"{what}: say something; it is kept with the alert, for whoever comes next")


def _written(what: str, given: str, most: int) -> str:
    kept = given.strip()
    if len(kept) > most:
        raise UsageError(f"{what}: at most {most:,} characters, not {len(kept):,}")
    if "\x00" in kept or any("\ud800" <= letter <= "\udfff" for letter in kept):
        raise UsageError(f"{what}: holds a character that is none")
    return kept
