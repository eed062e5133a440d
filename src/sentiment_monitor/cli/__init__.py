"""The ``monitor`` command: which commands there are, in the order of its help, and in which module each of them lies.

Options and wiring only; everything heavy is imported inside the command that needs it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import NoReturn

import typer

from sentiment_monitor.cli import (
    alerts,
    backtest,
    classifier,
    database,
    dead_letters,
    explain,
    feed,
    notify,
    rules,
    service,
    silences,
)
from sentiment_monitor.errors import MonitorError

app = typer.Typer(
    name="monitor",
    help="Watches financial news on Kafka, scores its sentiment and alerts when bad news spikes.",
    epilog="Start with: monitor demo. Settings come from monitor.toml, --config FILE and MONITOR_ variables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
app.callback()(service.top)
app.command()(service.run)
app.command(short_help="Play an invented news week, start to alert.")(service.demo)
app.command()(feed.broker)
app.command()(feed.publish)
app.command(short_help="Score the sentiment and topic of headlines.")(classifier.score)
app.command(short_help="Measure a classifier on labelled text.")(classifier.evaluate)
app.command(short_help="Race the engines on this machine.")(classifier.bench)
app.command(short_help="Train and measure a classifier of your own.")(classifier.retrain)
app.command(short_help="Show how a series went.")(database.trend)
app.command(short_help="Show what rules would have raised.")(backtest.backtest)
app.command(short_help="Show fields that could not be read.")(database.dropped)
app.command()(database.migrate)
app.command(short_help="Check the trend against a recomputation.")(database.verify)
app.command("config", short_help="Check the settings and print them.")(service.show_config)
app.command()(service.version)
alerts.app.command("explain", short_help="Explain one alert on a page.")(explain.explain)
app.add_typer(alerts.app, name="alerts")
app.add_typer(silences.app, name="silences")
app.add_typer(rules.app, name="rules")
app.add_typer(notify.app, name="notify")
app.add_typer(dead_letters.app, name="dead-letters")


def main() -> None:
    """The console script: runs the command and turns our errors into one line and an exit code."""
    _open_outputs()
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
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        typer.echo(f"monitor: cannot write: {error.strerror}", err=True)
        sys.exit(1)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer has met it first, and calls it a failure
            _reader_has_gone()
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def _open_outputs() -> None:
    """What a terminal's encoding lacks is printed as ``?``, and closed outputs (``>&-``) take what is printed."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _reader_has_gone() -> NoReturn:
    """``monitor score … | head`` is no error."""
    _discard_output()
    sys.exit(0)


def _discard_output() -> None:
    """Python must not complain at exit of what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
