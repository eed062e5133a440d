"""Whether this process lives and is ready, and its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from sentiment_monitor.errors import DatabaseAway, FatalError
from sentiment_monitor.store.database import Database
from sentiment_monitor.telemetry.metrics import CONTENT_TYPE, Metrics, Parts


def add_health(made: FastAPI, parts: Parts, database: Database) -> None:
    metrics = Metrics(parts, database)
    # Not the threads of the pages: those may all be waiting for the database.
    threads = ThreadPoolExecutor(2, "health")

    def probe(path: str) -> Callable[[Callable[[], Awaitable[Response]]], Callable[[], Awaitable[Response]]]:
        return made.get(path, include_in_schema=False, response_class=Response)

    @probe("/metrics")
    async def scrape() -> Response:
        text = await asyncio.get_running_loop().run_in_executor(threads, metrics.text)
        return Response(text, media_type=CONTENT_TYPE)

    @probe("/healthz")
    async def alive() -> Response:
        # The process itself ends when one of its loops does.
        return PlainTextResponse("ok\n")

    @probe("/readyz")
    async def ready() -> Response:
        try:
            current, head = await asyncio.get_running_loop().run_in_executor(threads, database.revisions)
        except (DatabaseAway, FatalError) as error:
            return PlainTextResponse(f"database away: {error}\n", 503)
        if current != head:
            return PlainTextResponse(f"database at schema revision {current}, not {head}\n", 503)
        return PlainTextResponse("ok\n")
