"""One stretch of a database's history, to be judged by any rules as often as somebody likes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sentiment_monitor.backtest.book import Book
from sentiment_monitor.backtest.columns import Columns, load
from sentiment_monitor.backtest.reader import EvidenceOf, no_evidence
from sentiment_monitor.backtest.replay import Advance, nobody, replay
from sentiment_monitor.backtest.said import Respected
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.errors import UsageError
from sentiment_monitor.store import buckets
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.store.people import recorded
from sentiment_monitor.times import DAY_MINUTES
from sentiment_monitor.watch.past import Past
from sentiment_monitor.watch.reader import StoreReader
from sentiment_monitor.watch.turn import Decider
from sentiment_monitor.watch.window import SeriesPlaces


class Study:
    """The minutes [first, last] of a history, with as much before them as baselines need.

    ``evidence`` looks up the stories behind a decision; ``said`` is what people said of the live service's alerts.
    """

    def __init__(self, columns: Columns, first: int, last: int, evidence: EvidenceOf, said: Respected) -> None:
        self.columns = columns
        self.first = first
        self.last = last
        self._evidence = evidence
        self._said = said

    @property
    def days(self) -> float:
        """How long it is."""
        return (self.last - self.first + 1) / DAY_MINUTES

    def judged_by(
        self,
        rules: Sequence[Rule],
        routes: Routes,
        *,
        names: Mapping[str, str],
        external_url: str = "",
        evidence: bool = False,
        respectful: bool = False,
        advance: Advance = lambda done, total: None,
    ) -> Book:
        """What the live service would have written down under these rules, had it begun at ``first``.

        ``evidence``: with the stories behind each decision. ``respectful``: silences, acknowledgements and closings
        count as they did.
        """
        return replay(
            self.columns,
            Decider(rules=rules, routes=routes, external_url=external_url, names=names),
            self.first,
            self.last,
            evidence=self._evidence if evidence else no_evidence,
            said=self._said if respectful else nobody,
            advance=advance,
        )


def witness(connection: Connection, database: Database) -> StoreReader:
    """A reader of the database as it is, for single questions."""
    return StoreReader(connection, AlertStore(database), Past(), SeriesPlaces())


@contextmanager
def study(database: Database, rules: Iterable[Rule], first: int | None, last: int | None) -> Iterator[Study]:
    """Reads what these rules need to judge [first, last]; None: from the oldest story, to the newest.

    The database is read in one snapshot, which lasts as long as the block. Raises UsageError where there is no story,
    DatabaseAway.
    """
    reach = max((rule.baseline_days * DAY_MINUTES + 2 * rule.span_minutes for rule in rules), default=0)
    store = AlertStore(database)
    with database.read() as connection:
        newest = buckets.last_minute(connection)
        if newest is None:
            raise UsageError("the database holds no story yet")
        end = newest + 1 if last is None else min(last, newest + 1)
        columns = load(connection, 0 if first is None else first - reach, end)
        oldest = columns.first_minute
        if oldest is None or (first is not None and first > end):
            raise UsageError("the database holds no story in that time")
        said = recorded(connection)
        concerned = {words.alert_id for words in said.acknowledgements} | {words.alert_id for words in said.closings}
        yield Study(
            columns,
            oldest + 1 if first is None else max(first, oldest + 1),
            end,
            witness(connection, database).evidence,
            Respected(said, store.by_id(concerned)),
        )
