"""The chart of a page: what is drawn, and the library that draws it."""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.store.buckets import TrendPoint
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.web.parameters import Span

router = APIRouter()


def chart(points: Sequence[TrendPoint], span: Span, alerts: Sequence[Alert]) -> dict[str, Any]:
    """What ``monitor.js`` draws: one bar a step, the mean score as a line, alerts as bands."""
    return {
        "step_ms": span.step * MINUTE_MS,
        "at": [point.minute * MINUTE_MS for point in points],
        "negative": [point.negative for point in points],
        "neutral": [point.neutral for point in points],
        "positive": [point.positive for point in points],
        "score": [None if point.score is None else round(point.score, 3) for point in points],
        "alerts": [
            {
                "from": max(alert.fired_minute or 0, span.start) * MINUTE_MS,
                "to": min(alert.resolved_minute or span.end, span.end) * MINUTE_MS,
            }
            for alert in alerts
        ],
    }


def sums(points: Sequence[TrendPoint]) -> dict[str, int]:
    """Stories, negatives and copies of all steps."""
    return {name: sum(getattr(point, name) for point in points) for name in ("stories", "negative", "copies")}


@router.get("/plotly.min.js")
def plotly(request: Request) -> Response:
    packed = _takes_gzip(request.headers.get("accept-encoding", ""))
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(_plotly_source(packed), media_type="text/javascript", headers=headers)


@functools.cache
def plotly_version() -> str:
    """The version of the chart library, which makes its address change with it."""
    return importlib.metadata.version("plotly")


@functools.cache
def _plotly_source(packed: bool) -> bytes:
    """The chart library for browsers, out of the installed package, which is not imported for it."""
    package = importlib.util.find_spec("plotly")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).with_name("package_data").joinpath("plotly.min.js").read_bytes()
    return gzip.compress(source, 6, mtime=0) if packed else source


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip and does not refuse it (``gzip;q=0``)."""
    for offer in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in offer.split(";"))
        if coding == "gzip":
            return not any(_is_zero(parameter) for parameter in parameters)
    return False


def _is_zero(parameter: str) -> bool:
    name, _, weight = parameter.partition("=")
    return name.strip() == "q" and weight.strip(" 0.") == ""
