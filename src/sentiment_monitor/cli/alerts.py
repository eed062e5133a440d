"""Alerts: alerts list, alerts show."""

from __future__ import annotations

from typing import Annotated

import typer

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.errors import UsageError

app = typer.Typer(help="Look at alerts.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_alerts(
    state: Annotated[
        State | None, typer.Option(help="Only those in this state; default: all that fired.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts, newest first."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.alerts import AlertStore

    with options.opened(config, database) as opened:
        alerts = AlertStore(opened).listing(state=state, limit=limit)
        terminal.print_alerts(alerts, as_json=as_json)


@app.command("show")
def show(
    alert: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The alert's number, from monitor alerts list.")],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one alert: why it fired, on which stories, and who was told."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.alerts import AlertStore

    with options.opened(config, database) as opened:
        history = AlertStore(opened).history(alert)
        if history is None:
            raise UsageError(f"there is no alert {alert}; see monitor alerts list")
        terminal.print_alert(history, as_json=as_json)
