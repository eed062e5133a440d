"""What the fields of a message hold: read, cut or dropped, one by one. Only what a story cannot be without is refused.

A value that cannot be read costs its field, never the story; each such loss is noted. Two fields are not optional:
the action, because a guess would publish what was withdrawn or delete what was not, and the revision of a deletion,
because one without a revision is final.
"""

from __future__ import annotations

import hashlib
import re
import reprlib
from typing import Any

from sentiment_monitor.domain.news import Action, Dropped
from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.dates import PLAIN, Notation
from sentiment_monitor.ingest.instants import instant_ms, is_blank

FIELDS = (
    "id",
    "action",
    "revision",
    "headline",
    "body",
    "source",
    "url",
    "published_at",
    "tickers",
    "language",
)
"""Names a message may use, and the names a mapping may set."""

MAX_ID_CHARACTERS = 512
MAX_SOURCE_CHARACTERS = 128
MAX_URL_CHARACTERS = 4_000
MAX_TICKERS = 100
_MOST_LISTED = 500  # items looked at, whatever they are
MAX_REVISION = 2**62

_MAX_EXAMPLE = 80
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab and line ends
# An index (^GSPC, .DJI), then what exchanges and vendors write: BRK.B, BRK/B, M&M.NS, BTC/USD, EURUSD=X, NASDAQ:GOOGL.
_TICKER = re.compile(r"[\^.]?[A-Za-z0-9][A-Za-z0-9.\-:=^/&_]{0,30}")
_BETWEEN_TICKERS = re.compile(r"[,;|]")
_CODE = re.compile(r"[a-z]{2,3}")
_LANGUAGES = {  # by other names than ISO 639-1's
    name: code
    for code, names in (
        ("ar", "arabic ara"), ("de", "german deu ger"), ("en", "english eng"), ("es", "spanish spa"),
        ("fr", "french fra fre"), ("it", "italian ita"), ("ja", "japanese jpn"), ("ko", "korean kor"),
        ("nl", "dutch nld dut"), ("pt", "portuguese por"), ("ru", "russian rus"), ("zh", "chinese zho chi"),
    )
    for name in names.split()
}  # fmt: skip
# What programs write where they have nothing; "NAN" in capitals is a fund's ticker.
_NOTHING = frozenset({"null", "none", "nan", "undefined", "n/a", "#n/a"})
_LONGEST_NOTHING = max(map(len, _NOTHING))

_ACTIONS = {
    word: action
    for action, words in (
        (Action.CREATED, "created create c new insert inserted add added publish published r read"),
        (
            Action.UPDATED,
            "updated update u modified modify changed change corrected correct correction revised replace replaced rep",
        ),
        (Action.DELETED, "deleted delete del d removed remove retracted retract withdrawn withdraw killed kill"),
    )
    for word in words.split()
}

Losses = list[Dropped]
"""What was dropped of one story so far; the functions below add to it, at most once a field and reason."""


def note(losses: Losses, field: str, reason: str, value: object) -> None:
    """Adds a loss, with the value's beginning as an example."""
    if not any(loss.field == field and loss.reason == reason for loss in losses):
        losses.append(Dropped(field, reason, shown(value)))


def shown(value: object) -> str:
    """The beginning of a value as people and databases can take it, at a bounded cost."""
    text = repr(value[:_MAX_EXAMPLE]) if isinstance(value, str) else reprlib.repr(value)
    return text.encode("utf-8", "backslashreplace").decode()[: 2 * _MAX_EXAMPLE]


def read_text(message: dict[str, Any], field: str, losses: Losses) -> str:
    """The text or number of a field without control characters, of any length; empty for nothing and for what is none.

    Notes ``wrong_type`` and ``placeholder``.
    """
    value = message.get(field)
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        note(losses, field, "wrong_type", value)
        return ""
    text = str(value)
    # PostgreSQL cannot store NUL, terminals obey ESC, and a lone surrogate cannot be encoded at all.
    if not text.isprintable():
        text = _CONTROLS.sub("", text)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    text = text.strip()
    if len(text) <= _LONGEST_NOTHING and text.lower() in _NOTHING:
        note(losses, field, "placeholder", value)
        return ""
    return text


def cut(text: str, field: str, limit: int, losses: Losses) -> str:
    """``text``, or its beginning where it is longer than ``limit``. Notes ``too_long``."""
    if len(text) <= limit:
        return text
    note(losses, field, "too_long", text)
    return text[:limit].rstrip()


def read_id(message: dict[str, Any], losses: Losses) -> str:
    """The feed's own id, empty without one; a hash of one that is too long, which tells stories apart as well."""
    text = read_text(message, "id", losses)
    if len(text) > MAX_ID_CHARACTERS:
        note(losses, "id", "too_long", text)
        return _digest(text)
    return text


def hash_id(source: str, url: str, headline: str, published_ms: int) -> str:
    """The id of a story whose feed gives none: the same title on another day is another story."""
    return _digest("\x1f".join((source, url, headline, str(published_ms // 86_400_000))))


def read_source(message: dict[str, Any], losses: Losses) -> str:
    """The source in small letters; a long one is cut so that it still differs from others that begin alike."""
    source = read_text(message, "source", losses).lower()
    if len(source) > MAX_SOURCE_CHARACTERS:
        note(losses, "source", "too_long", source)
        return f"{source[: MAX_SOURCE_CHARACTERS - 9]}~{_digest(source)[:8]}"
    return source


def read_url(message: dict[str, Any], losses: Losses) -> str:
    """The address as the message has it, of any length; see :func:`whole_url`."""
    return read_text(message, "url", losses)


def whole_url(url: str, losses: Losses) -> str:
    """``url``, or nothing where it is too long: the beginning of an address leads elsewhere. Notes ``too_long``."""
    if len(url) <= MAX_URL_CHARACTERS:
        return url
    note(losses, "url", "too_long", url)
    return ""


def read_action(value: object) -> Action:
    """What the message does to its story. Raises RecordError ``bad_action`` for a word that is not known."""
    if is_blank(value):
        return Action.CREATED
    action = _ACTIONS.get(str(value).strip().lower()) if isinstance(value, str) else None
    if action is None:
        raise RecordError("bad_action", f"{shown(value)} is none of created, updated, deleted")
    return action


def read_revision(value: object, action: Action, losses: Losses) -> int | None:
    """The feed's number; None without one. Raises RecordError ``bad_revision`` for a deletion whose is unreadable."""
    if is_blank(value):
        return None
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        number = int(value)  # type: ignore[call-overload]  # anything int() refuses is the error we report
        if 0 <= number <= MAX_REVISION:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    if action is Action.DELETED:
        raise RecordError("bad_revision", f"{shown(value)} is no whole number from 0 to 2^62")
    note(losses, "revision", "bad_revision", value)
    return None


def read_published_ms(value: object, record_ms: int, losses: Losses, notation: Notation = PLAIN) -> int:
    """When the story was published; the time of the record itself where the message says nothing that can be read.

    Raises RecordError ``bad_time`` where the record has no time either.
    """
    try:
        return instant_ms(value, record_ms, notation)
    except RecordError:
        if is_blank(value):
            raise
        note(losses, "published_at", "bad_time", value)
        return instant_ms(None, record_ms)


def read_tickers(value: object, losses: Losses) -> tuple[str, ...]:
    """The companies that the message names, sorted, in capitals; the first hundred. What is none is left out.

    Of a list of more than five hundred items, whatever they are, the others are not looked at. Notes ``wrong_type``,
    ``placeholder``, ``not_a_ticker`` and ``too_many``.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = _BETWEEN_TICKERS.split(value, maxsplit=_MOST_LISTED)
    elif not isinstance(value, list):
        value = [value]
    tickers: dict[str, None] = {}
    for item in value[:_MOST_LISTED]:
        if item is None:
            continue
        if isinstance(item, bool) or not isinstance(item, str | int):
            note(losses, "tickers", "wrong_type", item)
            continue
        text = str(item).strip().lstrip("$")
        if not text:
            continue
        if text != "NAN" and text.lower() in _NOTHING:
            note(losses, "tickers", "placeholder", item)
        elif not _TICKER.fullmatch(text):
            note(losses, "tickers", "not_a_ticker", item)
        elif len(tickers) < MAX_TICKERS or text.upper() in tickers:
            tickers[text.upper()] = None
        else:
            note(losses, "tickers", "too_many", item)
            break
    if len(value) > _MOST_LISTED:
        note(losses, "tickers", "too_many", value[_MOST_LISTED])
    return tuple(sorted(tickers))


def read_language(value: object, losses: Losses) -> str | None:
    """The ISO 639 code, also of an English name; None for what is neither: the text is asked. Notes ``not_a_code``."""
    if is_blank(value):
        return None
    if isinstance(value, str):
        code = value[:20].strip().lower().replace("_", "-").split("-")[0]
        if code in _LANGUAGES:
            return _LANGUAGES[code]
        if _CODE.fullmatch(code):
            return code
    note(losses, "language", "not_a_code", value)
    return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
