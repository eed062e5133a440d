"""Bytes to :class:`~sentiment_monitor.domain.Story`, or a coded reason why not."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import jmespath
import msgspec

from sentiment_monitor.domain.news import Action, Record, Story
from sentiment_monitor.errors import RecordError, SettingsError
from sentiment_monitor.ingest.instants import instant_ms, is_blank
from sentiment_monitor.tables import null_for_nan

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

MAX_HEADLINE_CHARACTERS = 10_000
MAX_ID_CHARACTERS = 512
MAX_SOURCE_CHARACTERS = 128
MAX_TICKERS = 100
MAX_REVISION = 2**62

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab and line ends
_TICKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-:=^]{0,19}")
_CODE = re.compile(r"[a-z]{2,3}")


class Decoder:
    """Decodes records with one feed mapping.

    ``mapping`` gives a JMESPath expression per field for feeds with other names; a field that it does not
    mention is read under its own name. ``default_source`` names the source of messages that name none.
    """

    def __init__(
        self, mapping: Mapping[str, str] | None = None, *, default_source: str = "unknown", max_bytes: int = 1_000_000
    ) -> None:
        self._paths: dict[str, Any] = {}
        for field, expression in (mapping or {}).items():
            if field not in FIELDS:
                raise SettingsError(f"mapping: unknown field {field!r}; fields are {', '.join(FIELDS)}")
            try:
                self._paths[field] = jmespath.compile(expression)
            except jmespath.exceptions.JMESPathError as error:
                raise SettingsError(f"mapping: {field} = {expression!r} is not JMESPath: {error}") from None
        self._default_source = default_source.strip().lower()
        self._max_bytes = max_bytes
        self._json = msgspec.json.Decoder()

    def decode(self, record: Record) -> Story:
        """Returns the story a record carries.

        Raises RecordError with one of the codes ``empty``, ``too_large``, ``not_utf8``, ``not_json``,
        ``not_object``, ``mapping_failed``, ``no_headline``, ``bad_field``, ``bad_action``, ``bad_revision``,
        ``bad_time``.
        """
        message = self._message(record)
        return self._story(message, record)

    def _message(self, record: Record) -> dict[str, Any]:
        value = record.value
        if not value:
            raise RecordError("empty", "the record has no value")
        if len(value) > self._max_bytes:
            raise RecordError("too_large", f"{len(value)} bytes, at most {self._max_bytes} are read")
        try:
            # A byte-order mark is legal UTF-8 that JSON parsers refuse; some feeds send one.
            message = self._json.decode(value.removeprefix(b"\xef\xbb\xbf"))
        except msgspec.DecodeError as error:
            message = _lenient(value, error)
        except RecursionError:
            raise RecordError("not_json", "nested too deeply") from None
        except UnicodeDecodeError as error:
            raise RecordError("not_utf8", str(error)) from None
        if not isinstance(message, dict):
            raise RecordError("not_object", f"JSON {type(message).__name__}, expected an object")
        if not self._paths:
            return message
        mapped = dict(message)
        for field, path in self._paths.items():
            try:
                mapped[field] = path.search(message)
            except jmespath.exceptions.JMESPathError as error:
                raise RecordError("mapping_failed", f"{field}: {error}") from None
        return mapped

    def _story(self, message: dict[str, Any], record: Record) -> Story:
        action = _action(message.get("action"))
        given_id = _scalar(message, "id", MAX_ID_CHARACTERS)
        headline = _scalar(message, "headline", MAX_HEADLINE_CHARACTERS)
        if not headline and not (action is Action.DELETED and given_id):
            raise RecordError("no_headline", "headline is missing or blank")
        source = _source(message) or self._default_source
        url = _scalar(message, "url", 4_000)
        return Story(
            source=source,
            story_id=given_id or _hash_id(source, url, headline),
            action=action,
            revision=_revision(message.get("revision")),
            headline=headline,
            body=_scalar(message, "body", self._max_bytes),
            url=url,
            published_ms=instant_ms(message.get("published_at"), record.timestamp_ms),
            tickers=_tickers(message.get("tickers")),
            language=_language(message.get("language")),
            position=record.position,
        )


def _lenient(value: bytes, refusal: msgspec.DecodeError) -> Any:
    """What is not quite JSON and sent all the same: half an emoji, where a text was cut, and NaN for nothing."""
    try:
        return json.loads(value.decode("utf-8-sig"), parse_constant=null_for_nan, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise RecordError("not_utf8", str(error)) from None
    except (ValueError, RecursionError):
        raise RecordError("not_json", str(refusal)) from None


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def _scalar(message: dict[str, Any], field: str, limit: int) -> str:
    value = message.get(field)
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        raise RecordError("bad_field", f"{field}: expected text, got {type(value).__name__}")
    text = str(value)
    # PostgreSQL cannot store NUL, terminals obey ESC, and a lone surrogate cannot be encoded at all.
    if not text.isprintable():
        text = _CONTROLS.sub("", text)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    text = text.strip()
    if len(text) > limit:
        raise RecordError("bad_field", f"{field}: {len(text)} characters, at most {limit} are read")
    return text


def _source(message: dict[str, Any]) -> str:
    source = _scalar(message, "source", MAX_SOURCE_CHARACTERS).lower()
    if len(source) > MAX_SOURCE_CHARACTERS:  # some letters are longer in lower case (İ)
        raise RecordError("bad_field", f"source: {len(source)} characters, at most {MAX_SOURCE_CHARACTERS} are read")
    return source


def _action(value: object) -> Action:
    if is_blank(value):
        return Action.CREATED
    try:
        return Action(str(value).strip().lower())
    except ValueError:
        raise RecordError("bad_action", f"{value!r:.60} is none of created, updated, deleted") from None


def _revision(value: object) -> int | None:
    if is_blank(value):
        return None
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        number = int(value)  # type: ignore[call-overload]  # anything int() refuses is the error we report
    except (TypeError, ValueError, OverflowError):
        raise RecordError("bad_revision", f"{value!r:.60} is not a whole number") from None
    if not 0 <= number <= MAX_REVISION:
        raise RecordError("bad_revision", f"{number!s:.40} is out of range")
    return int(number)


def _tickers(value: object) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RecordError("bad_field", "tickers: expected a list of text or a comma-separated text")
    tickers = {item.strip().lstrip("$").upper() for item in value if item.strip()}
    if len(tickers) > MAX_TICKERS:
        raise RecordError("bad_field", f"tickers: {len(tickers)} names, at most {MAX_TICKERS}")
    if bad := next((item for item in sorted(tickers) if not _TICKER.fullmatch(item)), None):
        raise RecordError("bad_field", f"tickers: {bad!r:.40} is not a ticker")
    return tuple(sorted(tickers))


def _language(value: object) -> str | None:
    """The ISO 639 code; None for what is no code, so that the text itself is asked."""
    if not isinstance(value, str):
        return None
    code = value.strip().lower().replace("_", "-").split("-")[0]
    return code if _CODE.fullmatch(code) else None


def _hash_id(source: str, url: str, headline: str) -> str:
    return hashlib.sha256("\x1f".join((source, url, headline)).encode()).hexdigest()[:32]
