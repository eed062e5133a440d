"""The batch transaction on both databases: copies, changes, fencing, and buckets that equal a recomputation."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update

from databases import migrated_sqlite
from sentiment_monitor.domain.news import Dropped, ScoredStory, Scorer
from sentiment_monitor.enrich import copies as copying
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store import dead_letters as store_dead_letters
from sentiment_monitor.store import dropped_fields, reading
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import (
    buckets,
    classifiers,
    consumer_offsets,
    copy_keys,
    dead_letters,
    metadata,
    scores,
    stories,
)
from sentiment_monitor.store.stories import bulk, originals
from sentiment_monitor.store.stories.bulk import bulk_of
from sentiment_monitor.store.stories.row import join_tickers, split_tickers
from sentiment_monitor.store.stories.transaction import Batch
from sentiment_monitor.times import MINUTE_MS
from writing import NOW, TOPIC, Desk, dead, scored

LONG = "Kestrel Bank halts withdrawals after depositors pull billions in two days"
HOUR = 60


def rows(database: Database) -> dict[str, dict[str, Any]]:
    """Stored stories by id, with the id of the story they copy."""
    with database.read() as connection:
        found = [dict(row) for row in connection.execute(select(stories)).mappings()]
    names = {row["id"]: row["story_id"] for row in found}
    return {row["story_id"]: row | {"copy_of": names.get(row["copy_of"])} for row in found}


def copies(database: Database) -> dict[str, str | None]:
    return {name: row["copy_of"] for name, row in rows(database).items() if not row["deleted"]}


def counted(database: Database, series: str = "all") -> dict[int, tuple[int, int]]:
    """minute -> (stories without copies, copies)."""
    with database.read() as connection:
        found = connection.execute(select(buckets).where(buckets.c.series == series)).mappings()
        return {row["minute"]: (row["stories"], row["copies"]) for row in found}


def check(database: Database) -> None:
    """The invariants that hold after every transaction."""
    with database.read() as connection:
        assert stored_buckets(connection) == recompute_buckets(connection)
        living = connection.execute(select(stories).where(stories.c.deleted.is_(False))).mappings().all()
        assert {row["id"]: split_tickers(row["counts_for"]) for row in living} == counting(living)
        original = stories.alias()
        chained = connection.execute(
            select(stories.c.story_id)
            .join(original, original.c.id == stories.c.copy_of)
            .where(stories.c.deleted.is_(False), (original.c.deleted.is_(True)) | original.c.copy_of.is_not(None))
        ).all()
        assert chained == [], "a copy of a copy, or of a deleted story"
        keyed = set(connection.scalars(select(copy_keys.c.story_id)))
        originals = set(
            connection.scalars(select(stories.c.id).where(stories.c.copy_of.is_(None), stories.c.deleted.is_(False)))
        )
        assert keyed == originals, "originals, and only they, can be found by their keys"
        assert connection.scalar(select(func.count()).select_from(buckets).where(buckets.c.stories < 0)) == 0


def counting(living: Iterable[Mapping[Any, Any]]) -> dict[int, tuple[str, ...]]:
    """For which tickers each copy counts as a story: those that no earlier story of its cluster names."""
    counted: dict[int, tuple[str, ...]] = {}
    named: dict[int, set[str]] = {}
    for row in sorted(living, key=lambda row: (row["published_ms"], row["source"], row["story_id"])):
        tickers = split_tickers(row["tickers"])
        known = named.setdefault(row["copy_of"] or row["id"], set())
        counted[row["id"]] = tuple(t for t in tickers if t not in known) if row["copy_of"] else ()
        known.update(tickers)
    return counted


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


# -- one story --------------------------------------------------------------------------------------


def test_a_story_is_stored_with_its_score_and_counts_in_its_series(database: Database, desk: Desk) -> None:
    written = desk.write(scored("1", LONG, label="negative", tickers=("KSB", "XYZ"), body="b", url="u", revision=3))
    assert (written.created, written.copies, written.duplicates) == (1, 0, 0)
    row = rows(database)["1"]
    assert (row["headline"], row["revision"], row["tickers"], row["minute"]) == (LONG, 3, ",KSB,XYZ,", 1_000)
    with database.read() as connection:
        score = connection.execute(select(scores)).mappings().one()
        assert (score["label"], score["classifier"], score["topic"]) == ("negative", "stub@0", "earnings")
        assert score["score"] == pytest.approx(-0.75)
        assert stored_buckets(connection) == {
            (series, 1_000): (1, 1, 0, 0, 0, 800_000, -750_000)
            for series in ("all", "topic:earnings", "ticker:KSB", "ticker:XYZ", "source:wire")
        }
        assert connection.scalar(select(classifiers.c.id)) == "stub@0"


def test_each_score_names_who_gave_it_while_classifiers_change(database: Database, desk: Desk) -> None:
    first, second = Scorer("first@1", "none", '{"name": "first"}'), Scorer("second@2", "temperature 1.200")
    desk.write(scored("1", by=first), scored("2", by=second), scored("3", by=first), scored("4", action="deleted"))
    desk.write(scored("1", LONG, action="updated", by=second), scored("5", by=first), scored("6", by=second))
    with database.read() as connection:
        named = connection.execute(
            select(stories.c.story_id, scores.c.classifier, scores.c.calibration).join(scores)
        ).all()
        known = connection.execute(select(classifiers.c.id, classifiers.c.manifest)).all()
    givers = {story_id: tuple(giver) for story_id, *giver in named}
    assert givers == {
        "1": ("second@2", "temperature 1.200"),
        "2": ("second@2", "temperature 1.200"),
        "3": ("first@1", "none"),
        "5": ("first@1", "none"),
        "6": ("second@2", "temperature 1.200"),
    }
    assert sorted(map(tuple, known)) == [("first@1", '{"name": "first"}'), ("second@2", "{}")]


def test_a_classifier_first_seen_in_a_batch_that_fails_is_registered_with_the_next(
    database: Database, desk: Desk
) -> None:
    new = Scorer("new@1", "none")
    with pytest.raises(Exception, match=r".") as raised:
        desk.write(scored("1", by=new), scored("2", revision=2**70, by=new))
    assert not isinstance(raised.value, Fenced)
    desk.write(scored("1", by=new))
    with database.read() as connection:
        assert list(connection.scalars(select(classifiers.c.id))) == ["new@1"]


def test_the_same_message_again_changes_nothing(database: Database, desk: Desk) -> None:
    desk.write(scored("1"), scored("1"))
    assert desk.write(scored("1")).duplicates == 1
    assert counted(database) == {1_000: (1, 0)}


def test_the_same_id_from_another_source_is_another_story(database: Database, desk: Desk) -> None:
    desk.write(scored("1", "Bank fails at last"), scored("1", "Rates rise again", source="other"))
    assert counted(database) == {1_000: (2, 0)}


def test_dead_letters_keep_raw_bytes_position_and_a_detail_that_any_database_takes(
    database: Database, desk: Desk
) -> None:
    desk.write(
        dead=[dead(7, key=b"\x00k", value=b"\xff\x00", detail="a\x00b\ud800" + "x" * 5_000), dead(8, value=None)]
    )
    with database.read() as connection:
        first, second = connection.execute(select(dead_letters).order_by(dead_letters.c.id)).mappings()
    assert (first["kafka_offset"], first["raw_key"], first["raw_value"]) == (7, b"\x00k", b"\xff\x00")
    assert first["detail"].startswith("a\\x00b\\ud800x")
    assert len(first["detail"]) == 2_000
    assert second["raw_value"] is None


@pytest.mark.parametrize("story_id", ["{a,b}", 'a"b', "a\\b", "a'b", "NULL", "1", "№ 1\n", " a", "%s", "?"])
def test_any_id_finds_its_story_again(database: Database, desk: Desk, story_id: str) -> None:
    desk.write(scored(story_id))
    assert desk.write(scored(story_id), scored(f"{story_id}x")).duplicates == 1
    assert set(rows(database)) == {story_id, f"{story_id}x"}


def test_keys_at_both_ends_of_64_bits_find_their_original(database: Database, desk: Desk) -> None:
    for number, key in enumerate((-(2**63), 2**63 - 1, 2**53 + 1, -1, 0)):
        first, second = (scored(f"{number}{name}", minute=1_000 + late) for late, name in enumerate("ab"))
        for one in (first, second):
            desk.write(ScoredStory(replace(one.enriched, copy_keys=(key,)), one.score))
        assert copies(database)[f"{number}b"] == f"{number}a"
    check(database)


def test_an_id_that_the_database_gives_does_not_meet_those_of_the_writer(database: Database, desk: Desk) -> None:
    desk.write(scored("1"), scored("2"))
    row = {name: value for name, value in rows(database)["2"].items() if name != "id"}
    with database.write() as connection:
        connection.execute(insert(stories), row | {"story_id": "by hand"})
    desk.write(scored("3"))
    ids = [row["id"] for row in rows(database).values()]
    assert len(set(ids)) == 4


def test_a_large_batch_is_stored_whole(database: Database, desk: Desk) -> None:
    topics = "abcdefghij"
    told = [scored(str(n), " ".join(topics[int(c)] * 4 for c in f"{n:03}"), topic=f"t{n % 5}", tickers=(f"T{n % 40}",),
                   minute=1_000 + n % 7) for n in range(450)]  # fmt: skip
    assert desk.write(*told).created == 450
    assert {name: row["headline"] for name, row in rows(database).items()} == {
        one.enriched.story.story_id: one.enriched.text for one in told
    }
    check(database)
    assert desk.write(*told).duplicates == 450


def test_a_story_knows_its_place_within_its_record(database: Database, desk: Desk) -> None:
    desk.write(scored("1", part=3), scored("2"), dead=[replace(dead(7), part=4), dead(8)])
    assert {name: row["kafka_part"] for name, row in rows(database).items()} == {"1": 3, "2": None}
    with database.read() as connection:
        assert [letter.part for letter in store_dead_letters.recent(connection, 9)] == [None, 4]


def test_fields_that_could_not_be_read_are_counted_with_the_stories(database: Database, desk: Desk) -> None:
    lossy = (Dropped("tickers", "not_a_ticker", "'A B'"), Dropped("url", "too_long", "'u'"))
    desk.write(scored("1", dropped=lossy), scored("2", dropped=lossy[:1]), scored("3"))
    desk.write(scored("4", source="other", dropped=lossy[1:]))
    desk.write(scored("5", dropped=(Dropped("url", "too_long", "'v'"),)))
    with pytest.raises(Fenced):
        desk.writer.commit(Batch({(TOPIC, 0): (0, 1)}, [scored("6", dropped=lossy)]), NOW)
    day = NOW // (24 * HOUR * MINUTE_MS)
    with database.read() as connection:
        assert dropped_fields.counts(connection, day, 9) == [
            dropped_fields.DroppedCount(day, "wire", "tickers", "not_a_ticker", 2, "'A B'"),
            dropped_fields.DroppedCount(day, "wire", "url", "too_long", 2, "'v'"),
            dropped_fields.DroppedCount(day, "other", "url", "too_long", 1, "'u'"),
        ]
        assert dropped_fields.counts(connection, day + 1, 9) == []
        (shown,) = connection.exec_driver_sql("SELECT day FROM v1_dropped_fields WHERE source = 'other'").one()
    assert str(shown) == "2023-03-10"


# -- a message a symbol -----------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [None, 1])
@pytest.mark.parametrize("together", [True, False])
def test_a_story_sent_again_for_each_symbol_is_one_about_all_of_them(
    database: Database, desk: Desk, together: bool, revision: int | None
) -> None:
    told = [scored("1", LONG, tickers=(ticker,), revision=revision) for ticker in ("KSB", "NWK", "KSB", "HLD")]
    for batch in [told] if together else [[message] for message in told]:
        desk.write(*batch)
    assert rows(database)["1"]["tickers"] == ",HLD,KSB,NWK,"
    assert [counted(database, f"ticker:{ticker}") for ticker in ("HLD", "KSB", "NWK")] == [{1_000: (1, 0)}] * 3
    assert desk.write(told[1]).duplicates == 1
    check(database)


@pytest.mark.parametrize(
    ("other", "tickers"),
    [
        (scored("1", LONG, tickers=("NWK",), action="updated"), ",NWK,"),
        (scored("1", LONG, tickers=("NWK",), revision=1), ",NWK,"),
        (scored("1", LONG + " now", tickers=("NWK",)), ",NWK,"),
        (scored("1", LONG, tickers=("NWK",), body="It did."), ",NWK,"),
        (scored("1", LONG, tickers=("NWK",), minute=1_001), ",KSB,NWK,"),
    ],
)
def test_tickers_are_united_only_where_the_story_is_told_again_and_not_changed(
    database: Database, desk: Desk, other: ScoredStory, tickers: str
) -> None:
    desk.write(scored("1", LONG, tickers=("KSB",)))
    desk.write(other)
    assert rows(database)["1"]["tickers"] == tickers
    check(database)


# -- updates and deletions --------------------------------------------------------------------------


def test_an_update_moves_the_story_to_its_new_text_tickers_topic_and_time(database: Database, desk: Desk) -> None:
    desk.write(scored("1", LONG, label="negative", tickers=("KSB",)))
    written = desk.write(
        scored("1", "All is well", action="updated", label="positive", topic="macro", tickers=("XYZ",), minute=2_000)
    )
    assert (written.created, written.updated) == (0, 1)
    with database.read() as connection:
        assert set(stored_buckets(connection)) == {
            (series, 2_000) for series in ("all", "topic:macro", "ticker:XYZ", "source:wire")
        }
        assert connection.scalar(select(func.count()).select_from(scores)) == 1
    check(database)


def test_a_deletion_leaves_no_bucket_and_keeps_the_row(database: Database, desk: Desk) -> None:
    desk.write(scored("1"))
    assert desk.write(scored("1", action="deleted")).deleted == 1
    assert counted(database) == {}
    assert rows(database)["1"]["deleted"]
    assert desk.write(scored("1", action="deleted")).duplicates == 1
    check(database)


@pytest.mark.parametrize("revisions", [(None, None), (None, 1), (2, None), (2, 1), (2, 2)])
def test_a_creation_that_comes_after_its_deletion_stays_deleted(
    database: Database, desk: Desk, revisions: tuple[int | None, int | None]
) -> None:
    desk.write(scored("1", action="deleted", revision=revisions[0]))
    assert desk.write(scored("1", revision=revisions[1])).duplicates == 1
    assert counted(database) == {}


def test_a_newer_revision_brings_a_deleted_story_back(database: Database, desk: Desk) -> None:
    desk.write(scored("1", revision=1), scored("1", action="deleted", revision=2))
    assert desk.write(scored("1", LONG, action="updated", revision=3)).updated == 1
    assert counted(database) == {1_000: (1, 0)}
    check(database)


@pytest.mark.parametrize("known", [None, 1])
@pytest.mark.parametrize("action", ["created", "updated"])
def test_no_revision_is_newer_than_a_deletion_without_one(
    database: Database, desk: Desk, known: int | None, action: str
) -> None:
    desk.write(scored("1", revision=known), scored("1", action="deleted"))
    assert desk.write(scored("1", LONG, action=action, revision=2)).duplicates == 1
    assert desk.write(scored("1", action="deleted", revision=3)).duplicates == 1
    assert desk.write(scored("1", LONG, action=action, revision=4)).duplicates == 1
    assert rows(database)["1"]["deleted"]
    assert counted(database) == {}
    check(database)


def test_a_later_deletion_of_a_deleted_story_counts(database: Database, desk: Desk) -> None:
    desk.write(scored("1", action="deleted", revision=2))
    assert desk.write(scored("1", action="deleted", revision=4)).duplicates == 1
    assert desk.write(scored("1", revision=3)).duplicates == 1
    assert desk.write(scored("1", revision=5)).updated == 1
    assert desk.write(scored("1", action="deleted")).deleted == 1
    assert desk.write(scored("1", revision=6)).duplicates == 1
    assert counted(database) == {}
    check(database)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2, 3)])
@pytest.mark.parametrize("together", [True, False])
def test_the_highest_revision_wins_in_whatever_order_they_come(
    database: Database, desk: Desk, order: Sequence[int], together: bool
) -> None:
    messages = [scored("1", f"headline number {n}", action="updated", revision=n, minute=1_000 + n) for n in order]
    if together:
        desk.write(*messages)
    else:
        for message in messages:
            desk.write(message)
    assert rows(database)["1"]["headline"] == "headline number 3"
    assert counted(database) == {1_003: (1, 0)}
    check(database)


def test_a_deletion_older_than_the_stored_revision_is_ignored(database: Database, desk: Desk) -> None:
    desk.write(scored("1", revision=5))
    assert desk.write(scored("1", action="deleted", revision=4)).duplicates == 1
    assert counted(database) == {1_000: (1, 0)}
    desk.write(scored("1", action="deleted", revision=5))
    assert counted(database) == {}


# -- copies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_the_earliest_published_is_the_original_in_whatever_order_they_arrive(
    database: Database, desk: Desk, order: Sequence[int], together: bool
) -> None:
    told = [scored(str(n), LONG.upper() if n else LONG, source=f"s{n}", minute=1_000 + n) for n in range(3)]
    if together:
        desk.write(*(told[n] for n in order))
    else:
        for n in order:
            desk.write(told[n])
    assert copies(database) == {"0": None, "1": "0", "2": "0"}
    assert counted(database) == {1_000: (1, 0), 1_001: (0, 1), 1_002: (0, 1)}
    check(database)


def test_copies_are_told_by_key_and_time_across_batches(database: Database, desk: Desk) -> None:
    window = 72 * HOUR
    desk.write(scored("old", LONG, minute=10_000))
    desk.write(scored("inside", LONG, minute=10_000 + window), scored("outside", LONG, minute=10_001 + window))
    assert copies(database) == {"old": None, "inside": "old", "outside": None}
    check(database)


@pytest.mark.parametrize(
    ("other", "label", "same"),
    [
        (LONG.replace("halts", "stops"), "negative", True),
        (LONG.replace("halts", "resumes"), "positive", False),
        (LONG.replace("two", "2"), "negative", False),
        (f"{LONG} - Reuters", "negative", True),
        (f"{LONG} - Crisis Over", "positive", False),
        (LONG, "positive", True),  # only the bodies differ
        (LONG.upper(), "positive", True),
        (f"{LONG} - Reuters", "positive", True),
        (f"UPDATE 1-{LONG}", "positive", True),
        ("Kestrel Bank", "negative", False),
    ],
)
def test_nearly_the_same_words_are_a_copy_only_with_the_same_label_and_numbers(
    database: Database, desk: Desk, other: str, label: str, same: bool
) -> None:
    desk.write(scored("1", LONG, label="negative"))
    desk.write(scored("2", other, label=label, minute=1_001))
    assert copies(database) == {"1": None, "2": "1" if same else None}


def test_what_cleaning_takes_out_of_a_headline_makes_it_no_other_news(database: Database, desk: Desk) -> None:
    """A link of the feed's own behind the headline, and one with a number in it: the classifier read neither."""
    other = LONG.replace("halts", "stops")
    desk.write(scored("1", f"{LONG} https://a.example/news?id=71", text=LONG, label="negative"))
    desk.write(scored("2", f"{other} https://b.example/2023/story", text=other, minute=1_001, label="negative"))
    assert copies(database) == {"1": None, "2": "1"}
    check(database)


@pytest.mark.parametrize(
    ("headline", "tickers", "same"),
    [
        ("Profit warning", ("NWK",), False),
        ("Profit warning", ("KSB", "NWK"), False),
        ("Profit warning", (), False),
        ("PROFIT WARNING - Reuters", ("KSB",), True),
        (LONG, ("NWK",), True),  # sources tag the same event differently
        (LONG, (), True),
    ],
)
def test_a_headline_of_few_words_is_a_copy_only_with_the_same_tickers(
    database: Database, desk: Desk, headline: str, tickers: tuple[str, ...], same: bool
) -> None:
    first = LONG if headline == LONG else "Profit warning"
    desk.write(scored("1", first, tickers=("KSB",)))
    desk.write(scored("2", headline, tickers=tickers, minute=1_001))
    assert copies(database) == {"1": None, "2": "1" if same else None}


@pytest.mark.parametrize("together", [True, False])
def test_when_the_original_goes_its_earliest_living_copy_takes_its_place(
    database: Database, desk: Desk, together: bool
) -> None:
    told = [scored(str(n), LONG, source=f"s{n}", minute=1_000 + n) for n in range(4)]
    gone = [scored("1", source="s1", action="deleted"), scored("0", source="s0", action="deleted")]
    if together:
        desk.write(*told, *gone)
    else:
        desk.write(*told)
        desk.write(gone[0])
        desk.write(gone[1])
    assert copies(database) == {"2": None, "3": "2"}
    assert counted(database) == {1_002: (1, 0), 1_003: (0, 1)}
    desk.write(scored("5", LONG, minute=1_010))
    assert copies(database)["5"] == "2"
    check(database)


def test_an_original_that_is_rewritten_leaves_its_copies_to_the_next(database: Database, desk: Desk) -> None:
    desk.write(scored("0", LONG), scored("1", LONG, minute=1_001), scored("2", LONG, minute=1_002))
    desk.write(scored("0", "Something else entirely", action="updated"))
    assert copies(database) == {"0": None, "1": None, "2": "1"}
    desk.write(scored("0", LONG, action="updated"))
    assert copies(database) == {"0": None, "1": "0", "2": "0"}
    check(database)


def test_keys_of_a_story_deleted_by_hand_stop_nobody(database: Database, desk: Desk) -> None:
    desk.write(scored("0", LONG))
    with database.write() as connection:
        connection.execute(delete(scores))
        connection.execute(delete(stories))
    desk.write(scored("1", LONG, minute=1_001), scored("2", LONG, minute=1_002))
    assert copies(database) == {"1": None, "2": "1"}


def test_leaving_keys_are_sought_once_each_not_once_a_story(tmp_path: Path) -> None:
    opened = migrated_sqlite(tmp_path / "plan.sqlite")
    statements: list[str] = []
    with opened.write() as connection, closing(bulk_of(connection)) as bulk:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_trace_callback(statements.append)
        bulk.drop_copy_keys([1, 2], [3, 4])
        driver.set_trace_callback(None)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[0]}").fetchall()
    opened.close()
    assert any("copy_keys USING PRIMARY KEY (key=?)" in row[3] for row in plan), plan


def test_originals_and_copies_that_change_together_end_as_one_by_one(database: Database, desk: Desk) -> None:
    ports, chips = "Ports close in the north after a storm", "Makers of memory chips raise prices again"
    for name, text in (("a", LONG), ("b", ports), ("c", chips)):
        desk.write(*(scored(f"{name}{n}", text, minute=1_000 + n) for n in range(3)))
    desk.write(
        scored("a0", "Something else entirely", action="updated"),
        scored("a1", "Another thing altogether", action="updated"),
        scored("b0", action="deleted"),
        scored("c1", chips, action="updated", minute=990),
        scored("b1", "Nothing to see here today", action="updated"),
        scored("b3", ports, minute=1_003),
    )
    assert copies(database) == {
        "a0": None, "a1": None, "a2": None, "b1": None, "b2": None, "b3": "b2", "c0": "c1", "c1": None, "c2": "c1",
    }  # fmt: skip
    check(database)


def test_a_long_body_survives_a_change_of_the_cluster(database: Database, desk: Desk) -> None:
    desk.write(scored("late", LONG, minute=1_005, body="long " * 1_000, url="u"))
    desk.write(scored("early", LONG, minute=1_000))
    row = rows(database)["late"]
    assert (row["copy_of"], row["body"], row["url"]) == ("early", "long " * 1_000, "u")
    assert desk.write(scored("late", LONG, minute=1_005, body="long " * 1_000, url="u")).duplicates == 1


def test_an_original_that_moves_later_becomes_a_copy(database: Database, desk: Desk) -> None:
    desk.write(scored("0", LONG), scored("1", LONG, minute=1_001))
    desk.write(scored("0", LONG, action="updated", minute=1_005))
    assert copies(database) == {"0": "1", "1": None}
    check(database)


# -- copies that name companies which their originals do not -----------------------------------------


def test_a_copy_counts_for_the_company_that_only_it_names_and_only_the_first_such_copy(
    database: Database, desk: Desk
) -> None:
    desk.write(scored("0", LONG, tickers=("KSB",), label="negative"))
    desk.write(scored("2", LONG, source="s2", minute=1_002, tickers=("KSB", "NWK"), label="negative"))
    desk.write(scored("3", LONG, source="s3", minute=1_003, tickers=("NWK",), label="negative"))
    assert copies(database) == {"0": None, "2": "0", "3": "0"}
    assert counted(database) == {1_000: (1, 0), 1_002: (0, 1), 1_003: (0, 1)}
    assert counted(database, "ticker:KSB") == {1_000: (1, 0), 1_002: (0, 1)}
    assert counted(database, "ticker:NWK") == {1_002: (1, 0), 1_003: (0, 1)}
    check(database)
    desk.write(scored("1", LONG, source="s1", minute=1_001, tickers=("NWK",), label="negative"))  # earlier, late
    assert counted(database, "ticker:NWK") == {1_001: (1, 0), 1_002: (0, 1), 1_003: (0, 1)}
    check(database)


def test_when_that_copy_goes_the_next_that_names_the_company_counts(database: Database, desk: Desk) -> None:
    told = [scored(str(n), LONG, source=f"s{n}", minute=1_000 + n, tickers=("NWK",) if n else ()) for n in range(4)]
    desk.write(*told)
    assert counted(database, "ticker:NWK") == {1_001: (1, 0), 1_002: (0, 1), 1_003: (0, 1)}
    desk.write(scored("1", source="s1", action="deleted"))
    assert counted(database, "ticker:NWK") == {1_002: (1, 0), 1_003: (0, 1)}
    desk.write(scored("2", LONG, source="s2", minute=1_002, action="updated"))
    assert counted(database, "ticker:NWK") == {1_003: (1, 0)}
    check(database)
    desk.write(scored("0", source="s0", action="deleted"))
    assert copies(database) == {"2": None, "3": "2"}
    assert counted(database, "ticker:NWK") == {1_003: (1, 0)}
    check(database)
    desk.write(scored("2", LONG, source="s2", minute=1_002, action="updated", tickers=("NWK",)))
    assert counted(database, "ticker:NWK") == {1_002: (1, 0), 1_003: (0, 1)}
    check(database)


def test_what_people_and_alerts_are_shown_of_a_company_holds_the_copy_that_counts(
    database: Database, desk: Desk
) -> None:
    desk.write(scored("0", LONG, tickers=("KSB",), label="negative"))
    desk.write(scored("1", LONG, source="s1", minute=1_001, tickers=("KSB", "NWK"), label="negative"))
    with database.read() as connection:
        shown = {
            series: [fact.source for fact in reading.top_negative(connection, series, 0, 2_000, 9)]
            for series in ("all", "source:s1", "topic:earnings", "ticker:KSB", "ticker:NWK")
        }
        assert reading.negative_sources(connection, "ticker:NWK", 0, 2_000) == ["s1"]
        windows = {original.source: original.series for original in reading.originals(connection, 0, 2_000)}
    assert shown == {
        "all": ["wire"], "source:s1": [], "topic:earnings": ["wire"], "ticker:KSB": ["wire"], "ticker:NWK": ["s1"],
    }  # fmt: skip
    assert windows == {"wire": ("all", "topic:earnings", "ticker:KSB", "source:wire"), "s1": ("ticker:NWK",)}


# -- crowds of originals ----------------------------------------------------------------------------

_SYLLABLES = ("ka", "no", "ri", "te", "su", "lo", "mi", "be", "da", "vu")
_NAMES = [f"{a}{b}{c}".title() for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES]
_TEMPLATE = "{} Corp Announces Date Of Third Quarter Results Conference Call And Webcast"


@pytest.fixture
def comparisons() -> Iterator[list[int]]:
    """How often two headlines have been compared, as a list with one number."""
    count = [0]
    repeats = copying.Wording.repeats

    def counting_repeats(wording: copying.Wording, other: copying.Wording) -> bool:
        count[0] += 1
        return repeats(wording, other)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(copying.Wording, "repeats", counting_repeats)
        yield count


def test_headlines_of_one_template_meet_those_of_their_company_only(tmp_path: Path, comparisons: list[int]) -> None:
    """A thousand were half a million comparisons, and each batch was dearer than the last."""
    opened = migrated_sqlite(tmp_path / "crowd.sqlite")
    desk = Desk(opened)
    told = [scored(str(n), _TEMPLATE.format(name), minute=1_000 + n // 60) for n, name in enumerate(_NAMES)]
    for start in range(0, 1_000, 250):
        assert desk.write(*told[start : start + 250]).copies == 0
    assert comparisons[0] < 30_000
    again = [
        scored("verb", _TEMPLATE.format(_NAMES[7]).replace("Date Of", "The Date Of"), minute=1_030),
        scored("shouted", _TEMPLATE.format(_NAMES[8]).upper(), minute=1_030),
        scored("short", _TEMPLATE.format(_NAMES[9]).replace(" And Webcast", ""), minute=1_030),
        scored("new", _TEMPLATE.format("Halden"), minute=1_030),
    ]
    desk.write(*again)
    copied = copies(opened)
    assert {name: copied[name] for name in ("verb", "shouted", "short", "new")} == {
        "verb": "7", "shouted": "8", "short": "9", "new": None,
    }  # fmt: skip
    check(opened)
    opened.close()


def test_a_crowd_without_names_costs_a_story_a_bounded_number_of_comparisons(
    tmp_path: Path, comparisons: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(originals, "_MOST_COMPARED", 20)
    opened = migrated_sqlite(tmp_path / "crowd.sqlite")
    desk = Desk(opened)
    labels = ("negative", "neutral", "positive")
    told = [
        scored(str(n), f"{name.lower()} {' '.join(_SYLLABLES)} {_NAMES[n - 7].lower()} {_NAMES[n - 70].lower()}",
               minute=1_000 + n, label=labels[n % 3])
        for n, name in enumerate(_NAMES[:600])
    ]  # fmt: skip
    desk.write(*told)
    assert comparisons[0] < 600 * 100
    check(opened)
    opened.close()


def test_of_very_many_originals_the_newest_of_each_near_key_are_loaded_and_exact_ones_all_the_same(
    database: Database, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(*(scored(str(n), _TEMPLATE.format(name), minute=1_000 + n) for n, name in enumerate(_NAMES[:60])))
    monkeypatch.setattr(bulk, "_MANY_ORIGINALS", 100)
    monkeypatch.setattr(bulk, "_NEWEST_NEAR", 8)
    wordier = _TEMPLATE.replace("Date Of", "The Date Of")
    desk.write(
        scored("oldest", wordier.format(_NAMES[0]), minute=1_100),
        scored("exact", _TEMPLATE.format(_NAMES[0]).upper(), minute=1_100),
        scored("newest", wordier.format(_NAMES[59]), minute=1_100),
    )
    copied = copies(database)
    assert (copied["exact"], copied["newest"], copied["oldest"]) == ("0", "59", None)
    check(database)


# -- the invariant ----------------------------------------------------------------------------------

_TEXTS = (LONG, LONG.upper(), LONG.replace("halts", "stops"), LONG.replace("two", "2"), "Bank fails", "Rates rise")
_message = st.builds(
    scored,
    st.sampled_from("abcdef"),
    st.sampled_from(_TEXTS),
    source=st.sampled_from(["s1", "s2"]),
    action=st.sampled_from(["created", "created", "updated", "updated", "deleted"]),
    revision=st.none() | st.integers(0, 4),
    minute=st.sampled_from([1_000, 1_001, 1_060, 1_000 + 72 * HOUR, 1_001 + 72 * HOUR, 20_000]),
    label=st.sampled_from(["negative", "negative", "neutral", "positive"]),
    topic=st.sampled_from([None, "macro", "earnings"]),
    tickers=st.sampled_from([(), ("A",), ("A", "B"), ("B",)]),
    url=st.sampled_from(["", "u"]),
)


def _emptied(database: Database) -> Desk:
    with database.write() as connection:
        connection.execute(update(stories).values(copy_of=None))
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    return Desk(database)


_ON_ONE_DATABASE = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@_ON_ONE_DATABASE
@given(st.lists(st.lists(_message, min_size=1, max_size=6), min_size=1, max_size=5))
def test_buckets_equal_a_recomputation_after_any_history(database: Database, history: list[list[ScoredStory]]) -> None:
    desk = _emptied(database)
    for batch in history:
        written = desk.write(*batch)
        handled = written.created + written.updated + written.deleted + written.duplicates
        assert handled == len(batch)
        check(database)


_change = st.tuples(st.sampled_from(["created", "updated", "deleted"]), st.none() | st.integers(0, 3))


@_ON_ONE_DATABASE
@given(st.lists(_change, min_size=1, max_size=6), st.data())
def test_whether_a_story_lives_depends_neither_on_order_nor_on_repetition(
    database: Database, changes: list[tuple[str, int | None]], data: st.DataObject
) -> None:
    def lives(told: Iterable[tuple[str, int | None]]) -> bool:
        desk = _emptied(database)
        desk.write(scored("1", revision=0))
        for action, revision in told:
            desk.write(scored("1", action=action, revision=revision))
        return not rows(database)["1"]["deleted"]

    once = lives(changes)
    assert lives([*changes, *changes]) == once
    assert lives(data.draw(st.permutations(changes))) == once


@_ON_ONE_DATABASE
@given(st.lists(st.lists(_message, min_size=1, max_size=5), min_size=1, max_size=4))
def test_the_size_of_the_batches_makes_no_difference(database: Database, history: list[list[ScoredStory]]) -> None:
    def outcome() -> object:
        with database.read() as connection:
            found = {(r["source"], n): (r["copy_of"], r["headline"], r["deleted"], r["revision"])
                     for n, r in ((row["story_id"], row) for row in _with_names(connection))}  # fmt: skip
            return found, stored_buckets(connection)

    desk = _emptied(database)
    for batch in history:
        desk.write(*batch)
    in_batches = outcome()
    desk = _emptied(database)
    for batch in history:
        for message in batch:
            desk.write(message)
    assert outcome() == in_batches


def _with_names(connection: Any) -> list[dict[str, Any]]:
    found = [dict(row) for row in connection.execute(select(stories)).mappings()]
    names = {row["id"]: (row["source"], row["story_id"]) for row in found}
    return [row | {"copy_of": names.get(row["copy_of"])} for row in found]


@_ON_ONE_DATABASE
@given(data=st.data(), count=st.integers(2, 8))
def test_exact_copies_end_the_same_in_whatever_order_and_batches_they_arrive(
    database: Database, data: st.DataObject, count: int
) -> None:
    minutes = data.draw(st.lists(st.integers(1_000, 1_000 + 72 * HOUR), min_size=count, max_size=count))
    texts = data.draw(st.lists(st.sampled_from([LONG, "Bank fails"]), min_size=count, max_size=count))
    tags = data.draw(st.lists(st.sampled_from([(), ("A",), ("A", "B")]), min_size=count, max_size=count))
    gone = data.draw(st.sets(st.integers(0, count - 1)))
    told = [
        scored(str(n), texts[n], source=f"s{n % 3}", minute=minutes[n], label="negative", tickers=tags[n], revision=1)
        for n in range(count)
    ] + [scored(str(n), source=f"s{n % 3}", action="deleted", revision=2) for n in gone]
    desk = _emptied(database)
    for message in data.draw(st.permutations(told)):
        desk.write(message)
    expected: dict[str, str | None] = {}
    news = [(text, tickers if text != LONG else ()) for text, tickers in zip(texts, tags, strict=True)]
    for one in set(news):
        living = [n for n in range(count) if news[n] == one and n not in gone]
        first = min(living, key=lambda n: (minutes[n] * MINUTE_MS, f"s{n % 3}", str(n)), default=None)
        expected |= {str(n): None if n == first else str(first) for n in living}
    assert copies(database) == expected
    check(database)


# -- offsets ----------------------------------------------------------------------------------------


def _offset(database: Database, group: str = "g") -> int | None:
    with database.read() as connection:
        found: int | None = connection.scalar(
            select(consumer_offsets.c.next_offset).where(consumer_offsets.c.consumer_group == group)
        )
        return found


def test_a_writer_that_is_not_where_sql_is_writes_nothing_at_all(database: Database, desk: Desk) -> None:
    zombie = Desk(database)
    desk.write(scored("1", LONG))
    with pytest.raises(Fenced):
        zombie.write(scored("2", LONG), dead=[dead()])
    assert list(rows(database)) == ["1"]
    assert counted(database) == {1_000: (1, 0)}
    assert _offset(database) == 1
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(dead_letters)) == 0


def test_one_stale_partition_of_several_fences_the_whole_batch(database: Database, desk: Desk) -> None:
    desk.positions.ask({(TOPIC, 1): 5}, NOW)
    with pytest.raises(Fenced, match="news/1"):
        desk.writer.commit(Batch({(TOPIC, 0): (0, 1), (TOPIC, 1): (4, 6)}, [scored("1")]), NOW)
    assert desk.positions.ask({(TOPIC, 0): 9, (TOPIC, 1): 9}, NOW) == {(TOPIC, 0): 0, (TOPIC, 1): 5}
    assert rows(database) == {}


def test_a_partition_that_sql_does_not_know_cannot_be_written(database: Database, desk: Desk) -> None:
    with pytest.raises(Fenced):
        desk.writer.commit(Batch({("other", 0): (0, 1)}, [scored("1")]), NOW)


def test_an_error_inside_the_transaction_leaves_nothing_behind(database: Database, desk: Desk) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        desk.write(scored("1"), scored("2", revision=2**70))
    assert not isinstance(raised.value, Fenced)
    assert (rows(database), _offset(database)) == ({}, 0)
    desk.write(scored("1"))  # and the writer still works


def test_two_writers_at_once_agree_on_one_original(database: Database) -> None:
    """Two replicas, a partition each, the same story at the same moment."""
    one = Desk(database)
    one.positions.ask({(TOPIC, 1): 0}, NOW)
    failed: list[BaseException] = []

    def write(partition: int) -> None:
        try:
            writer = Desk(database).writer
            for n in range(15):
                batch = Batch({(TOPIC, partition): (n, n + 1)}, [scored(f"{partition}-{n}", f"{LONG} again {'x' * n}")])
                writer.commit(batch, NOW)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=write, args=(partition,)) for partition in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert len(rows(database)) == 30
    check(database)
    with database.read() as connection:
        originals = connection.execute(
            select(stories.c.headline, func.count()).where(stories.c.copy_of.is_(None)).group_by(stories.c.headline)
        ).all()
    assert all(count == 1 for _, count in originals)


@given(st.lists(st.text(st.sampled_from("ABC.-:=^0"), min_size=1, max_size=5), max_size=5))
def test_tickers_survive_their_column(tickers: list[str]) -> None:
    assert split_tickers(join_tickers(tuple(tickers))) == tuple(tickers)
