"""The journal: what was in hand when a process died, and from when on that costs the record its reading."""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Partition, Position, Record, Story
from sentiment_monitor.domain.waits import waiting
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.score.text import clean
from sentiment_monitor.stream import prepare
from sentiment_monitor.stream.journal import Journal
from sentiment_monitor.stream.parcel import Parcel
from sentiment_monitor.stream.prepare import Preparing

PLACE: Partition = ("news", 3)


class Death(BaseException):
    """Stands for the end of the process, which no handler of ours must see."""


def record(offset: int, *, timestamp_ms: int = 1_700_000_000_000) -> Record:
    return Record(Position(*PLACE, offset), None, b'{"headline": "Kestrel Bank %d"}' % offset, timestamp_ms)


def parcel(first: int = 0, count: int = 10, **options: int) -> Parcel:
    return Parcel(PLACE, 1, first, first + count, 0.0, [record(first + n, **options) for n in range(count)])


def end(journal: Journal) -> None:
    """What the kernel does at the end of a process: its lock is gone."""
    fcntl.flock(journal._file, fcntl.LOCK_UN)


class Process:
    """One life of a process that prepares parcels, and dies at one offset: of a hang, a fault or a kill."""

    def __init__(self, folder: Path, *, decoding: int | None = None, enriching: int | None = None) -> None:
        self.journal = Journal(folder)
        self._decoding, self._enriching = decoding, enriching
        self.enriched_together: list[int] = []
        self._enricher = Enricher(clean)
        self._preparing = Preparing(
            self._decode, self._enrich, lambda: 1_700_000_000_000, threading.Event(), self.journal
        )

    def _decode(self, given: Record) -> Sequence[Story | DeadLetter]:
        if given.position.offset == self._decoding:
            raise Death
        return Decoder().decode(given)

    def _enrich(self, stories: Sequence[Story], now_ms: int) -> list[EnrichedStory]:
        self.enriched_together.append(len(stories))
        if any(story.position.offset == self._enriching for story in stories):
            raise Death
        return self._enricher.enrich_all(stories, now_ms)

    def lives(self, *parcels: Parcel) -> list[str]:
        """What became of the records, when it does not die: codes of dead letters, or "story"."""
        self._preparing.prepare(parcels)
        return [item.code if isinstance(item, DeadLetter) else "story" for one in parcels for item in one.items]

    def dies(self, *parcels: Parcel) -> None:
        with pytest.raises(Death):
            self._preparing.prepare(parcels)
        end(self.journal)


def test_a_record_at_which_two_processes_died_is_put_aside_unread(tmp_path: Path) -> None:
    for _ in range(2):
        Process(tmp_path, decoding=4).dies(parcel())
    assert Process(tmp_path, decoding=4).lives(parcel()) == ["story"] * 4 + ["killed_process"] + ["story"] * 5


def test_a_record_that_kills_among_others_is_found_by_working_one_by_one(tmp_path: Path) -> None:
    lives = 0
    while True:
        process = Process(tmp_path, enriching=4)
        try:
            outcome = process.lives(parcel())
        except Death:
            end(process.journal)
            lives += 1
            assert lives <= 3
            continue
        break
    assert outcome == ["story"] * 4 + ["killed_process"] + ["story"] * 5
    assert lives == 3  # once among others, and twice alone


def test_one_death_is_an_accident_and_is_forgotten_once_the_record_is_prepared(tmp_path: Path) -> None:
    Process(tmp_path, decoding=4).dies(parcel())
    second = Process(tmp_path)
    assert second.lives(parcel()) == ["story"] * 10
    assert second.enriched_together == [1] * 10
    assert second.lives(parcel(10)) == ["story"] * 10
    assert second.enriched_together[10:] == [10]
    second.journal.close()
    assert list(tmp_path.iterdir()) == []
    Process(tmp_path, decoding=4).dies(parcel())
    assert Process(tmp_path).lives(parcel()) == ["story"] * 10


def test_what_is_put_aside_is_put_aside_again_when_it_is_read_again(tmp_path: Path) -> None:
    for _ in range(2):
        Process(tmp_path, decoding=4).dies(parcel())
    for _ in range(2):  # the batch was not stored, say
        process = Process(tmp_path, decoding=4)
        assert process.lives(parcel()).count("killed_process") == 1
        process.journal.close()


def test_another_record_at_the_same_place_of_a_topic_made_anew_is_read(tmp_path: Path) -> None:
    for _ in range(2):
        Process(tmp_path, decoding=4).dies(parcel())
    assert Process(tmp_path).lives(parcel(timestamp_ms=1_800_000_000_000)) == ["story"] * 10


def test_a_death_between_two_turns_accuses_nobody(tmp_path: Path) -> None:
    first = Process(tmp_path)
    first.lives(parcel())
    end(first.journal)
    second = Process(tmp_path)
    second.lives(parcel())
    assert second.enriched_together == [10]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_death_of_another_partition_or_of_other_work_accuses_nobody(tmp_path: Path) -> None:
    Process(tmp_path, decoding=4).dies(parcel())
    other = Journal(tmp_path, "other")
    assert not other.suspects(PLACE, 0, 100)
    journal = Journal(tmp_path)
    assert not journal.suspects(("news", 4), 0, 100)
    assert not journal.suspects(PLACE, 5, 100)
    assert journal.suspects(PLACE, 0, 4)


def test_what_a_living_process_has_in_hand_is_no_death(tmp_path: Path) -> None:
    living = Journal(tmp_path)
    living.enter(PLACE)
    living.take(7)
    assert not Journal(tmp_path).suspects(PLACE, 0, 100)
    assert len(list(tmp_path.iterdir())) == 2


def test_two_replicas_on_one_machine_count_together(tmp_path: Path) -> None:
    first, second = Process(tmp_path, decoding=4), Process(tmp_path, decoding=4)
    first.dies(parcel())
    second.dies(parcel())  # it was given the partition; it did not know
    Process(tmp_path, decoding=4).dies(parcel())
    assert "killed_process" in Process(tmp_path, decoding=4).lives(parcel())


def test_a_file_that_is_cut_or_scribbled_accuses_nobody_and_stops_nothing(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\xff" * 600, bytes(32_768), b"\x00" * 48 + b"\x09")):
        (tmp_path / f"preparing-{number}.journal").write_bytes(content)
    journal = Journal(tmp_path)
    assert not journal.suspects(PLACE, 0, 100)
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_place_for_its_file_everything_else_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = Process(tmp_path / "file" / "folder")
    assert process.lives(parcel()) == ["story"] * 10
    process.journal.close()


def test_however_many_are_suspected_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment_monitor.stream.journal._MOST_SUSPECTS", 3)
    for offset in range(0, 50, 10):
        Process(tmp_path, decoding=offset).dies(parcel(offset))
    journal = Journal(tmp_path)
    assert journal.suspects(PLACE, 40, 40)
    assert not journal.suspects(PLACE, 0, 0)


def test_a_death_while_a_schema_registry_is_asked_accuses_nobody(tmp_path: Path) -> None:
    killed = {name: tmp_path / name for name in ("asking", "reading")}

    class Asking(Process):
        def _decode(self, given: Record) -> Sequence[Story | DeadLetter]:
            if given.position.offset == 4:
                with waiting():
                    shutil.copytree(tmp_path / "state", killed["asking"])  # what a kill would leave
                shutil.copytree(tmp_path / "state", killed["reading"])
            return super()._decode(given)

    assert Asking(tmp_path / "state").lives(parcel()) == ["story"] * 10
    assert not Journal(killed["asking"]).suspects(PLACE, 0, 100)
    assert Journal(killed["reading"]).suspects(PLACE, 4, 4)


def test_a_record_that_kills_is_found_also_when_its_parcel_is_prepared_in_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Process(tmp_path, enriching=8).dies(parcel())  # all ten are suspected
    monkeypatch.setattr(prepare, "_ENOUGH", 3)
    for _ in range(2):
        Process(tmp_path, enriching=8).dies(parcel())
    assert Process(tmp_path, enriching=8).lives(parcel()) == ["story"] * 8 + ["killed_process"] + ["story"]
