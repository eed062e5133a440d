"""The journal: which record is in hand, in a file that outlives the process, so that one that kills is known again.

A record that makes the interpreter hang, or ends the process outright, leaves no exception that could be caught. So
before each record is read its offset is noted; whoever starts next finds the note. Nothing waits for a disk, and
without a place for the file the service runs all the same.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from sentiment_monitor.domain.news import Partition, Record

_log = structlog.get_logger()

DEADLY = 2  # deaths at one record
_MOST_SUSPECTS = 50
# The file: numbers of eight bytes, the topic, and from half a kilobyte on the suspects as JSON. It is mapped into
# memory: to store one number is all that a record costs.
_FIRST, _LAST, _PARTITION, _TIMESTAMP, _SIZE, _TOPIC_BYTES, _SUSPECT_BYTES = range(7)
_NONE = -1
_TOPIC_AT, _SUSPECTS_AT, _FILE_BYTES = 64, 512, 32_768


@dataclass(frozen=True, slots=True)
class Suspect:
    """Offsets at which a process has died, mostly one; with time and size (-1: not noted) it is one very record."""

    topic: str
    partition: int
    first: int
    last: int
    timestamp_ms: int = _NONE
    size: int = _NONE
    deaths: int = 1

    def is_within(self, partition: Partition, first: int, last: int) -> bool:
        """Whether one of these offsets is among its own."""
        return (self.topic, self.partition) == partition and self.first <= last and first <= self.last


class Journal:
    """Notes what is in hand. Used by one thread.

    ``folder`` holds the journals of processes that do the same work (``name``); None keeps no file. What dead ones have
    left there is taken over: those records are suspects, to be worked on one by one, each after :meth:`examine`.
    """

    def __init__(self, folder: Path | None = None, name: str = "preparing") -> None:
        self._path: Path | None = None
        self._file = -1  # it holds the lock by which others see that we live
        self._memory = mmap.mmap(-1, _FILE_BYTES)
        remains: list[_Remains] = []
        if folder is not None:
            try:
                remains = self._open(folder, name)
            except OSError as error:
                _log.warning(
                    "journal.unavailable",
                    error=str(error),
                    hint="a record that kills the process would kill it again: set service.state_dir",
                )
        self._cells = memoryview(self._memory).cast("q")
        self.rest()
        self._suspects = _accused(remains)[-_MOST_SUSPECTS:]
        self._keep_suspects()
        for dead in remains:
            dead.path.unlink(missing_ok=True)
        for suspect in self._suspects:
            _log.warning("journal.suspect", **asdict(suspect))

    def _open(self, folder: Path, name: str) -> list[_Remains]:
        folder.mkdir(parents=True, exist_ok=True)
        remains = list(_remains(folder, name))
        path = folder / f"{name}-{uuid.uuid4().hex}.journal"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(file, 0, _FILE_BYTES)  # to meet a full disk here, and not in the midst of a store
            self._memory = mmap.mmap(file, _FILE_BYTES)
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        self._path, self._file = path, file
        return remains

    # -- what is in hand --------------------------------------------------------------------------

    def enter(self, partition: Partition) -> None:
        """The next records are of this partition."""
        cells, topic = self._cells, partition[0].encode()[: _SUSPECTS_AT - _TOPIC_AT]
        cells[_FIRST] = cells[_LAST] = cells[_TIMESTAMP] = cells[_SIZE] = _NONE
        cells[_PARTITION], cells[_TOPIC_BYTES] = partition[1], len(topic)
        self._memory[_TOPIC_AT : _TOPIC_AT + len(topic)] = topic

    def take(self, offset: int) -> None:
        """This record is about to be worked on."""
        self._cells[_FIRST] = offset

    def take_run(self, first: int, last: int) -> None:
        """These are about to be worked on together."""
        cells = self._cells
        cells[_LAST], cells[_FIRST] = last, first

    def examine(self, record: Record) -> None:
        """This suspect, alone, is about to be worked on."""
        cells = self._cells
        cells[_LAST], cells[_TIMESTAMP], cells[_SIZE] = _NONE, record.timestamp_ms, _size(record)
        cells[_FIRST] = record.position.offset

    def rest(self) -> None:
        """Nothing is in hand."""
        self._cells[_FIRST] = _NONE

    @contextmanager
    def put_down(self) -> Iterator[None]:
        """Within, nothing is in hand; afterwards again what was."""
        in_hand = self._cells[_FIRST]
        self.rest()
        try:
            yield
        finally:
            self._cells[_FIRST] = in_hand

    # -- who is suspected -------------------------------------------------------------------------

    def suspects(self, partition: Partition, first: int, last: int) -> bool:
        """Whether a process has died at one of these offsets."""
        return bool(self._suspects) and any(suspect.is_within(partition, first, last) for suspect in self._suspects)

    def has_killed(self, record: Record) -> bool:
        """Whether two processes have died at this very record."""
        position, known_by = record.position, (record.timestamp_ms, _size(record))
        return any(
            suspect.deaths >= DEADLY
            and (suspect.timestamp_ms, suspect.size) == known_by
            and suspect.is_within((position.topic, position.partition), position.offset, position.offset)
            for suspect in self._suspects
        )

    def acquit(self, partition: Partition, first: int, last: int) -> None:
        """These were worked on and nobody died: who was suspected by chance no longer is, but for what comes after."""
        kept = [
            replace(suspect, first=last + 1)
            if suspect.last > last and suspect.is_within(partition, first, last)
            else suspect
            for suspect in self._suspects
            if suspect.deaths >= DEADLY or suspect.last > last or not suspect.is_within(partition, first, last)
        ]
        if kept != self._suspects:
            self._suspects = kept
            self._keep_suspects()

    def _keep_suspects(self) -> None:
        data = json.dumps([asdict(suspect) for suspect in self._suspects]).encode()
        self._cells[_SUSPECT_BYTES] = 0
        self._memory[_SUSPECTS_AT : _SUSPECTS_AT + len(data)] = data
        self._cells[_SUSPECT_BYTES] = len(data)

    def close(self) -> None:
        """Ends well: the file goes, unless somebody is still suspected."""
        self.rest()
        if self._path and not self._suspects:
            self._path.unlink(missing_ok=True)
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # the map has a descriptor of its own
            os.close(self._file)
        self._path, self._file = None, -1


def _size(record: Record) -> int:
    return len(record.value) if record.value is not None else 0


@dataclass(frozen=True, slots=True)
class _Remains:
    """What a dead process has left."""

    path: Path
    in_hand: Suspect | None
    suspects: list[Suspect]


def _remains(folder: Path, name: str) -> Iterator[_Remains]:
    for path in sorted(folder.glob(f"{name}-*.journal")):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # another one that starts was quicker
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield _read(path)
        except BlockingIOError:  # its process lives
            continue
        finally:
            os.close(file)


def _read(path: Path) -> _Remains:
    data = path.read_bytes()
    try:
        cells = memoryview(data)[:_TOPIC_AT].cast("q")
        topic = data[_TOPIC_AT : _TOPIC_AT + cells[_TOPIC_BYTES]].decode()
        suspects = [
            Suspect(**fields) for fields in json.loads(data[_SUSPECTS_AT : _SUSPECTS_AT + cells[_SUSPECT_BYTES]])
        ]
    except (ValueError, TypeError, IndexError) as error:  # it died while it wrote this, which is before any record
        _log.warning("journal.unreadable", path=str(path), error=str(error))
        return _Remains(path, None, [])
    first, last = cells[_FIRST], max(cells[_FIRST], cells[_LAST])
    in_hand = Suspect(topic, cells[_PARTITION], first, last, cells[_TIMESTAMP], cells[_SIZE])
    return _Remains(path, in_hand if first != _NONE else None, suspects)


def _accused(remains: Sequence[_Remains]) -> list[Suspect]:
    """Suspects of before, and what was in hand at each death.

    What was examined and had been suspected alone, and not merely in a run, has killed once more.
    """
    suspects = list(dict.fromkeys(suspect for dead in remains for suspect in dead.suspects))
    for accused in (dead.in_hand for dead in remains if dead.in_hand):
        if accused.size != _NONE:
            place = (accused.topic, accused.partition)
            before = [s for s in suspects if s.is_within(place, accused.first, accused.last)]
            alone = [suspect.deaths for suspect in before if suspect.first == suspect.last]
            suspects = [suspect for suspect in suspects if suspect not in before]
            accused = replace(accused, deaths=1 + max(alone, default=0))
        suspects.append(accused)
    return suspects
