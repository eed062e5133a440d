"""Dead letters that are to be read again: asked for by somebody, taken up by an ingest process, settled once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from sentiment_monitor.domain.news import UNREADABLE_BATCH, Action, DeadLetter, Position, ScoredStory, Story
from sentiment_monitor.store.dead_letters import KeptRecord, detail_of, kept_from, put_aside
from sentiment_monitor.store.schema import dead_letters, stories

_NUMBERS_AT_ONCE = 500  # values of a statement
_ASKED = dead_letters.c.requested_ms >= 0


@dataclass(frozen=True, slots=True)
class Requested:
    """A dead letter that from now on waits to be read again."""

    id: int
    code: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Reread:
    """What the record of dead letters has become, read again: stories, or reasons why not, or both, or neither.

    Its stories are those of the whole record, whichever of them the letters were about: other settings may find
    others in it, or in other places. What does not settle its letters only stores the stories.
    """

    letters: Sequence[KeptRecord]
    stories: Sequence[ScoredStory] = ()
    unreadable: Sequence[DeadLetter] = ()
    settles: bool = True

    def failed(self) -> list[tuple[KeptRecord, DeadLetter]]:
        """The letters that stay what they are, with the reason."""
        return [(letter, reason) for letter in self.letters if (reason := self._reason(letter)) is not None]

    def _reason(self, letter: KeptRecord) -> DeadLetter | None:
        part = letter.letter.part
        if part is None:
            # Each story that alone is unreadable gets a letter of its own, if not all are.
            whole = [reason for reason in self.unreadable if reason.part is None]
            return next(iter(whole if self.stories else self.unreadable), None)
        for reason in self.unreadable:
            if reason.part in (None, part):
                return reason
        parts = {story.enriched.story.part for story in self.stories} | {reason.part for reason in self.unreadable}
        if not parts or None in parts or part in parts:
            return None
        return DeadLetter(letter.record, "mapping_failed", f"the record has no story {part} any more", part)


def request(connection: Connection, ids: Iterable[int], now_ms: int) -> list[Requested]:
    """Asks, in the caller's transaction, for dead letters to be read again; returns those that nobody had asked for.

    One that is stored, waits already, or holds no message is left alone.
    """
    numbers = sorted(set(ids))
    asked: list[Requested] = []
    for first in range(0, len(numbers), _NUMBERS_AT_ONCE):
        asking = (
            update(dead_letters)
            .where(
                dead_letters.c.id.in_(numbers[first : first + _NUMBERS_AT_ONCE]),
                dead_letters.c.replayed_ms.is_(None),
                dead_letters.c.requested_ms.is_(None),
                dead_letters.c.code != UNREADABLE_BATCH,
            )
            .values(requested_ms=now_ms, taken=0)
            .returning(
                dead_letters.c.id,
                dead_letters.c.code,
                dead_letters.c.kafka_topic,
                dead_letters.c.kafka_partition,
                dead_letters.c.kafka_offset,
            )
        )
        asked += [Requested(*row) for row in connection.execute(asking)]
    return sorted(asked, key=lambda letter: letter.id)


def any_waits(connection: Connection, reads: Callable[[str], bool]) -> bool:
    """Whether a record of a topic that ``reads`` waits to be read again. Looks at no record."""
    return bool(_topics(connection, reads))


def waiting(connection: Connection, reads: Callable[[str], bool], most: int) -> list[KeptRecord]:
    """The records that wait to be read again and lie on topics that ``reads``, in the order in which they came."""
    topics = _topics(connection, reads)
    if not topics:
        return []
    rows = connection.execute(
        select(dead_letters)
        .where(_ASKED, dead_letters.c.kafka_topic.in_(topics))
        .order_by(dead_letters.c.id)
        .limit(most)
    ).mappings()
    return [kept_from(row) for row in rows]


def _topics(connection: Connection, reads: Callable[[str], bool]) -> list[str]:
    topics = connection.scalars(select(dead_letters.c.kafka_topic).where(_ASKED).distinct())
    return [topic for topic in topics if reads(topic)]


def take(connection: Connection, ids: Collection[int]) -> None:
    """Counts that these are about to be read: a record that ends the process each time is known by it."""
    connection.execute(update(dead_letters).where(dead_letters.c.id.in_(ids)).values(taken=dead_letters.c.taken + 1))


def put_down(connection: Connection, ids: Collection[int]) -> None:
    """Takes back that these were about to be read: whoever read them was told to stop."""
    again = dead_letters.c.id.in_(ids), dead_letters.c.taken > 0
    connection.execute(update(dead_letters).where(*again).values(taken=dead_letters.c.taken - 1))


def settle(connection: Connection, rereads: Sequence[Reread], now_ms: int) -> list[ScoredStory]:
    """Notes what letters have become, in the caller's transaction; returns the stories that are to be stored with it.

    Those of letters that somebody else has settled meanwhile are not among them, nor those that a later message of
    their story has overtaken. What is unreadable in a record and no letter of it says so is put aside.
    """
    ours = _settled(connection, [reread for reread in rereads if reread.settles], now_ms)
    settled = [reread for reread in rereads if not reread.settles or any(of.id in ours for of in reread.letters)]
    put_aside(connection, [reason for reread in settled for reason in _unsaid(connection, reread)], now_ms)
    return _not_overtaken(connection, settled)


def _settled(connection: Connection, rereads: Sequence[Reread], now_ms: int) -> set[int]:
    """The numbers of the letters that were still waiting, now stored or put back with their new reason."""
    waits = dead_letters.c.requested_ms.is_not(None), dead_letters.c.replayed_ms.is_(None)
    count = {"requested_ms": None, "attempts": dead_letters.c.attempts + 1}
    failed = {letter.id: reason for reread in rereads for letter, reason in reread.failed()}
    stored = [letter.id for reread in rereads for letter in reread.letters if letter.id not in failed]
    marking = update(dead_letters).where(dead_letters.c.id.in_(stored), *waits)
    ours = set(connection.scalars(marking.values(replayed_ms=now_ms, **count).returning(dead_letters.c.id)))
    for number, reason in failed.items():
        putting_back = update(dead_letters).where(dead_letters.c.id == number, *waits)
        back = connection.execute(putting_back.values(code=reason.code, detail=detail_of(reason), **count))
        ours |= {number} if back.rowcount else set()
    return ours


def _unsaid(connection: Connection, reread: Reread) -> list[DeadLetter]:
    """What is unreadable in a record, and no letter that stays says so."""
    if not (reread.settles and reread.unreadable):
        return []
    record, columns = reread.letters[0].record, dead_letters.c
    place = record.position
    open_parts = set(
        connection.scalars(
            select(columns.kafka_part).where(
                columns.kafka_topic == place.topic,
                columns.kafka_partition == place.partition,
                columns.kafka_offset == place.offset,
                columns.raw_value == record.value,  # a topic that was made anew has its offsets again
                columns.replayed_ms.is_(None),
            )
        )
    )
    if None in open_parts:
        return []
    return [
        reason
        for reason in reread.unreadable
        if (reason.part not in open_parts if reason.part is not None else not open_parts)
    ]


def _not_overtaken(connection: Connection, rereads: Sequence[Reread]) -> list[ScoredStory]:
    """Without the stories of which SQL holds a later message: it would be a step back in time.

    A revision says by itself what is newer; this is for feeds that number none. The same text told for another symbol
    is no step back, whenever it comes.
    """
    candidates = (item.enriched.story for reread in rereads for item in reread.stories)
    latest = _latest(connection, {story.story_id for story in candidates if story.revision is None})
    timely = []
    for reread in rereads:
        about = {letter.letter.part for letter in reread.letters}
        put_aside_ms = min(letter.letter.received_ms for letter in reread.letters)
        for item in reread.stories:
            story = item.enriched.story
            stored = latest.get((story.source, story.story_id))
            if stored is None or story.revision is not None:
                timely.append(item)
                continue
            beside = not about & {None, story.part}  # in its record, but no letter is about it
            later = stored.is_later_than(story, put_aside_ms if beside else None)
            if later and story.action is Action.CREATED and stored.text == (story.headline, story.body, story.url):
                timely.append(stored.keeping_its_place(item))
            elif not later:
                timely.append(item)
    return timely


class _Latest(NamedTuple):
    """The last message of a stored story."""

    position: Position
    part: int | None
    received_ms: int
    text: tuple[str, str, str]  # headline, body, url

    def is_later_than(self, story: Story, put_aside_ms: int | None) -> bool:
        """By the places in their partition; in different ones not, or by the time at which ``story`` was put aside."""
        ours, its = self.position, story.position
        if (ours.topic, ours.partition) == (its.topic, its.partition):
            return ours.offset > its.offset
        return put_aside_ms is not None and self.received_ms > put_aside_ms

    def keeping_its_place(self, item: ScoredStory) -> ScoredStory:
        """A message that may add to the story, at the place that the story has reached."""
        story = replace(item.enriched.story, position=self.position, part=self.part)
        return replace(item, enriched=replace(item.enriched, story=story))


def _latest(connection: Connection, story_ids: Collection[str]) -> dict[tuple[str, str], _Latest]:
    columns, numbers = stories.c, sorted(story_ids)
    latest: dict[tuple[str, str], _Latest] = {}
    for first in range(0, len(numbers), _NUMBERS_AT_ONCE):
        rows = connection.execute(
            select(columns.source, columns.story_id, columns.kafka_topic, columns.kafka_partition,
                   columns.kafka_offset, columns.kafka_part, columns.received_ms, columns.headline, columns.body,
                   columns.url).where(columns.story_id.in_(numbers[first : first + _NUMBERS_AT_ONCE]))
        )  # fmt: skip
        latest |= {
            (row[0], row[1]): _Latest(Position(*row[2:5]), row[5], row[6], (row[7], row[8], row[9])) for row in rows
        }
    return latest
