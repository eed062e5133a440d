"""Alerts as JSON."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from sentiment_monitor.store.similar import similar
from sentiment_monitor.web.answers import AlertAnswer, ErrorAnswer
from sentiment_monitor.web.dependencies import Alerts, ReadDatabase
from sentiment_monitor.web.dossier import AlertWithSimilarAnswer
from sentiment_monitor.web.parameters import Limit, State

router = APIRouter()


@router.get("/alerts")
def listing(alerts: Alerts, state: State = "", limit: Limit = 50) -> list[AlertAnswer]:
    """Alerts, newest first: what ``monitor alerts list --json`` prints."""
    listed = alerts.listing(state=state or None, limit=limit)
    owners = alerts.owners([alert.id for alert in listed if alert.id is not None])
    return [AlertAnswer.of(alert, owners.get(alert.id or 0)) for alert in listed]


@router.get("/alerts/{number}", responses={404: {"model": ErrorAnswer, "description": "There is no such alert."}})
def alert(alerts: Alerts, database: ReadDatabase, number: int) -> AlertWithSimilarAnswer:
    """One alert with events, evidence, deliveries and its likes: what ``monitor alerts show --json`` prints."""
    history = alerts.history(number) if 0 < number < 2**63 else None
    if history is None:
        raise HTTPException(404, "there is no such alert")
    with database.read() as connection:
        return AlertWithSimilarAnswer.of_similar(history, similar(connection, history.alert))
