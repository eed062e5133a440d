"""What people have said about alerts, read back: one behaviour on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import insert

from sentiment_monitor.domain.people import Deed, Saying
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.people import sayings
from sentiment_monitor.store.schema import acknowledgements, closings, comments
from writing import Alerts, alert, event

NOW = 1_678_468_860_000


def test_what_people_said_of_an_alert_is_read_in_the_order_they_said_it(database: Database) -> None:
    store = Alerts(database)
    lease = store.leases.acquire("me", NOW, 60_000)
    assert lease is not None
    store.apply(lease, 100, [Change(alert(series=f"ticker:{name}"), event()) for name in "ABC"], NOW)
    first, second, third = (kept.id or 0 for kept in store.open())
    with database.write() as connection:
        connection.execute(
            insert(closings).values(alert_id=first, at_ms=9, minute=9, actor="cy", verdict="dismissed", reason="a joke")
        )
        connection.execute(
            insert(acknowledgements),
            [
                {"alert_id": first, "at_ms": 1, "minute": 1, "actor": "ann", "owner": "bo", "note": "bo knows them"},
                {"alert_id": first, "at_ms": 5, "minute": 5, "actor": "bo", "owner": None, "note": ""},
                {"alert_id": second, "at_ms": 2, "minute": 2, "actor": "ann", "owner": "ann", "note": ""},
            ],
        )
        connection.execute(insert(comments).values(alert_id=first, at_ms=3, author="ann", text="called the desk"))
    with database.read() as connection:
        assert sayings(connection, first) == [
            Saying(1, "ann", Deed.ACKNOWLEDGED, "bo knows them", "bo"),
            Saying(3, "ann", Deed.COMMENTED, "called the desk"),
            Saying(5, "bo", Deed.UNACKNOWLEDGED, ""),
            Saying(9, "cy", Deed.DISMISSED, "a joke"),
        ]
        assert sayings(connection, third) == []
