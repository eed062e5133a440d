"""The command ``monitor backtest``: what rules would have raised over stored history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.errors import UsageError

if TYPE_CHECKING:
    from sentiment_monitor.app.rulebook import Rulebook
    from sentiment_monitor.backtest.book import Book
    from sentiment_monitor.backtest.study import Study

SinceOption = Annotated[
    str | None,
    typer.Option("--from", help="Begin: a time (2023-03-01) or a span back from the end (90d); default: all."),
]
UntilOption = Annotated[str | None, typer.Option("--to", help="End: a time; default: the newest story.")]
RulesOption = Annotated[
    Path | None, typer.Option("--rules", help="File with [[rules]] instead of those in the settings.")
]


def backtest(
    rules: RulesOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    incidents: Annotated[
        Path | None,
        typer.Option(help="JSON: a list of incidents, each with name, series, from and to, to be found by the rules."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture to this file, a page for a browser.")] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the rules would have raised over the stored history, when, for how long, and who would have been told.

    The live tick loop decides it, into a book that is thrown away: nothing is stored and nobody is told. Beside the
    rules stand the yardsticks ratio (against the window before) and zscore (over 28 days) on the same series.

    Examples:
    monitor backtest --from 90d
    monitor backtest --rules new.toml --incidents crises.json --plot crises.html
    """
    from sentiment_monitor.backtest import account as accounts
    from sentiment_monitor.backtest.incidents import read_incidents
    from sentiment_monitor.cli import backtest_words

    known = read_incidents(incidents) if incidents else ()
    book_of_rules = rulebook(config, database, rules)
    with studied(config, database, [book_of_rules], since, until) as study:
        book = judged(study, book_of_rules, "backtest", evidence=True)
        detectors = [
            accounts.of_rules("rules", book, study, known),
            *accounts.of_peers(book_of_rules.rules, study, known),
        ]
        result = accounts.account(study, detectors)
        if plot is not None:
            from sentiment_monitor.backtest.plot import draw

            draw(result, study, known, plot)
    backtest_words.print_backtest(result, as_json=as_json)


def rulebook(config: Path | None, database: str | None, rules: Path | None) -> Rulebook:
    """The rules of a file, or of the settings, with what belongs to them."""
    from sentiment_monitor.app.rulebook import Rulebook
    from sentiment_monitor.settings.rules_file import read_rules

    overrides: dict[str, Any] = options.given(database={"url": database})
    if rules is not None:
        overrides["rules"] = read_rules(rules)
    return Rulebook.of(options.load_settings(config, overrides))


@contextmanager
def studied(
    config: Path | None, database: str | None, books: list[Rulebook], since: str | None, until: str | None
) -> Iterator[Study]:
    """The history that these rules are to judge."""
    from sentiment_monitor.backtest.study import study
    from sentiment_monitor.store import buckets
    from sentiment_monitor.times import span

    with options.opened(config, database) as opened:
        first = last = None
        if since is not None or until is not None:
            with opened.read() as connection:
                newest = buckets.last_minute(connection)
            if newest is None:
                raise UsageError("the database holds no story yet")
            try:
                begin, end, _ = span(since or "1970-01-01", until, None, newest, dashes="--")
            except UsageError as error:
                said = str(error).replace("--since", "--from").replace("--until", "--to")
                raise UsageError(said) from None
            first, last = (None if since is None else begin), (None if until is None else end)
        with study(opened, [rule for book in books for rule in book.rules], first, last) as opened_study:
            yield opened_study


def judged(study: Study, rulebook: Rulebook, what: str, *, evidence: bool = False) -> Book:
    """What these rules raise, with a progress bar named ``what``."""
    from sentiment_monitor import terminal

    with terminal.progress(what) as advance:
        return study.judged_by(
            rulebook.rules,
            rulebook.routes,
            names=rulebook.names,
            external_url=rulebook.external_url,
            evidence=evidence,
            advance=advance,
        )
