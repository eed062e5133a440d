"""Where a consumer group goes on: new partitions, known ones, lost ones."""

from __future__ import annotations

import pytest

from sentiment_monitor.store.database import Database
from writing import NOW, TOPIC, Desk, scored


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def test_groups_keep_their_own_positions(database: Database, desk: Desk) -> None:
    desk.write(scored("1"))
    assert Desk(database, "h").next == 0
    assert Desk(database, "g").next == 1


def test_a_new_partition_begins_at_its_start_and_a_known_one_where_it_was(database: Database, desk: Desk) -> None:
    assert desk.positions.ask({(TOPIC, 1): 40}, NOW) == {(TOPIC, 1): 40}
    assert desk.positions.ask({(TOPIC, 1): 0, (TOPIC, 0): 7}, NOW) == {(TOPIC, 1): 40, (TOPIC, 0): 0}
    with pytest.raises(ValueError, match="no start"):
        desk.positions.ask({(TOPIC, 2): None}, NOW)
    assert desk.positions.ask({(TOPIC, 1): None}, NOW) == {(TOPIC, 1): 40}


def test_a_lost_position_is_moved_only_from_where_it_was_lost(database: Database, desk: Desk) -> None:
    desk.write(scored("1"))
    desk.positions.ask({(TOPIC, 3): 40}, NOW)
    lost = {(TOPIC, 0): (1, 500), (TOPIC, 3): (39, 7), (TOPIC, 4): (0, 9)}
    assert desk.positions.move(lost, NOW) == {(TOPIC, 0): 500}
    assert desk.positions.ask({(TOPIC, 0): 0, (TOPIC, 3): 0}, NOW) == {(TOPIC, 0): 500, (TOPIC, 3): 40}
