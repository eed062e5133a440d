"""Dead letters: dead-letters list, show, replay, export."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from typer.core import TyperGroup

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.errors import UsageError

if TYPE_CHECKING:
    from sentiment_monitor.actions.dead_letters import Replay, ReplayRequest
    from sentiment_monitor.store.database import Database
    from sentiment_monitor.store.dead_letters import KeptRecord

_LOOK_SECONDS = 0.5
_DESCRIBED = 20  # letters that are still unreadable, one a line

NumbersArgument = Annotated[
    list[int] | None,
    typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="Numbers from monitor dead-letters list."),
]
NumberArgument = Annotated[
    int, typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="A number from monitor dead-letters list.")
]
CodeOption = Annotated[str | None, typer.Option(help="All with this code that were not replayed.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="All that were not replayed.")]


class _ListsUnlessTold(TyperGroup):
    """``monitor dead-letters --limit 5`` is ``monitor dead-letters list --limit 5``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # its own name
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListsUnlessTold,
    help="Look at records that could not be read, have them read again, take them out.",
    rich_markup_mode=None,
)


@app.command("list")
def list_dead_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    code: Annotated[str | None, typer.Option(help="Only those with this code.", show_default=False)] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the records that could not be read, newest first, with the reason. Without "list" it is the same."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store import dead_letters

    with options.opened(config, database) as opened, opened.read() as connection:
        terminal.print_dead_letters(dead_letters.recent(connection, limit, code=code), as_json=as_json)


@app.command("show")
def show(
    number: NumberArgument,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one record that could not be read: where it lay, why, its bytes, and what today's settings make of it."""
    from sentiment_monitor import terminal
    from sentiment_monitor.app.replay import reading_of
    from sentiment_monitor.store import dead_letters

    settings = options.load_settings(config, {})
    with options.opened(config, database) as opened, opened.read() as connection:
        letter = dead_letters.kept(connection, number)
    if letter is None:
        raise UsageError(f"there is no dead letter {number}")
    terminal.print_dead_letter(letter, reading_of(settings, letter), as_json=as_json)


@app.command("replay")
def replay(
    numbers: NumbersArgument = None,
    code: CodeOption = None,
    everything: AllOption = False,
    wait: Annotated[
        str, typer.Option(help="How long to wait while no ingest process takes them up; 0s: not at all.")
    ] = "30s",
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have records read again, once what was wrong is mended, and wait until they are. Exit 1 when some were not.

    A running monitor does it, by the settings it was started with: change them and start it again first. The records
    are read in their order, and each is stored once. One that still cannot be read stays, with its new reason.

    Example: monitor dead-letters replay --code bad_time
    """
    import time

    from sentiment_monitor import terminal
    from sentiment_monitor.actions.dead_letters import request_replay

    patience = options.seconds("--wait", wait) or 0.0
    with options.opened(config, database) as opened:
        chosen = _chosen(opened, numbers, code, everything)
        request = request_replay(opened, options.actor(), chosen, time.time_ns() // 1_000_000)
        replays = [*request.settled, *_await(opened, request, patience)]
    replays.sort(key=lambda outcome: outcome.id)
    terminal.print_replays(replays, most=_DESCRIBED, as_json=as_json)
    if any(outcome.outcome in ("unreadable", "no_message", "unknown", "requested") for outcome in replays):
        raise typer.Exit(1)


def _await(opened: Database, request: ReplayRequest, patience: float) -> list[Replay]:
    """What has become of the letters once all are read, or once nothing has moved for so many seconds."""
    import time

    from sentiment_monitor import terminal
    from sentiment_monitor.actions.dead_letters import replays_of

    moved, waiting = time.monotonic(), -1
    with terminal.progress("read again") as advance:
        while True:
            with opened.read() as connection:
                replays = replays_of(connection, request)
            still = sum(replay.outcome == "requested" for replay in replays)
            if still != waiting:
                moved, waiting = time.monotonic(), still
                advance(len(replays) - still, len(replays))
            if not still or time.monotonic() - moved >= patience:
                return replays
            time.sleep(_LOOK_SECONDS)


@app.command("export")
def export(
    numbers: NumbersArgument = None,
    code: CodeOption = None,
    everything: AllOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file instead of standard output.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="A folder instead, a file of raw bytes for each record.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
) -> None:
    """Write records that could not be read, whole and unchanged: JSON lines with key and value in base64, or raw bytes.

    Example: monitor dead-letters export --code not_json --folder broken
    """
    if output and folder:
        raise UsageError("--output or --folder, not both")
    from sentiment_monitor.store import dead_letters

    with options.opened(config, database) as opened:
        chosen = _chosen(opened, numbers, code, everything)
        with opened.read() as connection:
            letters = dead_letters.every(connection, chosen)
            count = _write_files(letters, folder) if folder else _write_lines(letters, output)
    print(f"{count:,} of {len(chosen):,} dead letters written", file=sys.stderr)
    if count < len(chosen):
        raise typer.Exit(1)


def _write_lines(letters: Iterable[KeptRecord], output: Path | None) -> int:
    """One JSON object a line; how many. Raises UsageError for a file that cannot be written."""
    from sentiment_monitor.terminal import letter_line

    count = 0
    with _writing(output) as file:
        for letter in letters:
            file.write(letter_line(letter) + "\n")
            count += 1
    return count


def _write_files(letters: Iterable[KeptRecord], folder: Path) -> int:
    """A file of a record's raw bytes each, named by number and position; how many. Raises UsageError."""
    count = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for letter in letters:
            place = letter.record.position
            name = f"{letter.id}-{place.topic}-{place.partition}-{place.offset}.bin"
            (folder / name).write_bytes(letter.record.value or b"")
            count += 1
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return count


@contextmanager
def _writing(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror or error}") from None


def _chosen(opened: Database, numbers: list[int] | None, code: str | None, everything: bool) -> list[int]:
    """The numbers of the letters that somebody means."""
    if sum((bool(numbers), code is not None, everything)) != 1:
        raise UsageError("say which dead letters: their numbers, --code CODE or --all")
    if numbers:
        return sorted(set(numbers))
    from sentiment_monitor.store import dead_letters

    with opened.read() as connection:
        return dead_letters.numbers(connection, code)
