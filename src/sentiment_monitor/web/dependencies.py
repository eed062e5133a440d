"""What a request is answered from, and how an endpoint asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from sentiment_monitor.store import reading
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.telemetry.metrics import Metrics
from sentiment_monitor.web.names import SeriesNames
from sentiment_monitor.web.pages.render import Renderer


@dataclass(frozen=True, slots=True)
class Resources:
    """All that the endpoints of one site share; its application keeps it as ``state.resources``."""

    database: Database
    alerts: AlertStore
    names: SeriesNames
    now_ms: Callable[[], int]
    renderer: Renderer
    metrics: Metrics
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


async def _probes(request: Request) -> ThreadPoolExecutor:
    return resources_of(request).probes


ReadDatabase = Annotated[Database, Depends(_database)]
Alerts = Annotated[AlertStore, Depends(_alerts)]
Names = Annotated[SeriesNames, Depends(_names)]
NowMs = Annotated[int, Depends(_now_ms)]
Html = Annotated[Renderer, Depends(_renderer)]
MetricsText = Annotated[Metrics, Depends(_metrics)]
ProbeThreads = Annotated[ThreadPoolExecutor, Depends(_probes)]


@contextmanager
def snapshot(database: Database) -> Iterator[tuple[Connection, int]]:
    """A snapshot and its newest minute. HTTPException 404 for an empty database.

    Not a dependency: one with ``yield`` would keep its connection until a slow reader has the whole answer.
    """
    with database.read() as connection:
        last = reading.last_minute(connection)
        if last is None:
            raise HTTPException(404, "the database holds no story yet")
        yield connection, last
