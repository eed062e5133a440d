"""An SQLite file that is taken away under the process is noticed, and nothing is made in its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import migrated_sqlite
from sentiment_monitor.errors import DatabaseAway, SettingsError
from sentiment_monitor.store import reading
from sentiment_monitor.store.database import Database
from writing import Desk, scored


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.sqlite"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    database = migrated_sqlite(file)
    yield database
    database.close()


def test_a_file_that_is_removed_is_waited_for_and_used_again_once_it_is_back(database: Database, file: Path) -> None:
    desk = Desk(database)
    desk.write(scored("1"))
    file.rename(file.with_suffix(".aside"))
    for _ in range(2):
        with pytest.raises(DatabaseAway, match="was removed"):
            desk.write(scored("2"))
    with pytest.raises(DatabaseAway, match="was removed"), database.read():
        pass
    assert "was removed" in str(database.standing.trouble)
    assert not file.exists()
    file.with_suffix(".aside").rename(file)
    assert desk.write(scored("2")).created == 1
    assert database.standing.trouble is None


def test_no_connection_that_is_made_later_makes_a_file(database: Database, file: Path) -> None:
    with database.write():
        pass
    database.close()
    file.unlink()
    with pytest.raises(DatabaseAway, match="was removed"), database.write():
        pass
    assert not file.exists()


def test_another_file_in_its_place_is_not_written(database: Database, file: Path) -> None:
    with database.write():
        pass
    shutil.copy(file, file.with_suffix(".other"))
    before = file.with_suffix(".other").read_bytes()
    file.with_suffix(".other").replace(file)
    with pytest.raises(DatabaseAway, match="no longer the file"), database.write():
        pass
    assert file.read_bytes() == before


def test_who_only_looks_goes_on_with_what_is_there(database: Database, file: Path, tmp_path: Path) -> None:
    other = migrated_sqlite(tmp_path / "other.sqlite")
    Desk(other).write(scored("1"))
    other.close()
    reader = Database(database.url.render_as_string(False), reader=True)
    try:
        assert _stories(reader) == 0
        (tmp_path / "other.sqlite").replace(file)
        with pytest.raises(DatabaseAway, match="no longer the file"):
            _stories(reader)
        assert _stories(reader) == 1
        file.unlink()
        for _ in range(2):
            with pytest.raises(DatabaseAway):
                _stories(reader)
        assert not file.exists()
    finally:
        reader.close()


def _stories(database: Database) -> int:
    with database.read() as connection:
        return reading.totals(connection).stories


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    database = Database(f"sqlite:///{tmp_path / 'closed' / 'a.sqlite'}")
    with pytest.raises(SettingsError, match="cannot be written"):
        database.check_rights()


def test_what_may_not_be_written_is_refused_with_its_name(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != file)
    with pytest.raises(SettingsError, match=r"a\.sqlite cannot be written"):
        database.check_rights()
