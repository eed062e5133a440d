"""A picture of a backtest: negatives a day, and below them what each detector raised; a page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sentiment_monitor.backtest.account import BacktestAccount
from sentiment_monitor.backtest.incidents import Incident
from sentiment_monitor.backtest.study import Study
from sentiment_monitor.errors import UsageError
from sentiment_monitor.times import DAY_MINUTES

_BAR, _BAND, _ALERT = "#c0392b", "rgba(241, 196, 15, 0.35)", "#1f4e79"


def draw(account: BacktestAccount, study: Study, incidents: Sequence[Incident], path: Path) -> None:
    """Writes the page. Raises UsageError for a file that cannot be written."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.4, 0.6], vertical_spacing=0.05)
    days, negatives = _negatives_a_day(study)
    figure.add_trace(go.Bar(x=days, y=negatives, name="negative stories a day", marker_color=_BAR), row=1, col=1)
    for detector in account.detectors:
        figure.add_trace(
            go.Scatter(
                x=[alert.fired_at for alert in detector.alerts],
                y=[detector.name for _ in detector.alerts],
                text=[
                    f"{alert.rule} {alert.series}: {alert.observed:g} of {alert.volume:g}, "
                    f"expected {alert.expected:g}" + (f" ({alert.incident})" if alert.incident else "")
                    for alert in detector.alerts
                ],
                name=detector.name,
                mode="markers",
                marker={"symbol": "line-ns-open", "size": 16, "color": _ALERT},
            ),
            row=2,
            col=1,
        )
    for incident in incidents:
        figure.add_vrect(
            x0=_moment(incident.start),
            x1=_moment(incident.end),
            fillcolor=_BAND,
            line_width=0,
            annotation_text=incident.name,
            annotation_font_size=10,
        )
    figure.update_layout(title=f"Backtest {account.since[:10]} to {account.until[:10]}", showlegend=False)
    try:
        figure.write_html(path, include_plotlyjs=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _negatives_a_day(study: Study) -> tuple[list[datetime], list[float]]:
    feed = study.columns.by_dimension["all"]
    low, high = feed.before(study.first - 1), feed.before(study.last)
    days, where = np.unique(feed.minute[low:high] // DAY_MINUTES, return_inverse=True)
    sums = np.bincount(where, feed.negative[low:high], len(days))
    return [_moment(day * DAY_MINUTES) for day in days.tolist()], sums.tolist()


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
