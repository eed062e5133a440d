"""Rules: rules check, suggest, test, diff."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sentiment_monitor.cli import options
from sentiment_monitor.cli.backtest import RulesOption, SinceOption, UntilOption, judged, rulebook, studied
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.errors import UsageError

app = typer.Typer(help="Check rules, and try them on the stored history.", no_args_is_help=True, rich_markup_mode=None)


@app.command("check")
def check(
    rules: RulesOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that rules are valid, and show what each watches and would have had to watch in the stored history.

    Without a database only the rules are checked.

    Example: monitor rules check --rules new.toml
    """
    from sentiment_monitor.backtest.watching import watching
    from sentiment_monitor.cli import backtest_words

    book = rulebook(config, database, rules)
    if not options.has_database(config, database):
        rows = watching(book.rules, None)
    else:
        with studied(config, database, [book], None, None) as study:
            rows = watching(book.rules, study.columns)
    backtest_words.print_watched(rows, as_json=as_json)


@app.command("suggest")
def suggest(
    alerts_per_week: Annotated[float, typer.Option(min=0.01, help="How many alerts there may be a week, all told.")],
    rules: RulesOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find how strict the rules must be to raise so many alerts a week, by replaying the stored history.

    Prints the rules as TOML. Every alpha is multiplied by one factor; floors are raised only where that does not do.

    Example: monitor rules suggest --alerts-per-week 3 --from 90d > rules.toml
    """
    from dataclasses import replace

    from sentiment_monitor import terminal
    from sentiment_monitor.backtest.suggest import suggest
    from sentiment_monitor.cli import backtest_words

    book = rulebook(config, database, rules)
    with studied(config, database, [book], since, until) as study:
        number = 0

        def alerts_a_week(tried: Sequence[Any]) -> float:
            nonlocal number
            number += 1
            raised = judged(study, replace(book, rules=tuple(tried)), f"trial {number}")
            return len(raised.fired()) / study.days * 7

        suggestion = suggest(book.rules, alerts_per_week, alerts_a_week)
    if as_json:
        terminal.dump(suggestion)
    else:
        backtest_words.print_suggestion(suggestion, book.rules, alerts_per_week)


@app.command("test")
def hold_to_examples(
    rules: RulesOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold each rule to its own examples ([[rules.examples]]) in the stored history. Exit 1 when one fails.

    An example names series, from and to, and whether the rule fires in that time (fires = false: it must not).

    Example: monitor rules test --rules rules.toml
    """
    from sentiment_monitor import terminal
    from sentiment_monitor.backtest.watching import Expected, held_to
    from sentiment_monitor.cli import backtest_words

    book = rulebook(config, database, rules)
    expected = [
        Expected(name, example.series, *example.minutes, example.fires)
        for name, examples in book.examples.items()
        for example in examples
    ]
    if not expected:
        raise UsageError("the rules have no examples; write [[rules.examples]] with series, from, to below a rule")
    with studied(config, database, [book], None, None) as study:
        outcomes = held_to(expected, judged(study, book, "rules test"), study.columns)
    if as_json:
        terminal.dump(outcomes)
    else:
        backtest_words.print_outcomes(outcomes)
    if not all(outcome.holds for outcome in outcomes):
        raise typer.Exit(1)


@app.command("diff")
def diff(
    before: Annotated[Path, typer.Argument(help="File with [[rules]]: as it is.")],
    after: Annotated[Path, typer.Argument(help="File with [[rules]]: as it would be.")],
    since: SinceOption = None,
    until: UntilOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which alerts appear, vanish or move between two files of rules over the stored history.

    Example: monitor rules diff rules.toml new.toml --from 90d
    """
    from sentiment_monitor.backtest import account as accounts
    from sentiment_monitor.backtest.difference import difference
    from sentiment_monitor.cli import backtest_words

    books = [rulebook(config, database, path) for path in (before, after)]
    with studied(config, database, books, since, until) as study:
        raised = [
            accounts.of_rules(path.name, judged(study, book, path.name), study, ()).alerts
            for path, book in zip((before, after), books, strict=True)
        ]
    backtest_words.print_difference(difference(*raised), as_json=as_json)
