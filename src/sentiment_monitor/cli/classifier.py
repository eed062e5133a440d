"""The classifier: score, evaluate, bench, retrain."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ClassifierOption, ConfigOption, JsonOption
from sentiment_monitor.errors import UsageError


class OutputFormat(StrEnum):
    """How scores are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


def score(
    texts: Annotated[list[str] | None, typer.Argument(help="Headlines to score.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("--input", "-i", help="CSV or JSONL file.", show_default=False)] = None,
    text_column: Annotated[str, typer.Option(help="Column of the headline.")] = "text",
    body_column: Annotated[str | None, typer.Option(help="Column of the story's body.", show_default=False)] = None,
    form: Annotated[OutputFormat, typer.Option("--format", "-f", help="How to print.")] = OutputFormat.table,
    classifier: ClassifierOption = None,
    config: ConfigOption = None,
) -> None:
    """Score headlines: sentiment, its probabilities, and topic, in input order.

    Examples:

      monitor score "Kestrel Bank halts withdrawals" "Kestrel Bank opens branch in Leeds"

      monitor score --input news.csv --text-column title --format jsonl > scores.jsonl
    """
    if bool(texts) == bool(file):
        raise UsageError("give texts, or --input FILE (not both)")
    from sentiment_monitor import tables, terminal
    from sentiment_monitor.domain.news import Text
    from sentiment_monitor.score import files
    from sentiment_monitor.score.text import clean
    from sentiment_monitor.telemetry import log

    log.configure("warning")
    if file:  # looked at before the classifier is started
        next(tables.read_cells(file, [name for name in (text_column, body_column) if name]))
    loaded = options.load_classifier(config, classifier)
    if file:
        pairs: Any = files.score_file(file, loaded, text_column=text_column, body_column=body_column)
    else:
        cleaned = [Text(clean(text)) for text in texts or []]
        pairs = zip(cleaned, loaded.score(cleaned), strict=True)
    terminal.print_scores((files.as_record(text.headline, score) for text, score in pairs), str(form))


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
    classifier: ClassifierOption = None,
    config: ConfigOption = None,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="value=label, e.g. bullish=positive.", show_default=False)
    ] = None,
    intervals: Annotated[bool, typer.Option(help="Add 95 % bootstrap intervals.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a classifier on labelled text: accuracy, macro-F1, calibration error, and each class.

    Example: monitor evaluate valid.csv --sentiment-column label --map 0=negative --map 1=positive --map 2=neutral
    """
    from sentiment_monitor import terminal
    from sentiment_monitor.telemetry import log
    from sentiment_monitor.train import evaluate as measuring

    log.configure("warning")
    rows = measuring.read_labelled(
        file,
        text_column=text_column,
        sentiment_column=sentiment_column,
        topic_column=topic_column,
        body_column=body_column,
        labels=labels,
        mapping=options.pairs("--map", mapping),
    )
    loaded = options.load_classifier(config, classifier)
    if not loaded.topics and not any(row.sentiment for row in rows):
        raise UsageError(f"{loaded.id} knows no topics: there is nothing to compare {topic_column} with")
    with terminal.progress("scoring") as advance:
        result = measuring.evaluate(rows, loaded, intervals=intervals, progress=advance)
    terminal.print_evaluation(result, as_json=as_json)


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
    classifier: ClassifierOption = None,
    config: ConfigOption = None,
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
    from sentiment_monitor import terminal
    from sentiment_monitor.app.build import now_ms
    from sentiment_monitor.bench import race, report, texts
    from sentiment_monitor.telemetry import log
    from sentiment_monitor.times import rfc3339

    log.configure("warning")
    if plot:
        report.check_plot(plot)
    labels = options.pairs("--map", mapping)
    if file:
        sample = texts.from_file(
            file, text_column=text_column, sentiment_column=sentiment_column, mapping=labels, limit=limit
        )
    else:
        sample = texts.built_in(limit)
    configured = options.load_settings(config, options.given(classifier={"name": classifier})).classifier
    at = rfc3339(now_ms() // 1000 * 1000)
    with terminal.progress("measuring") as advance:
        outcome = race.race(
            sample, classifier=configured.name, at=at, threads=threads, cache=configured.cache_dir, progress=advance
        )
    report.print_outcome(outcome, as_json=as_json)
    if plot:
        report.plot(outcome, plot)


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
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random choice but which rows are held out.", show_default=False)
    ] = None,
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

    from sentiment_monitor import terminal
    from sentiment_monitor.telemetry import log
    from sentiment_monitor.train import recipe as recipes
    from sentiment_monitor.train import retrain as training

    log.configure("warning")
    plan = recipes.read(recipe) if recipe else recipes.for_files(data or [])
    changes = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    plan = recipes.changed(plan, **changes)
    with terminal.phases() as advance:
        facts = training.run(plan, output, command=shlex.join(["monitor", *sys.argv[1:]]), base=base, progress=advance)
    terminal.print_training(facts, output, as_json=as_json)
