"""From values to HTML: templates, and what they say about instants, links and parts of a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import jinja2
from fastapi.responses import HTMLResponse

from sentiment_monitor import __version__
from sentiment_monitor.times import MINUTE_MS, clock, clock_of

_SPANS = ("6h", "24h", "3d", "7d", "30d", "90d")


class Renderer:
    """Templates with all that they may call. ``name_of`` is what people call a series."""

    def __init__(self, name_of: Callable[[str], str], plotly_version: str) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("sentiment_monitor.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "clock": clock,
            "ms_clock": lambda ms: clock(ms // MINUTE_MS),
            "rfc3339_clock": clock_of,
            "name": name_of,
            "web_link": web_link,
            "spark": spark,
            "percent": lambda part: f"{part:.0%}",
            "of": lambda count, single, plural: f"{count:,} {single if count == 1 else plural}",
        }
        self._templates.globals |= {
            "version": __version__,
            "plotly": plotly_version,
            "spans": _SPANS,
            "href": href,
            "up": "",
        }

    def html(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """The template filled in; a value that it lacks is an error."""
        return HTMLResponse(self._templates.get_template(template).render(**values), status_code=status)


def href(address: str, **query: str | None) -> str:
    """A link with what is not empty of a query."""
    kept = {name: value for name, value in query.items() if value}
    return f"{address}?{urlencode(kept)}" if kept else address


def web_link(url: str) -> str | None:
    """The address if a browser may be sent there: feeds can write anything, ``javascript:`` too."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None


def spark(values: Sequence[int]) -> str:
    """The points of a polyline in a box of 100 by 20, the largest value at the top."""
    top = max([*values, 1])
    gap = 100 / max(1, len(values) - 1)
    return " ".join(f"{place * gap:.1f},{19 - value / top * 18:.1f}" for place, value in enumerate(values))
