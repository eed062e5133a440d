"""Alerts: the list, and one with its reasons."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Response

from sentiment_monitor.domain.alert_states import Listed
from sentiment_monitor.store.similar import similar
from sentiment_monitor.times import DAY_MINUTES, iso
from sentiment_monitor.web.dependencies import Alerts, Html, ReadDatabase
from sentiment_monitor.web.parameters import NO_NUL, State

_LISTED = 500

router = APIRouter()


@router.get("/alerts")
def listing(alerts: Alerts, page: Html, state: State = "") -> Response:
    listed = alerts.listing(state=state or None, limit=_LISTED)
    owners = alerts.owners([alert.id for alert in listed if alert.id is not None])
    return page.html("alerts.html", here="alerts", state=state, states=tuple(Listed), alerts=listed, owners=owners,
                     limit=_LISTED)  # fmt: skip


@router.get("/alert")
def alert(
    alerts: Alerts,
    database: ReadDatabase,
    page: Html,
    number: Annotated[int | None, Query(alias="id", ge=1, lt=2**63)] = None,
    fingerprint: Annotated[str, Query(max_length=64, pattern=NO_NUL)] = "",
) -> Response:
    # Notifications know the fingerprint only: its newest alert is the one meant, or one that came after it.
    wanted = number or alerts.newest_of(fingerprint)
    history = alerts.history(wanted) if wanted else None
    if history is None:
        raise HTTPException(404, "there is no such alert")
    evidence = next((event.evidence for event in reversed(history.events) if event.evidence.top_stories), None)
    first = history.alert.pending_minute or 0
    last = history.alert.resolved_minute or history.alert.decided_minute or first
    around = {"since": iso(max(0, first - DAY_MINUTES)), "until": iso(last + DAY_MINUTES // 2)}
    with database.read() as connection:
        likes = similar(connection, history.alert)
    return page.html(
        "alert.html", here="alerts", alert=history.alert, events=history.events, sent=history.deliveries,
        said=history.said, owner=history.owner,
        around=around, evidence=evidence, similar=likes,
    )  # fmt: skip
