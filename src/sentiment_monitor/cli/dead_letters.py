"""Dead letters: dead-letters list, dead-letters replay."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from typer.core import TyperGroup

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.errors import UsageError

_AT_ONCE = 100  # records read, sent and marked together


class _ListsUnlessTold(TyperGroup):
    """``monitor dead-letters --limit 5`` is ``monitor dead-letters list --limit 5``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # its own name
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListsUnlessTold,
    help="Look at records that could not be read, and send them again.",
    rich_markup_mode=None,
)


@app.command("list")
def list_dead_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the records that could not be read, newest first, with the reason. Without "list" it is the same."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store import dead_letters

    with options.opened(config, database) as opened, opened.read() as connection:
        terminal.print_dead_letters(dead_letters.recent(connection, limit), as_json=as_json)


@app.command("replay")
def replay(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="Numbers from monitor dead-letters list."),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="All with this code that were not replayed.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were not replayed.")] = False,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send records again, once what was wrong is mended, to be read as new ones. Exit 1 when some could not be sent.

    A record that the settings in force still cannot read is left where it is.

    Example: monitor dead-letters replay --code bad_time
    """
    if sum((bool(numbers), code is not None, everything)) != 1:
        raise UsageError("say which dead letters: their numbers, --code CODE or --all")
    import time

    from sentiment_monitor import terminal
    from sentiment_monitor.app.replay import replayer
    from sentiment_monitor.store import dead_letters

    settings = options.load_settings(config, {})
    with options.opened(config, database) as opened:
        if not numbers:
            with opened.read() as connection:
                numbers = dead_letters.not_replayed(connection, code)
        again = replayer(settings, opened, lambda: time.time_ns() // 1_000_000)
        numbers = sorted(set(numbers))
        replays = []
        try:
            for first in range(0, len(numbers), _AT_ONCE):
                portion = again(_actor(), numbers[first : first + _AT_ONCE])
                replays += portion
                if not as_json:
                    terminal.print_not_replayed(portion)
        finally:  # also when a later portion fails: what was sent was sent
            terminal.print_replayed(replays, len(numbers), as_json=as_json)
    if any(outcome.outcome in ("unreadable", "refused", "unknown") for outcome in replays):
        raise typer.Exit(1)


def _actor() -> str:
    """Who runs this; in a container perhaps somebody without a name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
