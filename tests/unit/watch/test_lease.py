"""Who leads, while wall clocks jump and differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.watch.lease import Leadership

NOW = 1_678_468_860_000
DAY_MS = 86_400_000
TTL_MS = 60_000


class Clocks:
    """A wall clock and a monotonic one of one machine; ``ahead_ms`` is how far the wall clock is wrong."""

    def __init__(self, ahead_ms: int = 0) -> None:
        self.ahead_ms = ahead_ms
        self.passed_ms = 0

    def now_ms(self) -> int:
        return NOW + self.passed_ms + self.ahead_ms

    def monotonic(self) -> float:
        return self.passed_ms / 1000


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[LeaseStore]:
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    database.migrate()
    yield LeaseStore(database)
    database.close()


def _leadership(leases: LeaseStore, name: str, clocks: Clocks) -> Leadership:
    return Leadership(leases, name, TTL_MS, clocks.now_ms, clocks.monotonic)


def test_the_lease_of_a_dead_process_whose_clock_ran_ahead_is_taken_after_one_lease_time(leases: LeaseStore) -> None:
    dead = _leadership(leases, "dead", Clocks(ahead_ms=DAY_MS)).lease()
    assert dead is not None
    clocks = Clocks()
    heir = _leadership(leases, "heir", clocks)
    with capture_logs() as logs:
        assert heir.lease() is None
        clocks.passed_ms = TTL_MS - 1
        assert heir.lease() is None
        clocks.passed_ms = TTL_MS
        lease = heir.lease()
    assert lease is not None
    assert lease.token == dead.token + 1  # the dead one is fenced, should it live after all
    assert heir.leading
    (line,) = [line for line in logs if line["event"] == "detect.lease_not_believed"]
    assert (line["log_level"], line["holder"], line["claims_seconds"]) == ("error", "dead", 86_400)


def test_a_leader_that_lives_keeps_its_lease_however_far_its_clock_is_ahead(leases: LeaseStore) -> None:
    ahead, right = Clocks(ahead_ms=DAY_MS), Clocks()
    leader, follower = _leadership(leases, "leader", ahead), _leadership(leases, "follower", right)
    for passed_ms in range(0, 10 * TTL_MS, TTL_MS // 3):
        ahead.passed_ms = right.passed_ms = passed_ms
        assert leader.lease() is not None
        assert follower.lease() is None


def test_a_leader_set_back_by_a_day_leads_no_longer_than_it_was_granted(leases: LeaseStore) -> None:
    clocks = Clocks()
    leadership = _leadership(leases, "me", clocks)
    assert leadership.lease() is not None
    clocks.ahead_ms = -DAY_MS
    clocks.passed_ms = TTL_MS - 1
    assert leadership.leading
    clocks.passed_ms = TTL_MS
    assert not leadership.leading
    assert leadership.lease() is not None  # nobody else wanted it
    assert leadership.leading


def test_a_grant_that_was_renewed_meanwhile_is_not_abandoned(leases: LeaseStore) -> None:
    assert leases.acquire("leader", NOW, DAY_MS) is not None
    seen = leases.grant()
    assert seen is not None
    assert leases.acquire("leader", NOW + 1, DAY_MS) is not None
    assert leases.acquire("follower", NOW + 2, TTL_MS, abandoned=seen) is None
    assert leases.acquire("follower", NOW + 2, TTL_MS, abandoned=leases.grant()) is not None
