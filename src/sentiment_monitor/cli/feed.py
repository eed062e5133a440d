"""A feed without a news agency: broker, publish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption
from sentiment_monitor.errors import UsageError


def broker(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="TCP port on 127.0.0.1.")] = 9092,
) -> None:
    """Run the embedded Kafka-compatible broker in the foreground. It keeps nothing when it stops."""
    from sentiment_monitor.ingest.embedded import EmbeddedBroker

    server = EmbeddedBroker(port)
    server.start()
    typer.echo(f"broker ready on {server.address} (memory only; Ctrl-C stops it and forgets everything)", err=True)
    try:
        with _interruptible():
            code = server.wait()
        raise UsageError(f"the broker stopped by itself with status {code}")
    except KeyboardInterrupt:
        typer.echo("broker stopped", err=True)
    finally:
        server.stop()


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
    create: Annotated[bool, typer.Option("--create", help="Make the topic if there is none of its name.")] = False,
    partitions: Annotated[int, typer.Option(min=1, max=1_000, help="Partitions of a topic that is made.")] = 2,
    bootstrap: Annotated[
        str | None, typer.Option(help="Broker addresses instead of the configured ones.", show_default=False)
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Put the rows of files onto the news topic. Refuses files in which no headline is found.

    Example: monitor publish news.csv --create --map headline=title --map body=summary --speed 60
    """
    settings = options.load_settings(
        config, options.given(kafka={**options.topics(topic), "bootstrap_servers": bootstrap})
    )
    from sentiment_monitor import tables, terminal
    from sentiment_monitor.ingest import publish as publishing
    from sentiment_monitor.ingest.decode import Decoder
    from sentiment_monitor.ingest.fields import FIELDS

    columns = options.pairs("--map", mapping)
    for field in columns:
        if field not in FIELDS:
            raise UsageError(f"--map: unknown field {field!r}; fields are {', '.join(FIELDS)}")
    read = Decoder(**settings.news.decoder_options()).decode
    for path in files:  # every file is looked at before the first record is sent
        try:
            publishing.check_rows((publishing.map_row(row, columns) for row in tables.read_values(path)), read)
        except UsageError as error:
            raise error if str(error).startswith(str(path)) else UsageError(f"{path}: {error}") from None
    if settings.kafka.topic_pattern is not None:
        raise UsageError("kafka.topic_pattern names no topic to publish to: say --topic NAME")
    client = settings.kafka.client_options()
    name = settings.kafka.topics[0]
    if create:
        publishing.ensure_topic(client, name, partitions)
    known = publishing.look_up(client, name, wait_s=10 if create else 0)
    publisher = publishing.Publisher(client, name)
    messages = (publishing.map_row(row, columns) for path in files for row in tables.read_values(path))
    try:
        with terminal.progress(f"publishing to {name}") as advance:
            sent = publishing.publish(publisher, messages, read, keeps_ms=known.keeps_ms, speed=speed, progress=advance)
    finally:
        publisher.close()
    typer.echo(f"{sent.records:,} records published to {name} ({known.partitions} partitions)", err=True)
    if sent.restamped:
        typer.echo(
            f"{sent.restamped:,} of them bear the time at which they were sent: their own lies ahead, or further back "
            "than the topic keeps records",
            err=True,
        )


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
