"""Whether this process lives and is ready, and its metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from sentiment_monitor.errors import DatabaseAway, FatalError
from sentiment_monitor.store import stops
from sentiment_monitor.store.database import Database
from sentiment_monitor.telemetry.metrics import CONTENT_TYPE
from sentiment_monitor.web.dependencies import MetricsText, ProbeThreads, ReadDatabase, Troubles

_TEXT = {"text/plain": {"schema": {"type": "string"}}}

router = APIRouter(default_response_class=PlainTextResponse)


@router.get("/metrics")
async def scrape(metrics: MetricsText, threads: ProbeThreads) -> Response:
    """What Prometheus reads."""
    text = await asyncio.get_running_loop().run_in_executor(threads, metrics.text)
    return Response(text, media_type=CONTENT_TYPE)


@router.get("/healthz")
async def alive() -> Response:
    """Whether this process answers; it ends by itself when one of its loops does."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", responses={503: {"content": _TEXT, "description": "What is in the way, a line each."}})
async def ready(database: ReadDatabase, troubles: Troubles, threads: ProbeThreads) -> Response:
    """Whether the database is there and of this version, and every loop gets on with its work.

    A notifier that is stopped is a warning: it keeps nothing else from its work.
    """
    lines, warnings = list(troubles), []
    try:
        current, head = await asyncio.get_running_loop().run_in_executor(threads, database.revisions)
        if current != head:
            lines.append(f"database at schema revision {current}, not {head}")
        else:
            warnings = await asyncio.get_running_loop().run_in_executor(threads, _warnings, database)
    except (DatabaseAway, FatalError) as error:
        lines.append(f"database away: {error}")
    text = "".join(f"{line}\n" for line in (*(lines or ["ok"]), *warnings))
    return PlainTextResponse(text, 503 if lines else 200)


def _warnings(database: Database) -> list[str]:
    with database.read() as connection:
        return [
            f"warning: notifier {stop.lane.notifier} of receiver {stop.lane.receiver} is stopped: {stop.error}"
            for stop in stops.listing(connection)
        ]
