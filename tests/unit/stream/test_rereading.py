"""Dead letters read again: in their order, each stored once, whatever happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from sqlalchemy import select, update

from replaying import House, headed, titled
from sentiment_monitor.actions.dead_letters import ReplayOutcome, replays_of, request_replay
from sentiment_monitor.domain.news import Record, Score, Text
from sentiment_monitor.errors import DatabaseAway, FatalError, RegistryAway
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.store import replays, schema
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.store.replays import Reread
from sentiment_monitor.stream.replay import LEASE
from writing import NOW


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def test_what_the_mended_mapping_reads_is_stored_once_where_it_lay(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails"), headed("b", "Norwick grows"), titled("c", "Halden cuts"), b"\xff")
    house.mend()
    house.replay()
    assert house.stored() == {"b": ("Norwick grows", 1)}, "nobody has asked"
    house.ask()
    house.replay()
    assert house.stored() == {"a": ("Kestrel Bank fails", 0), "b": ("Norwick grows", 1), "c": ("Halden cuts", 2)}
    assert house.outcomes() == [
        ("no_headline", True, False, 1), ("no_headline", True, False, 1), ("not_utf8", False, False, 1),
    ]  # fmt: skip
    house.ask()
    house.replay()
    assert [attempts for *_, attempts in house.outcomes()] == [1, 1, 2], "what is stored is not read again"
    assert [house.metrics.value("replayed_dead_letters_total", outcome=o) for o in ("stored", "unreadable")] == [2, 2]


def test_what_is_still_unreadable_keeps_its_place_with_the_new_reason(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails", kind="undone"))
    assert house.outcomes() == [("no_headline", False, False, 0)]
    request = request_replay(house.database, "ann", [1], NOW)
    house.decode = Decoder({"headline": "title", "action": "kind"}).decode
    house.replay()
    (letter,) = house.letters()
    assert (letter.id, letter.code, letter.attempts) == (1, "bad_action", 1)
    with house.database.read() as connection:
        (replay,) = replays_of(connection, request)
    assert (replay.outcome, "undone" in replay.detail) == (ReplayOutcome.UNREADABLE, True)


def test_letters_of_one_story_are_read_in_the_order_in_which_they_came(house: House) -> None:
    house.read(*(titled("a", f"Kestrel Bank, version {n}", action="updated") for n in range(120)))
    house.mend()
    house.ask(*range(120, 0, -1))
    house.replay()
    assert house.stored() == {"a": ("Kestrel Bank, version 119", 119)}


def test_what_a_later_message_has_overtaken_does_not_come_back(house: House) -> None:
    house.read(titled("a", "Kestrel Bank, first word"), headed("a", "Kestrel Bank, last word"))
    house.read(titled("b", "Norwick, first word"), headed("b", "", action="deleted"))
    house.read(headed("c", "Halden opens"), titled("c", "Halden closes", action="updated"))
    house.mend()
    house.ask()
    house.replay()
    assert house.stored() == {"a": ("Kestrel Bank, last word", 1), "c": ("Halden closes", 5)}
    assert all(replayed for _, replayed, *_ in house.outcomes())


def test_a_later_message_that_says_what_is_stored_overtakes_as_well(house: House) -> None:
    """The bank was sound, failed (which nobody could read) and was sound again."""
    house.read(headed("a", "Kestrel Bank is sound"))
    house.read(titled("a", "Kestrel Bank fails", action="updated"))
    house.read(headed("a", "Kestrel Bank is sound", action="updated"))
    house.read(headed("b", "Norwick grows"), titled("b", "Norwick shrinks"), headed("b", "Norwick grows"))
    house.read(headed("c", "Halden opens"), headed("c", "Halden opens"), titled("c", "Halden closes", action="updated"))
    assert house.stored()["c"] == ("Halden opens", 6), "nothing is between, so nothing is written"
    house.mend()
    house.ask()
    house.replay()
    assert house.stored() == {
        "a": ("Kestrel Bank is sound", 2), "b": ("Norwick grows", 5), "c": ("Halden closes", 8),
    }  # fmt: skip


def test_what_is_retold_for_another_symbol_does_not_take_the_story_back(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails", tickers=["KSTR"]), titled("a", "Kestrel Bank is saved"))
    house.read(headed("a", "Kestrel Bank fails", tickers=["NWK"]))
    house.mend()
    house.ask(1)
    house.replay()
    house.ask(2)
    house.replay()
    assert house.stored() == {"a": ("Kestrel Bank fails", 2)}


def test_a_record_read_again_for_one_story_does_not_take_its_others_back(house: House) -> None:
    """Pages of a feed lie in any partition: what is newer is told by when it came."""
    house.decode = Decoder(stories="data[]").decode
    house.read(feed(ODD, SOUND))
    with house.database.write() as connection:
        connection.execute(
            update(schema.stories).values(headline="Norwick shrinks", kafka_partition=3, received_ms=NOW + 1)
        )
    house.decode = Decoder({"action": "'created'"}, stories="data[]").decode
    house.ask()
    house.replay()
    with house.database.read() as connection:
        assert set(connection.scalars(select(schema.stories.c.headline))) == {"Kestrel Bank fails", "Norwick shrinks"}


def test_a_deletion_that_was_put_aside_deletes_unless_its_story_came_again(house: House) -> None:
    def drops_nothing(record: Record) -> Any:
        if b"deleted" in (record.value or b""):
            raise Tripped
        return Decoder().decode(record)

    house.decode = drops_nothing
    house.read(headed("a", "Kestrel Bank opens"), headed("a", "", action="deleted"))
    house.read(headed("b", "Norwick opens"), headed("b", "", action="deleted"), headed("b", "Norwick opens again"))
    house.mend()
    house.ask()
    house.replay()
    assert house.stored() == {"b": ("Norwick opens again", 4)}


class Tripped(Exception):
    """Something that only one version trips over."""


def test_a_story_told_before_for_another_symbol_names_both(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails", tickers=["KSTR"]), headed("a", "Kestrel Bank fails", tickers=["NWK"]))
    house.mend()
    house.ask()
    house.replay()
    with house.database.read() as connection:
        assert connection.scalar(select(schema.stories.c.tickers)) == ",KSTR,NWK,"


def test_of_a_record_with_several_stories_the_letters_are_of_those_that_cannot_be_read(house: House) -> None:
    def page(*titles: str) -> bytes:
        return json.dumps({"data": [{"id": str(n), title: f"Bank {n}"} for n, title in enumerate(titles)]}).encode()

    house.decode = Decoder(stories="data[]").decode
    house.read(page("headline", "title", "name"))
    assert [(letter.part, letter.code) for letter in house.letters()] == [(1, "no_headline"), (2, "no_headline")]
    house.decode = Decoder().decode
    house.read(page("title", "headline", "name"))
    assert house.letters()[2].part is None
    house.decode = Decoder({"headline": "title || headline"}, stories="data[]").decode
    house.ask()
    house.replay()
    # The page that was a letter as a whole has the same ids: its stories are duplicates of those read before.
    assert sorted(house.stored()) == ["0", "1"]
    assert [(letter.part, letter.code, letter.replayed_ms is not None) for letter in house.letters()] == [
        (1, "no_headline", True), (2, "no_headline", False), (None, "no_headline", True), (2, "no_headline", False),
    ]  # fmt: skip


def test_a_letter_whose_story_is_not_in_its_record_any_more_says_so(house: House) -> None:
    house.decode = Decoder(stories="data[]").decode
    house.read(b'{"data": [{"headline": "Kestrel Bank fails"}, {"title": "Norwick grows"}]}')
    house.decode = Decoder(stories="data[:1]").decode
    house.ask()
    house.replay()
    (letter,) = house.letters()
    assert (letter.code, letter.detail) == ("mapping_failed", "the record has no story 1 any more")


def feed(*stories: dict[str, Any]) -> bytes:
    return json.dumps({"data": stories}).encode()


AD: dict[str, Any] = {"kind": "ad", "id": "ad"}
ODD: dict[str, Any] = {"id": "a", "headline": "Kestrel Bank fails", "action": "undone"}
SOUND: dict[str, Any] = {"id": "b", "headline": "Norwick grows"}


def test_settings_that_find_stories_in_other_places_lose_none_of_a_record(house: House) -> None:
    """The letters count the stories as the settings of then did: what is at that place now is another."""
    house.decode = Decoder(stories="data[]").decode
    house.read(feed(AD, ODD, SOUND))
    assert [(letter.part, letter.code) for letter in house.letters()] == [(0, "no_headline"), (1, "bad_action")]
    house.decode = Decoder({"action": "'created'"}, stories="data[?kind!='ad']").decode
    house.ask(2)
    house.replay()
    assert sorted(house.stored()) == ["a", "b"]
    house.ask(1)
    house.replay()
    assert sorted(house.stored()) == ["a", "b"]
    assert all(letter.replayed_ms for letter in house.letters())


def test_what_stays_unreadable_always_has_a_letter_that_stays(house: House) -> None:
    house.decode = Decoder(stories="data[]").decode
    house.read(feed(AD, ODD, SOUND))
    house.decode = Decoder(stories="data[?kind!='ad']").decode
    for _ in range(3):
        house.ask()
        house.replay()
        staying = [(letter.part, letter.code) for letter in house.letters() if not letter.replayed_ms]
        assert staying == [(0, "bad_action")], "story a, where it is found now"
    house.decode = Decoder(stories="data[]").decode
    house.ask()
    house.replay()
    assert [(of.part, of.code) for of in house.letters() if not of.replayed_ms] == [
        (0, "no_headline"),
        (1, "bad_action"),
    ]


def test_a_record_is_read_once_for_all_of_its_letters(house: House) -> None:
    house.decode = Decoder(stories="data[]").decode
    stories = [{"id": str(n), "headline": f"Kestrel Bank {n} grows"} for n in range(30)]
    house.read(feed(*(story if n % 2 else {**story, "action": "undone"} for n, story in enumerate(stories))))
    assert len(house.letters()) == 15
    reading: list[int] = []
    scored: list[int] = []
    decode = Decoder({"action": "'created'"}, stories="data[]").decode

    def counted(record: Record) -> Any:
        reading.append(record.position.offset)
        return decode(record)

    classifier = house.scoring.classifier

    class Counting:
        languages = classifier.languages

        def score(self, texts: Sequence[Text]) -> list[Score]:
            scored.append(len(texts))
            return classifier.score(texts)

    house.scoring.classifier = cast("Classifier", Counting())
    house.decode = counted
    house.ask()
    house.replay()
    assert (len(house.stored()), reading, scored) == (30, [0], [30])


def test_many_broken_stories_of_a_record_are_one_letter(house: House) -> None:
    """Each letter is stored with its whole record: 800 of them made 44 MB of one of 53 KB."""
    house.decode = Decoder(stories="data[]").decode
    house.read(feed(SOUND, *({**ODD, "id": str(n), "headline": f"Kestrel Bank {n} grows"} for n in range(30))))
    (letter,) = house.letters()
    assert (letter.part, letter.code, letter.detail.partition(" (")[0]) == (
        None, "bad_action", "30 of 31 stories cannot be read",
    )  # fmt: skip
    house.ask()
    house.replay()
    assert house.outcomes() == [("bad_action", False, False, 1)], "it stays, although a story of it is stored"
    house.decode = Decoder({"action": "'created'"}, stories="data[]").decode
    house.ask()
    house.replay()
    assert (len(house.stored()), house.outcomes()) == (31, [("bad_action", True, False, 2)])


def test_a_story_that_the_database_refuses_costs_no_other_of_its_record(house: House) -> None:
    house.decode = Decoder(stories="data[]").decode
    odd = {"action": "undone"}
    house.read(feed(*({"id": str(n), "headline": f"Kestrel Bank {n} grows", **odd} for n in range(5))))
    house.decode = Decoder({"action": "'created'"}, stories="data[]").decode

    def refusing(rereads: Sequence[Reread]) -> None:
        if any(story.enriched.story.story_id == "3" for reread in rereads for story in reread.stories):
            raise ValueError("not this one")

    house.gate.fail = refusing
    house.ask()
    house.replay()
    assert sorted(house.stored()) == ["0", "1", "2", "4"]
    assert [(of.part, of.code) for of in house.letters() if not of.replayed_ms] == [(3, "store_failed")]


def test_while_another_process_holds_the_lease_no_record_is_loaded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.read(titled("a", "Kestrel Bank fails"))
    house.ask()
    assert LeaseStore(house.database, name=LEASE).acquire("another", NOW, 1_000)
    monkeypatch.setattr(replays, "waiting", lambda *given: pytest.fail("loads whole records"))
    house.replay()


def test_whoever_stops_while_something_is_away_blames_no_record(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails"))
    house.mend()
    mended = house.decode
    house.ask()

    def away(record: Record) -> Any:
        house.stopping.set()
        raise RegistryAway("the registry does not answer")

    house.decode = away
    for _ in range(4):
        with pytest.raises(RegistryAway):
            house.replay()
        house.stopping.clear()
    house.decode = mended
    house.replay()
    assert house.outcomes() == [("no_headline", True, False, 1)]


def test_a_revision_says_what_is_newer_wherever_it_lay(house: House) -> None:
    house.read(titled("a", "Kestrel Bank, third", revision=3), headed("a", "Kestrel Bank, second", revision=2))
    house.mend()
    house.ask()
    house.replay()
    assert house.stored() == {"a": ("Kestrel Bank, third", 0)}


def test_two_replicas_cannot_store_a_letter_twice(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails"), titled("b", "Norwick grows"))
    house.mend()
    house.ask()
    other = House(house.database, "second")
    other.mend()

    def meanwhile(rereads: Sequence[Reread]) -> None:
        house.gate.fail = lambda rereads: None
        with house.database.write() as connection:  # the first is so slow that its lease is over
            connection.execute(update(schema.leases).values(expires_ms=0))
        other.replay()
        assert len(house.stored()) == 2

    house.gate.fail = meanwhile
    house.replay()
    assert house.outcomes() == [("no_headline", True, False, 1)] * 2
    assert house.stored() == {"a": ("Kestrel Bank fails", 0), "b": ("Norwick grows", 1)}


def test_while_another_process_holds_the_lease_nothing_is_read(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails"))
    house.mend()
    house.ask()
    lease = LeaseStore(house.database, name=LEASE).acquire("another", NOW, 1_000)
    assert lease
    house.replay()
    assert (house.stored(), house.replaying.idle) == ({}, True)
    LeaseStore(house.database, name=LEASE).release(lease)
    house.replay()
    assert len(house.stored()) == 1


def test_letters_of_a_topic_that_is_not_read_wait_for_a_process_that_reads_it(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails"))
    with house.database.write() as connection:
        connection.execute(update(schema.dead_letters).values(kafka_topic="others"))
    house.mend()
    house.ask()
    house.replay()
    assert house.outcomes() == [("no_headline", False, True, 0)]


def test_a_letter_that_ends_the_process_each_time_is_put_back_and_the_others_are_read(house: House) -> None:
    house.read(*(titled(str(n), f"Kestrel Bank {n} fails") for n in range(5)))
    house.mend()
    house.ask()
    mended = house.decode

    def deadly(record: Record) -> Any:
        if record.position.offset == 2:
            raise KeyboardInterrupt  # as good as a signal: nothing here survives it
        return mended(record)

    house.decode = deadly
    deaths = 0
    while not house.replaying.idle:
        try:
            house.replay()
        except KeyboardInterrupt:
            deaths += 1
            assert deaths < 9
    assert deaths == 3, "once among others, twice alone"
    assert sorted(house.stored()) == ["0", "1", "3", "4"]
    assert house.outcomes()[2] == ("killed_process", False, False, 1)
    house.decode = mended
    house.ask()
    house.replay()
    assert len(house.stored()) == 5, "whoever asks again has it tried again"


def test_a_database_that_is_away_is_waited_for(house: House) -> None:
    house.read(titled("a", "Kestrel Bank fails"))
    house.mend()
    house.ask()
    tries = []

    def away(rereads: Sequence[Reread]) -> None:
        tries.append(len(rereads))
        if len(tries) < 3:
            raise DatabaseAway("the lights are off")

    house.gate.fail = away
    house.replay()
    assert (tries, len(house.stored())) == ([1, 1, 1], 1)


def test_what_the_database_refuses_costs_that_letter_and_no_other(house: House) -> None:
    house.read(*(titled(str(n), f"Kestrel Bank {n} fails") for n in range(7)))
    house.mend()
    house.ask()

    def refusing(rereads: Sequence[Reread]) -> None:
        if any(story.enriched.story.story_id == "4" for reread in rereads for story in reread.stories):
            raise ValueError("not this one")

    house.gate.fail = refusing
    house.replay()
    assert sorted(house.stored()) == ["0", "1", "2", "3", "5", "6"]
    (refused,) = [letter for letter in house.letters() if letter.replayed_ms is None]
    assert (refused.offset, refused.code, refused.detail) == (4, "store_failed", "ValueError: not this one")


def test_where_even_the_dead_letter_is_refused_the_process_ends(house: House) -> None:
    house.read(b"\xff")
    house.ask()

    def refusing(rereads: Sequence[Reread]) -> None:
        raise ValueError("nothing at all")

    house.gate.fail = refusing
    with pytest.raises(FatalError, match="refuses a dead letter"):
        house.replay()
    assert house.outcomes() == [("not_utf8", False, True, 0)]
