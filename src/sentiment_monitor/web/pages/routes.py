"""Every page under its address."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from sentiment_monitor.web.pages import alerts, chart, dead_letters, overview, series

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
for page in (overview, series, alerts, dead_letters, chart):
    router.include_router(page.router)
