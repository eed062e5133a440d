"""What is said of a database that comes and goes: one line at each change."""

from __future__ import annotations

import structlog

from sentiment_monitor.store.standing import Standing


def test_an_outage_is_one_line_and_its_end_another() -> None:
    standing = Standing()
    with structlog.testing.capture_logs() as lines:
        standing.back(to_write=True)
        for reason in ("refused", "refused", "starting up"):
            standing.away(reason, to_write=True)
        assert standing.trouble == "starting up (for 0 s)"
        standing.back(to_write=True)
        standing.back(to_write=True)
    assert [line["event"] for line in lines] == ["database.away", "database.back"]
    assert standing.trouble is None


def test_that_it_can_be_read_does_not_end_an_outage_of_writing() -> None:
    standing = Standing()
    standing.away("read-only", to_write=True)
    standing.away("a read failed too", to_write=False)
    standing.back(to_write=False)
    assert standing.trouble
    standing.back(to_write=True)
    assert standing.trouble is None


def test_an_outage_of_reading_ends_with_either() -> None:
    for to_write in (True, False):
        standing = Standing()
        standing.away("gone", to_write=False)
        standing.back(to_write=to_write)
        assert standing.trouble is None
