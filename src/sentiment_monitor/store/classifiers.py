"""Which classifiers have given scores, since when, and what their makers say of them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from sentiment_monitor.domain.news import Scorer
from sentiment_monitor.store.database import insert_missing
from sentiment_monitor.store.schema import classifiers


def register(connection: Connection, scorers: Iterable[Scorer], now_ms: int) -> None:
    """Lists those that are new to SQL. One that is known keeps its manifest and its first use."""
    rows = [{"id": scorer.classifier, "first_used_ms": now_ms, "manifest": scorer.manifest} for scorer in scorers]
    if rows:
        insert_missing(connection, classifiers, rows)
