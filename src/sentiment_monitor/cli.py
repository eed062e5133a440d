"""The ``monitor`` command. Options and wiring only; everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sentiment_monitor import __version__
from sentiment_monitor.errors import MonitorError, UsageError

if TYPE_CHECKING:
    from sentiment_monitor.settings import Settings
    from sentiment_monitor.store.database import Database

app = typer.Typer(
    name="monitor",
    help="Watches financial news on Kafka, scores its sentiment and alerts when bad news spikes.",
    epilog="Start with: monitor demo. Settings come from monitor.toml, --config FILE and MONITOR_ variables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
alerts_app = typer.Typer(help="Look at alerts.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(alerts_app, name="alerts")

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (TOML).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", help="Database URL instead of the configured one.", show_default=False)
]
ClassifierOption = Annotated[
    str, typer.Option(help="bundled, lexicon, a directory, or a hub name such as ProsusAI/finbert.")
]


class ClockName(StrEnum):
    """By which time detection runs."""

    wall = "wall"
    event = "event"


class OutputFormat(StrEnum):
    """How scores are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


@app.command()
def run(
    config: ConfigOption = None,
    roles: Annotated[str, typer.Option(help="Comma-separated: ingest, detect.")] = "ingest,detect",
    clock: Annotated[
        ClockName,
        typer.Option(help="wall: live. event: minute by minute by the stories' own times, to replay history."),
    ] = ClockName.wall,
    exit_when_idle: Annotated[
        str | None, typer.Option(help="Stop when nothing came for this long, e.g. 10s.", show_default=False)
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Topic instead of the configured ones.", show_default=False)] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Broker addresses instead of the configured ones.", show_default=False)
    ] = None,
    database: DatabaseOption = None,
    watchlist: Annotated[
        Path | None, typer.Option(help="Watchlist instead of the configured one.", show_default=False)
    ] = None,
    classifier: Annotated[
        str | None, typer.Option(help="Classifier instead of the configured one.", show_default=False)
    ] = None,
) -> None:
    """Run the service until it is stopped.

    Examples:

      monitor run

      monitor run --clock event --exit-when-idle 10s --watchlist deploy/watchlist.csv

    The first SIGTERM or Ctrl-C stores what was fetched and stops; the second stops at once.
    """
    idle = _seconds("--exit-when-idle", exit_when_idle)
    settings = _settings(
        config,
        _tables(
            kafka={"topics": topic, "bootstrap_servers": bootstrap},
            database={"url": database},
            news={"watchlist": watchlist},
            classifier={"name": classifier},
        ),
    )
    from sentiment_monitor import app as root
    from sentiment_monitor import log

    log.configure(settings.log.level, settings.log.format)
    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    if unknown := sorted(set(wanted) - set(root.ROLES)):
        raise UsageError(f"--roles: unknown {', '.join(unknown)}; roles are {', '.join(root.ROLES)}")
    service = root.build(
        settings,
        roles=[role for role in root.ROLES if role in wanted],
        clock="event" if clock is ClockName.event else "wall",
        exit_when_idle=idle,
    )
    with root.signals(service):
        service.run()


@app.command()
def demo(
    stories: Annotated[int, typer.Option(min=200, max=100_000, help="How many ordinary stories the day has.")] = 2_000,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the demo's database in this folder.", show_default=False)
    ] = None,
) -> None:
    """Play an invented news week through a real broker, classifier and database, and show what is noticed.

    Needs no setting and no network. Takes about a minute.
    """
    from sentiment_monitor.demo.show import play

    play(stories, keep)


@app.command()
def broker(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="TCP port on 127.0.0.1.")] = 9092,
) -> None:
    """Run the embedded Kafka-compatible broker in the foreground. It keeps nothing when it stops."""
    from sentiment_monitor.ingest.embedded import EmbeddedBroker

    one = EmbeddedBroker(port)
    one.start()
    typer.echo(f"broker ready on {one.address} (memory only; Ctrl-C stops it and forgets everything)", err=True)
    try:
        with _interruptible():
            code = one.wait()
        raise UsageError(f"the broker stopped by itself with status {code}")
    except KeyboardInterrupt:
        typer.echo("broker stopped", err=True)
    finally:
        one.stop()


@app.command()
def publish(
    files: Annotated[list[Path], typer.Argument(help="CSV (with a header) or JSONL files, in the order to send.")],
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="field=column, e.g. headline=title.", show_default=False)
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Replay so many times real time; without it as fast as it goes.", show_default=False
        ),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Topic instead of the configured one.", show_default=False)] = None,
    partitions: Annotated[int, typer.Option(min=1, max=1_000, help="Partitions, if the topic must be made.")] = 2,
    bootstrap: Annotated[
        str | None, typer.Option(help="Broker addresses instead of the configured ones.", show_default=False)
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Put the rows of files onto the news topic.

    Example: monitor publish news.csv --map headline=title --map body=summary --speed 60
    """
    settings = _settings(config, _tables(kafka={"topics": topic, "bootstrap_servers": bootstrap}))
    from sentiment_monitor import rows, terminal
    from sentiment_monitor.ingest import publish as publishing
    from sentiment_monitor.ingest.decode import FIELDS

    columns = _pairs("--map", mapping)
    for field in columns:
        if field not in FIELDS:
            raise UsageError(f"--map: unknown field {field!r}; fields are {', '.join(FIELDS)}")
    for path in files:  # every file is looked at before the first record is sent
        next(rows.read_values(path), None)
    options = settings.kafka.client_options()
    name = settings.kafka.topics[0]
    count = publishing.ensure_topic(options, name, partitions)
    publisher = publishing.Publisher(options, name)
    messages = (publishing.map_row(row, columns) for path in files for row in rows.read_values(path))
    try:
        with terminal.progress(f"publishing to {name}") as advance:
            sent = publishing.publish(publisher, messages, speed=speed, progress=advance)
    finally:
        publisher.close()
    typer.echo(f"{sent:,} records published to {name} ({count} partitions)", err=True)


@app.command()
def score(
    texts: Annotated[list[str] | None, typer.Argument(help="Headlines to score.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("--input", "-i", help="CSV or JSONL file.", show_default=False)] = None,
    text_column: Annotated[str, typer.Option(help="Column of the headline.")] = "text",
    body_column: Annotated[str | None, typer.Option(help="Column of the story's body.", show_default=False)] = None,
    form: Annotated[OutputFormat, typer.Option("--format", "-f", help="How to print.")] = OutputFormat.table,
    classifier: ClassifierOption = "bundled",
) -> None:
    """Score headlines: sentiment, its probabilities, and topic, in input order.

    Examples:

      monitor score "Kestrel Bank halts withdrawals" "Kestrel Bank opens branch in Leeds"

      monitor score --input news.csv --text-column title --format jsonl > scores.jsonl
    """
    if bool(texts) == bool(file):
        raise UsageError("give texts, or --input FILE (not both)")
    from sentiment_monitor import log, terminal
    from sentiment_monitor.domain import Text
    from sentiment_monitor.score import files, load
    from sentiment_monitor.score.text import clean

    log.configure("warning")
    loaded = load(classifier)
    if file:
        pairs: Any = files.score_file(file, loaded, text_column=text_column, body_column=body_column)
    else:
        cleaned = [Text(clean(text)) for text in texts or []]
        pairs = zip(cleaned, loaded.score(cleaned), strict=True)
    terminal.print_scores((files.as_record(text.headline, one) for text, one in pairs), str(form))


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="CSV or JSONL file with labels.")],
    text_column: Annotated[str, typer.Option(help="Column of the headline.")] = "text",
    sentiment_column: Annotated[
        str | None, typer.Option(help="Column of the sentiment label.", show_default=False)
    ] = None,
    topic_column: Annotated[str | None, typer.Option(help="Column of the topic label.", show_default=False)] = None,
    body_column: Annotated[str | None, typer.Option(help="Column of the story's body.", show_default=False)] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Label file (sha1,label) for a file whose texts have no labels.", show_default=False),
    ] = None,
    classifier: ClassifierOption = "bundled",
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="value=label, e.g. bullish=positive.", show_default=False)
    ] = None,
    intervals: Annotated[bool, typer.Option(help="Add 95 % bootstrap intervals.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a classifier on labelled text: accuracy, macro-F1, calibration error, and each class.

    Example: monitor evaluate valid.csv --sentiment-column label --map 0=negative --map 1=positive --map 2=neutral
    """
    from sentiment_monitor import log, terminal
    from sentiment_monitor.score import load
    from sentiment_monitor.train.evaluate import evaluate_file

    log.configure("warning")
    loaded = load(classifier)
    with terminal.progress("scoring") as advance:
        result = evaluate_file(
            file,
            loaded,
            text_column=text_column,
            sentiment_column=sentiment_column,
            topic_column=topic_column,
            body_column=body_column,
            labels=labels,
            mapping=_pairs("--map", mapping),
            intervals=intervals,
            progress=lambda done, total: advance(done, total),
        )
    terminal.print_evaluation(result, as_json=as_json)


@app.command()
def bench(
    file: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="CSV or JSONL file instead of the built-in texts.", show_default=False),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column of the headline.")] = "text",
    sentiment_column: Annotated[
        str | None, typer.Option(help="Column of the sentiment label.", show_default=False)
    ] = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="value=label, e.g. bullish=positive.", show_default=False)
    ] = None,
    classifier: ClassifierOption = "bundled",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Score at most so many texts.")] = 1_000,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1_024, help="CPUs every run may use; default: all.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture (PNG).", show_default=False)] = None,
) -> None:
    """Race our engines against the ways people score today: same texts, same weights, one table.

    Examples:

      monitor bench

      monitor bench --input valid.csv --sentiment-column label --map 0=negative --map 1=positive --map 2=neutral

      monitor bench --limit 300 --json --plot bench.png > bench.json

    Takes some minutes. The machine should have nothing else to do: only ratios within one table mean anything.
    """
    if file is None and (sentiment_column or mapping or text_column != "text"):
        raise UsageError("--text-column, --sentiment-column and --map describe a file: give --input FILE")
    from datetime import UTC, datetime

    from sentiment_monitor import log, terminal
    from sentiment_monitor.app import now_ms
    from sentiment_monitor.bench import race, report, texts

    log.configure("warning")
    if plot:
        report.check_plot(plot)
    labels = _pairs("--map", mapping)
    columns = {"text_column": text_column, "sentiment_column": sentiment_column}
    sample = texts.from_file(file, **columns, mapping=labels, limit=limit) if file else texts.built_in(limit)  # type: ignore[arg-type]
    at = datetime.fromtimestamp(now_ms() / 1000, UTC).isoformat(timespec="seconds")
    with terminal.progress("measuring") as advance:
        outcome = race.race(sample, classifier=classifier, at=at, threads=threads, progress=advance)
    report.print_outcome(outcome, as_json=as_json)
    if plot:
        report.plot(outcome, plot)


@app.command()
def retrain(
    output: Annotated[Path, typer.Option(help="New directory for the classifier.")],
    base: Annotated[Path | None, typer.Option(help="Directory of the base encoder.", show_default=False)] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Labelled CSV or JSONL file; may be given often.", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--settings", help="Training settings (TOML) instead of --data.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier offline, measure it, and write a directory that --classifier takes.

    Examples:

      monitor retrain --base all-MiniLM-L6-v2 --data news.csv --data topics.jsonl --output my-classifier

      monitor retrain --settings recipe.toml --base all-MiniLM-L6-v2 --output my-classifier
    """
    if bool(data) == bool(recipe):
        raise UsageError("give --data FILE (once or often), or --settings FILE")
    import shlex

    from sentiment_monitor import log, terminal
    from sentiment_monitor.train import recipe as recipes
    from sentiment_monitor.train import retrain as training

    log.configure("warning")
    plan = recipes.read(recipe) if recipe else recipes.for_files(data or [])
    changes = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    plan = plan.model_copy(update=changes)
    with terminal.phases() as advance:
        facts = training.run(plan, output, command=shlex.join(["monitor", *sys.argv[1:]]), base=base, progress=advance)
    terminal.print_training(facts, output, as_json=as_json)


@alerts_app.command("list")
def alerts_list(
    state: Annotated[
        str | None,
        typer.Option(help="pending, firing, resolved or dropped; default: all that fired.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts, newest first."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.alerts import AlertStore

    if state is not None and state not in ("pending", "firing", "resolved", "dropped"):
        raise UsageError("--state: one of pending, firing, resolved, dropped")
    with _database(config, database) as opened:
        terminal.print_alerts(AlertStore(opened).listing(state=state, limit=limit), as_json=as_json)


@alerts_app.command("show")
def alerts_show(
    alert: Annotated[int, typer.Argument(help="The alert's number, from monitor alerts list.")],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one alert: why it fired, on which stories, and who was told."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.alerts import AlertStore

    with _database(config, database) as opened:
        found = AlertStore(opened).show(alert)
        if found is None:
            raise UsageError(f"there is no alert {alert}; see monitor alerts list")
        terminal.print_alert(*found, as_json=as_json)


@app.command()
def trend(
    series: Annotated[str, typer.Argument(help="all, topic:earnings, ticker:AAPL or source:reuters.")],
    since: Annotated[
        str, typer.Option(help="Begin: a time (2023-03-09, 2023-03-09T20:00Z) or a span back from the end (24h, 7d).")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option(help="End, a time; default: the newest story.", show_default=False)
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Width of a step, e.g. 15m; default: fits the screen.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a series went: stories, negatives and mean score over time.

    Example: monitor trend ticker:SIVB --since 2023-03-08 --until 2023-03-18 --step 6h
    """
    from sentiment_monitor import terminal
    from sentiment_monitor.store import trends

    with _database(config, database) as opened, opened.read() as connection:
        last = trends.last_minute(connection)
        if last is None:
            raise UsageError("the database holds no story yet")
        span = terminal.span(since, until, step, last)
        if not (points := trends.trend(connection, series, *span)) or not any(p.stories or p.copies for p in points):
            near = trends.series_like(connection, series.partition(":")[2] or series)
            hint = f"; series with a like name: {', '.join(near)}" if near else ""
            raise UsageError(f"{series} has no story in that time{hint}")
        terminal.print_trend(series, points, span[2], as_json=as_json)


@app.command("dead-letters")
def dead_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the records that could not be read, newest first, with the reason."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.trends import recent_dead_letters

    with _database(config, database) as opened, opened.read() as connection:
        terminal.print_dead_letters(recent_dead_letters(connection, limit), as_json=as_json)


@app.command()
def migrate(config: ConfigOption = None, database: DatabaseOption = None) -> None:
    """Bring the database schema up to date."""
    settings = _settings(config, _tables(database={"url": database}))
    from sentiment_monitor.store.database import Database

    opened = Database(settings.database.url.get_secret_value())
    try:
        changed = opened.migrate()
        typer.echo(f"schema is at revision {opened.revisions()[0]}{'' if changed else ' already'}")
    finally:
        opened.close()


@app.command()
def verify(config: ConfigOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Check that the buckets equal a recomputation from stories and scores. Exit 1 when they do not."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.batches import recompute_buckets, stored_buckets

    with _database(config, database) as opened, opened.read() as connection:
        expected, found = recompute_buckets(connection), stored_buckets(connection)
    wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    terminal.print_verification(len(found), wrong, as_json=as_json)
    if wrong:
        raise typer.Exit(1)


@app.command("config")
def show_config(config: ConfigOption = None) -> None:
    """Check the settings and print the ones in force as JSON. Secrets are hidden."""
    settings = _settings(config, {})
    from sentiment_monitor.app import rules_of

    rules_of(settings)
    typer.echo(settings.model_dump_json(indent=2))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _settings(config: Path | None, overrides: dict[str, Any]) -> Settings:
    from sentiment_monitor.settings import load

    return load(config, **overrides)


def _tables(**tables: dict[str, Any]) -> dict[str, Any]:
    """Only what was given on the command line."""
    kept = {name: {key: v for key, v in values.items() if v is not None} for name, values in tables.items()}
    return {name: values for name, values in kept.items() if values}


@contextmanager
def _database(config: Path | None, url: str | None) -> Iterator[Database]:
    """The database for a command that only reads; it must exist and be of this version."""
    settings = _settings(config, _tables(database={"url": url}))
    from sentiment_monitor.app import open_database
    from sentiment_monitor.store.database import Database

    where = Database(settings.database.url.get_secret_value())
    where.close()
    if where.is_sqlite and not Path(str(where.url.database)).exists():
        raise UsageError(
            f"there is no database {where.url.database}; run monitor run first, or name one with --database"
        )
    opened = open_database(settings, migrate=False)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""
    import signal

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {item}: write NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    from sentiment_monitor.terminal import duration_minutes

    minutes = duration_minutes(text)
    if minutes is None:
        raise UsageError(f"{option} {text}: write a duration such as 10s, 5m or 2h")
    return minutes * 60


def main() -> None:
    """The console script: runs the command and turns our errors into one line and an exit code."""
    try:
        try:
            app(prog_name="monitor")
        finally:
            sys.stdout.flush()
    except MonitorError as error:
        typer.echo(f"monitor: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _reader_has_gone()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer has met it first, and calls it a failure
            _reader_has_gone()
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def _reader_has_gone() -> NoReturn:
    """``monitor score … | head`` is no error, and Python must not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(0)
