"""One behaviour of every writer of batches: the one in memory, and SQL on both databases."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import select

from sentiment_monitor.domain.news import Partition
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.errors import DatabaseAway, Fenced
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.schema import consumer_offsets, dead_letters, stories
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter
from sentiment_monitor.stream.write import Writer
from writing import NOW, TOPIC, MemoryWriter, dead, scored

P0, P1 = (TOPIC, 0), (TOPIC, 1)


class Books(Protocol):
    """What a writer has written, and the writer."""

    @property
    def writer(self) -> Writer: ...

    def begin(self, starts: Mapping[Partition, int | None]) -> None: ...

    def offsets(self) -> Mapping[Partition, int]: ...

    def story_ids(self) -> Collection[str]: ...

    def dead(self) -> Collection[tuple[str, int]]: ...


class _InMemory:
    def __init__(self) -> None:
        self.writer = self._memory = MemoryWriter()

    def begin(self, starts: Mapping[Partition, int | None]) -> None:
        self._memory.positions(starts)

    def offsets(self) -> Mapping[Partition, int]:
        return self._memory.offsets

    def story_ids(self) -> Collection[str]:
        return self._memory.stored

    def dead(self) -> Collection[tuple[str, int]]:
        return self._memory.dead


class _InSql:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._positions = PositionStore(database, "g")
        self.writer = StoryWriter(database, self._positions, wording)

    def begin(self, starts: Mapping[Partition, int | None]) -> None:
        self._positions.ask(starts, NOW)

    def offsets(self) -> Mapping[Partition, int]:
        offset = consumer_offsets.c
        with self._database.read() as connection:
            rows = connection.execute(select(offset.topic, offset.partition, offset.next_offset)).all()
        return {(topic, partition): following for topic, partition, following in rows}

    def story_ids(self) -> Collection[str]:
        with self._database.read() as connection:
            return list(connection.scalars(select(stories.c.story_id).order_by(stories.c.id)))

    def dead(self) -> Collection[tuple[str, int]]:
        with self._database.read() as connection:
            rows = connection.execute(select(dead_letters.c.code, dead_letters.c.kafka_offset)).all()
        return [(code, offset) for code, offset in rows]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    with ExitStack() as closing:
        if request.param == "memory":
            books: Books = _InMemory()
        else:
            file = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
            database = Database(file if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
            closing.callback(database.close)
            database.migrate()
            books = _InSql(database)
        books.begin({P0: 0, P1: 10})
        yield books


def test_a_batch_is_stored_and_its_partitions_move_on(books: Books) -> None:
    written = books.writer.commit(Batch({P0: (0, 3), P1: (10, 12)}, [scored("1"), scored("2")], [dead(2)]), NOW)
    assert (written.created, written.dead) == (2, 1)
    assert books.offsets() == {P0: 3, P1: 12}
    assert (list(books.story_ids()), list(books.dead())) == (["1", "2"], [("not_json", 2)])


def test_stories_can_be_stored_while_their_partition_stands(books: Books) -> None:
    books.writer.commit(Batch({P0: (0, 0)}, [scored("1")]), NOW)
    assert (books.offsets()[P0], list(books.story_ids())) == (0, ["1"])
    with pytest.raises(Fenced):
        books.writer.commit(Batch({P0: (1, 1)}, [scored("2")]), NOW)
    assert list(books.story_ids()) == ["1"]


def test_a_batch_that_does_not_begin_where_the_partition_stands_is_fenced_whole(books: Books) -> None:
    books.writer.commit(Batch({P0: (0, 1)}, [scored("1")]), NOW)
    with pytest.raises(Fenced):
        books.writer.commit(Batch({P0: (0, 1), P1: (10, 11)}, [scored("2"), scored("3")], [dead()]), NOW)
    assert books.offsets() == {P0: 1, P1: 10}
    assert (list(books.story_ids()), list(books.dead())) == (["1"], [])


def test_a_partition_that_never_began_is_fenced(books: Books) -> None:
    with pytest.raises(Fenced):
        books.writer.commit(Batch({("other", 0): (0, 1)}, [scored("1")]), NOW)
    assert list(books.story_ids()) == []


def test_records_that_left_nothing_behind_move_the_partition_all_the_same(books: Books) -> None:
    written = books.writer.commit(Batch({P0: (0, 7)}), NOW)
    assert (written.created, written.dead) == (0, 0)
    assert books.offsets()[P0] == 7


def test_a_batch_with_a_value_that_is_refused_leaves_nothing_and_the_rest_can_be_stored(books: Books) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        books.writer.commit(Batch({P0: (0, 2)}, [scored("1"), scored("2", revision=2**70)]), NOW)
    assert not isinstance(raised.value, Fenced | DatabaseAway)
    assert (books.offsets()[P0], list(books.story_ids())) == (0, [])
    books.writer.commit(Batch({P0: (0, 2)}, [scored("1")], [dead(1)]), NOW)
    assert (books.offsets()[P0], list(books.story_ids())) == (2, ["1"])
