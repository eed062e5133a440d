"""Dead letters that are to be read again: asked for by somebody, taken up by an ingest process, settled once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from sentiment_monitor.domain.news import Action, DeadLetter, ScoredStory
from sentiment_monitor.store.dead_letters import KeptRecord, detail_of, kept_from, put_aside
from sentiment_monitor.store.schema import dead_letters, stories

_NUMBERS_AT_ONCE = 500  # values of a statement


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
    """What the record of a dead letter has become, read again: stories, or reasons why not, or both, or neither."""

    letter: KeptRecord
    stories: Sequence[ScoredStory] = ()
    unreadable: Sequence[DeadLetter] = ()

    @property
    def failed(self) -> bool:
        """Whether the letter stays what it is."""
        return bool(self.unreadable) and not self.stories


def request(connection: Connection, ids: Iterable[int], now_ms: int) -> list[Requested]:
    """Asks, in the caller's transaction, for dead letters to be read again; returns those that nobody had asked for.

    One that is stored, or waits already, is left alone.
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


def waiting(connection: Connection, reads: Callable[[str], bool], most: int) -> list[KeptRecord]:
    """The records that wait to be read again and lie on topics that ``reads``, in the order in which they came."""
    asked = dead_letters.c.requested_ms >= 0
    topics = [topic for topic in connection.scalars(select(dead_letters.c.kafka_topic).where(asked).distinct())
              if reads(topic)]  # fmt: skip
    if not topics:
        return []
    rows = connection.execute(
        select(dead_letters)
        .where(asked, dead_letters.c.kafka_topic.in_(topics))
        .order_by(dead_letters.c.id)
        .limit(most)
    ).mappings()
    return [kept_from(row) for row in rows]


def take(connection: Connection, ids: Collection[int]) -> None:
    """Counts that these are about to be read: a record that ends the process each time is known by it."""
    connection.execute(update(dead_letters).where(dead_letters.c.id.in_(ids)).values(taken=dead_letters.c.taken + 1))


def settle(connection: Connection, rereads: Sequence[Reread], now_ms: int) -> list[ScoredStory]:
    """Notes what letters have become, in the caller's transaction; returns the stories that are to be stored with it.

    Those of a letter that somebody else has settled meanwhile are not among them, nor those that a later message of
    their story has overtaken. Of a record that gave stories and failures, each failure is put aside as a letter of its
    own.
    """
    ours = _settled(connection, rereads, now_ms)
    settled = [reread for reread in rereads if reread.letter.id in ours]
    put_aside(connection, [letter for reread in settled if not reread.failed for letter in reread.unreadable], now_ms)
    return _not_overtaken(connection, [story for reread in settled for story in reread.stories])


def _settled(connection: Connection, rereads: Sequence[Reread], now_ms: int) -> set[int]:
    """The numbers of the letters that were still waiting, now stored or put back with their new reason."""
    waits = dead_letters.c.requested_ms.is_not(None), dead_letters.c.replayed_ms.is_(None)
    count = {"requested_ms": None, "attempts": dead_letters.c.attempts + 1}
    stored = [reread.letter.id for reread in rereads if not reread.failed]
    marking = update(dead_letters).where(dead_letters.c.id.in_(stored), *waits)
    ours = set(connection.scalars(marking.values(replayed_ms=now_ms, **count).returning(dead_letters.c.id)))
    for reread in rereads:
        if reread.failed:
            reason = reread.unreadable[0]
            putting_back = update(dead_letters).where(dead_letters.c.id == reread.letter.id, *waits)
            back = connection.execute(putting_back.values(code=reason.code, detail=detail_of(reason), **count))
            ours |= {reread.letter.id} if back.rowcount else set()
    return ours


def _not_overtaken(connection: Connection, scored: Sequence[ScoredStory]) -> list[ScoredStory]:
    """Without those of whose story SQL holds a later message of the same partition: it would be a step back in time.

    A revision says by itself what is newer; this is for feeds that number none. The same text told for another symbol
    is no step back, whenever it comes.
    """
    columns = stories.c
    unnumbered = {item.enriched.story.story_id for item in scored if item.enriched.story.revision is None}
    latest: dict[tuple[str, str], _Latest] = {}
    numbers = sorted(unnumbered)
    for first in range(0, len(numbers), _NUMBERS_AT_ONCE):
        rows = connection.execute(
            select(columns.source, columns.story_id, columns.kafka_topic, columns.kafka_partition,
                   columns.kafka_offset, columns.headline, columns.body, columns.url)
            .where(columns.story_id.in_(numbers[first : first + _NUMBERS_AT_ONCE]))
        )  # fmt: skip
        latest |= {(row[0], row[1]): _Latest(row[2:5], row[5:8]) for row in rows}
    return [item for item in scored if not _is_overtaken(item, latest)]


class _Latest(NamedTuple):
    """The last message of a stored story."""

    place: Sequence[Any]  # topic, partition, offset
    text: Sequence[str]  # headline, body, url


def _is_overtaken(item: ScoredStory, latest: Mapping[tuple[str, str], _Latest]) -> bool:
    story = item.enriched.story
    stored = latest.get((story.source, story.story_id))
    if stored is None or story.revision is not None:
        return False
    if story.action is Action.CREATED and tuple(stored.text) == (story.headline, story.body, story.url):
        return False
    topic, partition, offset = stored.place
    return (topic, partition) == (story.position.topic, story.position.partition) and offset > story.position.offset
