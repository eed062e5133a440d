"""What a request is answered from, and how an endpoint asks for it."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from sentiment_monitor.actions.dead_letters import Requester
from sentiment_monitor.store import buckets
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.telemetry.metrics import Metrics
from sentiment_monitor.web.names import SeriesNames
from sentiment_monitor.web.pages.render import Renderer


@dataclass(frozen=True, slots=True)
class ChangeDesk:
    """What may be changed over HTTP, by whoever knows the token."""

    token: str
    database: Database  # that takes changes; those of the pages only read
    request_replay: Requester


@dataclass(frozen=True, slots=True)
class Resources:
    """All that the endpoints of one site share; its application keeps it as ``state.resources``."""

    database: Database
    alerts: AlertStore
    names: SeriesNames
    now_ms: Callable[[], int]
    renderer: Renderer
    metrics: Metrics
    changes: ChangeDesk | None  # None: nobody may change anything
    troubles: Callable[[], Sequence[str]]  # what keeps this process from its work now
    probes: ThreadPoolExecutor  # not the threads of the pages: those may all be waiting for the database


def resources_of(request: Request) -> Resources:
    """What the application of this request was built with."""
    resources: Resources = request.app.state.resources
    return resources


# Asynchronous, because others would each be sent to a thread.
async def _database(request: Request) -> Database:
    return resources_of(request).database


async def _alerts(request: Request) -> AlertStore:
    return resources_of(request).alerts


async def _names(request: Request) -> SeriesNames:
    return resources_of(request).names


async def _now_ms(request: Request) -> int:
    return resources_of(request).now_ms()


async def _renderer(request: Request) -> Renderer:
    return resources_of(request).renderer


async def _metrics(request: Request) -> Metrics:
    return resources_of(request).metrics


async def _troubles(request: Request) -> Sequence[str]:
    return resources_of(request).troubles()


async def _probes(request: Request) -> ThreadPoolExecutor:
    return resources_of(request).probes


_BEARER = Security(HTTPBearer(auto_error=False, description="The setting web.token."))


async def _permitted(request: Request, credentials: HTTPAuthorizationCredentials | None = _BEARER) -> ChangeDesk:
    """Before anything else is looked at: 403 where no token is set, 401 for whoever does not know it."""
    changes = resources_of(request).changes
    if changes is None:
        raise HTTPException(403, "nothing can be changed over HTTP until web.token (MONITOR_WEB__TOKEN) is set")
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), changes.token.encode()):
        raise HTTPException(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})
    return changes


ReadDatabase = Annotated[Database, Depends(_database)]
Alerts = Annotated[AlertStore, Depends(_alerts)]
Names = Annotated[SeriesNames, Depends(_names)]
NowMs = Annotated[int, Depends(_now_ms)]
Html = Annotated[Renderer, Depends(_renderer)]
MetricsText = Annotated[Metrics, Depends(_metrics)]
Permitted = Annotated[ChangeDesk, Depends(_permitted)]
Troubles = Annotated[Sequence[str], Depends(_troubles)]
ProbeThreads = Annotated[ThreadPoolExecutor, Depends(_probes)]


@contextmanager
def snapshot(database: Database) -> Iterator[tuple[Connection, int]]:
    """A snapshot and its newest minute. HTTPException 404 for an empty database.

    Not a dependency: one with ``yield`` would keep its connection until a slow reader has the whole answer.
    """
    with database.read() as connection:
        last = buckets.last_minute(connection)
        if last is None:
            raise HTTPException(404, "the database holds no story yet")
        yield connection, last
