"""A record to its stories, or a coded reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from sentiment_monitor.domain.news import (
    MAX_BODY_CHARACTERS,
    MAX_HEADLINE_CHARACTERS,
    Action,
    DeadLetter,
    Record,
    Story,
    UnreadableBatch,
)
from sentiment_monitor.errors import RecordError, SettingsError
from sentiment_monitor.ingest import fields
from sentiment_monitor.ingest.dates import DateOrder, Notations
from sentiment_monitor.ingest.expressions import RECORD_STEPS, Expression, ExpressionError, Search
from sentiment_monitor.ingest.fields import FIELDS, Losses
from sentiment_monitor.ingest.framing import Framing, Schemas
from sentiment_monitor.ingest.recognise import bytes_look_like, object_looks_like

MAX_STORIES = 10_000  # of one record
MAX_LETTERS = 20  # of one record: each is stored with the whole of it
ENVELOPE = "_envelope"
"""The name under which a mapping finds the whole message, where ``stories`` has taken the story out of it."""
RECORD = "_record"
"""The name under which a mapping finds the record's ``topic``, ``partition``, ``offset``, ``key`` and ``timestamp``."""
KEY_FIELDS = ("id", "source")
"""Fields of a deletion that a record's key can give."""


class Decoder:
    """Decodes records with one feed mapping.

    ``mapping`` gives a JMESPath expression per field for feeds with other names; a field that it does not mention is
    read under its own name. ``stories`` is a JMESPath expression for the story, or the list of stories, within a
    message. ``default_source`` names the source of messages that name none. ``tombstones`` says what a record without
    a value means: nothing, or the deletion of the story that the record's key names, by the expressions of ``key`` or
    as it is. Times without a zone are in ``time_zone``, or in that of their source in ``time_zones``; ``date_order``
    says what 3/4/2026 is.
    """

    def __init__(
        self,
        mapping: Mapping[str, str] | None = None,
        *,
        stories: str = "",
        default_source: str = "unknown",
        max_bytes: int = 1_000_000,
        tombstones: Literal["skip", "delete"] = "skip",
        key: Mapping[str, str] | None = None,
        schemas: Schemas | None = None,
        time_zone: str = "UTC",
        time_zones: Mapping[str, str] | None = None,
        date_order: DateOrder | None = None,
    ) -> None:
        self._paths = _paths("mapping", mapping or {}, FIELDS)
        self._stories = Expression.of("stories", "stories", stories) if stories.strip() else None
        used = " ".join((mapping or {}).values())
        self._with_envelope, self._with_record = ENVELOPE in used, RECORD in used
        self._deletes, self._key_paths = tombstones == "delete", _paths("key", key or {}, KEY_FIELDS)
        self._default_source = default_source.strip().lower()
        self._framing = Framing(max_bytes, schemas)
        self.notations = Notations.of(time_zone, time_zones or {}, date_order)

    def decode(self, record: Record) -> Sequence[Story | DeadLetter]:
        """The stories a record carries, and a dead letter for each of several that cannot be read; none of a tombstone.

        Raises RecordError with one of the codes ``unreadable_batch``, ``empty``, ``too_large``, ``bad_frame``,
        ``unknown_schema``, ``not_utf8``, ``not_json``, ``not_object``, ``no_stories``, ``too_many_stories``,
        ``bad_key``, ``mapping_failed``, ``no_headline``, ``bad_field``, ``bad_action``, ``bad_revision``,
        ``bad_time``; RegistryAway while the schema registry does not answer, RegistryRefused.
        """
        if record.value is None:
            return self._tombstone(record)
        if isinstance(record.value, UnreadableBatch):
            raise RecordError("unreadable_batch", record.value.reason)
        message = self._framing.open(record.value)
        search = Search()
        stories = message if self._stories is None else self._within(self._stories, message, search)
        if isinstance(stories, list):
            return self._several(stories, message, record, search)
        return [self._story(_object(stories), message, record, search)]

    def close(self) -> None:
        """Closes the connections to the schema registry, if there is one."""
        self._framing.close()

    # -- which stories ----------------------------------------------------------------------------

    def _within(self, expression: Expression, message: Any, search: Search) -> Any:
        try:
            stories = search.find(expression, message, RECORD_STEPS)
        except ExpressionError as error:
            raise RecordError("mapping_failed", f"stories: {error}") from None
        stories = self._framing.within(stories)
        if stories is None:
            looks = object_looks_like(message) if isinstance(message, dict) else None
            raise RecordError("no_stories", "news.stories finds nothing" + (f"; {looks}" if looks else ""))
        return stories

    def _several(
        self, stories: list[Any], message: Any, record: Record, search: Search
    ) -> Sequence[Story | DeadLetter]:
        if len(stories) > MAX_STORIES:
            raise RecordError("too_many_stories", f"{len(stories)} stories, at most {MAX_STORIES} are read of a record")
        readings: list[Story | DeadLetter] = []
        for part, story in enumerate(stories):
            try:
                readings.append(self._story(_object(self._framing.within(story)), message, record, search, part))
            except RecordError as error:
                readings.append(DeadLetter(record, error.code, error.detail, part))
        broken = [reading for reading in readings if isinstance(reading, DeadLetter)]
        if len(broken) <= MAX_LETTERS:
            return readings
        return [*(reading for reading in readings if isinstance(reading, Story)), _together(broken, len(stories))]

    def _tombstone(self, record: Record) -> Sequence[Story]:
        if not self._deletes or record.key is None:
            return ()
        losses: Losses = []
        if self._key_paths:
            key, search = self._framing.open(record.key), Search()
            named = {field: _searched(search, path, key, field, losses) for field, path in self._key_paths.items()}
        else:
            named = {"id": _whole_key(record.key)}
        story_id = fields.read_id(named, losses)
        if not story_id:
            raise RecordError("bad_key", "a tombstone whose key gives no id: see [news.key]")
        return [
            Story(
                source=fields.read_source(named, losses) or self._default_source,
                story_id=story_id,
                action=Action.DELETED,
                revision=None,
                headline="",
                body="",
                url="",
                published_ms=fields.read_published_ms(None, record.timestamp_ms, losses),
                tickers=(),
                language=None,
                position=record.position,
                dropped=tuple(losses),
            )
        ]

    # -- one story --------------------------------------------------------------------------------

    def _story(
        self, given: dict[str, Any], envelope: Any, record: Record, search: Search, part: int | None = None
    ) -> Story:
        losses: Losses = []
        message = self._mapped(given, envelope, record, search, losses) if self._paths else given
        action = fields.read_action(message.get("action"))
        given_id = fields.read_id(message, losses)
        headline = fields.read_text(message, "headline", losses)
        if not headline and not (action is Action.DELETED and given_id):
            raise _headless(given, action, losses)
        source = fields.read_source(message, losses) or self._default_source
        url = fields.read_url(message, losses)
        published_ms = fields.read_published_ms(
            message.get("published_at"), record.timestamp_ms, losses, self.notations.of_source(source)
        )
        return Story(
            source=source,
            story_id=given_id or fields.hash_id(source, url, headline, published_ms),
            action=action,
            revision=fields.read_revision(message.get("revision"), action, losses),
            headline=fields.cut(headline, "headline", MAX_HEADLINE_CHARACTERS, losses),
            body=fields.cut(fields.read_text(message, "body", losses), "body", MAX_BODY_CHARACTERS, losses),
            url=fields.whole_url(url, losses),
            published_ms=published_ms,
            tickers=fields.read_tickers(message.get("tickers"), losses),
            language=fields.read_language(message.get("language"), losses),
            position=record.position,
            part=part,
            dropped=tuple(losses),
        )

    def _mapped(
        self, message: dict[str, Any], envelope: Any, record: Record, search: Search, losses: Losses
    ) -> dict[str, Any]:
        scope = message
        if self._with_envelope:
            scope = {**scope, ENVELOPE: envelope}
        if self._with_record:
            scope = {**scope, RECORD: _place(record)}
        mapped = dict(message)
        for field, path in self._paths.items():
            mapped[field] = _searched(search, path, scope, field, losses)
        return mapped


def _whole_key(key: bytes) -> str:
    """The id that a key is: its text, also as JSON. Raises RecordError ``bad_key`` for what is more than an id."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        looks = bytes_look_like(key) or "binary data"
        raise RecordError("bad_key", f"a tombstone whose key is no text; see [news.key]. It looks like {looks}")
    if text.startswith(('"', "{", "[")):
        try:
            named = msgspec.json.decode(key)
        except (msgspec.DecodeError, RecursionError):
            return text
        if not isinstance(named, str):
            raise RecordError("bad_key", "a tombstone whose key is JSON: say in [news.key] which field is the id")
        return named
    return text


def _searched(search: Search, expression: Expression, message: Any, field: str, losses: Losses) -> Any:
    """What an expression finds; nothing where it cannot be applied. Raises RecordError for the action."""
    try:
        return search.find(expression, message)
    except ExpressionError as error:
        if field == "action":
            raise RecordError("mapping_failed", f"{field}: {error}") from None
        fields.note(losses, field, "mapping_failed", str(error))
        return None


def _headless(message: dict[str, Any], action: Action, losses: Losses) -> RecordError:
    """Why there is no headline, or for a deletion no id."""
    for loss in losses:
        if loss.field == "headline" and loss.reason == "mapping_failed":
            return RecordError("mapping_failed", f"headline: {loss.example}")
        if loss.field == "headline" and loss.reason == "wrong_type":
            return RecordError("bad_field", f"headline: expected text, got {loss.example}")
    looks = object_looks_like(message)
    missing = "a deletion without id and headline" if action is Action.DELETED else "headline is missing or blank"
    return RecordError("no_headline", f"{missing}; {looks}" if looks else missing)


def _together(broken: Sequence[DeadLetter], among: int) -> DeadLetter:
    """One letter for many stories of a record, with the commonest of their codes."""
    codes = Counter(letter.code for letter in broken).most_common()
    counts = ", ".join(f"{count} {code}" for code, count in codes)
    reasons = "; ".join(f"story {letter.part}: {letter.code}: {letter.detail}" for letter in broken[:MAX_LETTERS])
    places = ", ".join(str(letter.part) for letter in broken)
    detail = f"{len(broken)} of {among} stories cannot be read ({counts}), such as {reasons}; they are {places}"
    return DeadLetter(broken[0].record, codes[0][0], detail)


def _object(message: Any) -> dict[str, Any]:
    if isinstance(message, dict):
        return message
    raise RecordError("not_object", f"JSON {type(message).__name__}, expected an object")


def _place(record: Record) -> dict[str, Any]:
    position = record.position
    return {
        "topic": position.topic,
        "partition": position.partition,
        "offset": position.offset,
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "timestamp": record.timestamp_ms,
    }


def _paths(setting: str, expressions: Mapping[str, str], known: Sequence[str]) -> dict[str, Expression]:
    """Compiled expressions by field. Raises SettingsError."""
    for field in expressions:
        if field not in known:
            raise SettingsError(f"{setting}: unknown field {field!r}; fields are {', '.join(known)}")
    return {field: Expression.of(setting, field, expression) for field, expression in expressions.items()}
