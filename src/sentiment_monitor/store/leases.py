"""Leases: which process may run the tick loop, and how far it has come. A token fences whoever lost it unawares."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import leases


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run the tick loop. ``token`` fences a holder that did not notice it lost it."""

    name: str
    token: int
    progress_minute: int | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What the row says of whoever holds the lease. A holder that lives changes it at every renewal."""

    holder: str
    token: int
    expires_ms: int


class LeaseStore:
    """Takes, renews and gives back one lease."""

    def __init__(self, database: Database, *, name: str = "detect") -> None:
        self._database = database
        self._name = name

    def acquire(self, holder: str, now_ms: int, ttl_ms: int, *, abandoned: Grant | None = None) -> Lease | None:
        """Takes or renews the lease; None while another holder's has not expired. Raises DatabaseAway.

        ``abandoned`` is a grant that may be taken whatever it says about its end, if it still stands.
        """
        make = sqlite_insert if self._database.is_sqlite else pg_insert
        with self._database.write() as connection:
            connection.execute(
                make(leases).on_conflict_do_nothing(),
                {"name": self._name, "holder": "", "token": 0, "expires_ms": 0, "progress_minute": None},
            )
            row = connection.execute(
                select(leases).where(leases.c.name == self._name).with_for_update()
            ).mappings().one()  # fmt: skip
            ours = row["holder"] == holder
            if not ours and row["expires_ms"] > now_ms and _grant(row) != abandoned:
                return None
            token = row["token"] if ours else row["token"] + 1
            connection.execute(
                update(leases)
                .where(leases.c.name == self._name)
                .values(holder=holder, token=token, expires_ms=now_ms + ttl_ms)
            )
        return Lease(self._name, token, row["progress_minute"])

    def grant(self) -> Grant | None:
        """Who holds the lease until when, as the row has it; None before anybody ever did. Raises DatabaseAway."""
        with self._database.read() as connection:
            row = connection.execute(select(leases).where(leases.c.name == self._name)).mappings().one_or_none()
        return _grant(row) if row is not None else None

    def release(self, lease: Lease) -> None:
        """Lets another replica take over at once. Harmless when the lease is already lost."""
        with self._database.write() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.name == lease.name, leases.c.token == lease.token)
                .values(holder="", expires_ms=0)
            )


def _grant(row: RowMapping) -> Grant:
    return Grant(row["holder"], row["token"], row["expires_ms"])


def advance(connection: Connection, lease: Lease, minute: int) -> None:
    """Notes in the caller's transaction that ``minute`` is decided. Raises Fenced when the lease was lost."""
    held = connection.execute(
        update(leases).where(leases.c.name == lease.name, leases.c.token == lease.token).values(progress_minute=minute)
    )
    if held.rowcount != 1:
        raise Fenced("the detect lease was taken by another process")
