"""What became of what somebody wanted to change: a line for each, and an exit code for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sentiment_monitor.actions.outcomes import Acted


def report(what: str, outcomes: Sequence[Acted], *, as_json: bool) -> None:
    """Prints what became of each alert or silence. Exits with 1 when nothing could be done about some."""
    from sentiment_monitor import terminal

    if as_json:
        terminal.dump_outcomes(outcomes)
    else:
        for acted in outcomes:
            print(f"{what} {acted.id}: {terminal.plain(acted.detail)}")
    if any(acted.outcome in ("over", "unknown") for acted in outcomes):
        raise typer.Exit(1)
