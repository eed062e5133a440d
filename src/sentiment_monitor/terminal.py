"""How results look: tables and sparklines for people, JSON for machines."""

from __future__ import annotations

import codecs
import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, clock, iso, spell_minutes
from sentiment_monitor.web import answers, dossier

if TYPE_CHECKING:
    from sentiment_monitor.actions.dead_letters import Replay
    from sentiment_monitor.actions.outcomes import Acted
    from sentiment_monitor.domain.alerts import Alert, AlertHistory
    from sentiment_monitor.domain.dossier import Dossier
    from sentiment_monitor.domain.people import Saying, Silence
    from sentiment_monitor.domain.similar import SimilarAlert
    from sentiment_monitor.store.buckets import TrendPoint
    from sentiment_monitor.store.dead_letters import KeptRecord, StoredDeadLetter
    from sentiment_monitor.store.dropped_fields import DroppedCount

COLOURS = {"negative": "red", "neutral": "dim", "positive": "green"}
_BREAKS = re.compile(r"[\t\n\r]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BLOCKS = "▁▂▃▄▅▆▇█"
_SHOWN_CHARACTERS, _SHOWN_LINES = 4_000, 100  # of a value


def plain(text: object) -> str:
    """Text from outside without what a terminal would obey: control characters, line ends and tabs as spaces."""
    return _CONTROLS.sub("", _BREAKS.sub(" ", str(text)))


def console() -> Console:
    """Standard output; wide when nobody watches, so that a pipe loses nothing."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def dump(value: object, *, indent: int | None = 2) -> None:
    """One JSON document, of dataclasses too, on standard output; where that is not UTF-8, which JSON is, in ASCII."""
    ascii_only = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
    print(json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=_jsonable))


def _jsonable(value: object) -> object:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value)


def sparkline(values: Sequence[float]) -> str:
    """One block character a value, scaled to the largest; a space where the value is 0."""
    top = max(values, default=0)
    return "".join(_BLOCKS[min(7, int(value / top * 8))] if value > 0 else " " for value in values)


@contextmanager
def progress(what: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; the block is given ``advance(done, total=None)``."""
    with _bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total=None: bar.update(task, completed=done, total=total)


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars of named phases; the block is given ``advance(phase, done, total)``."""
    with _bar() as bar:
        tasks: dict[str, Any] = {}

        def advance(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done, total=total)

        yield advance


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=False,
        disable=not sys.stderr.isatty(),
    )


def print_scores(records: Iterable[dict[str, Any]], form: str) -> None:
    """Scores as a table, JSON lines or CSV, as they come."""
    if form == "jsonl":
        for record in records:
            dump(record, indent=None)
        return
    if form == "csv":
        flat = (
            {name: value for name, value in record.items() if name != "probabilities"} | record["probabilities"]
            for record in records
        )
        first = next(flat, None)
        if first is not None:
            writer = csv.DictWriter(sys.stdout, fieldnames=list(first), lineterminator="\n")
            writer.writeheader()
            writer.writerows(chain([first], flat))
        return
    out = console()
    rest = iter(records)
    while page := list(islice(rest, 1_000)):
        table = new_table("sentiment", ">score", ">neg", ">neu", ">pos", "topic", "text")
        for record in page:
            p = record["probabilities"]
            table.add_row(
                Text(str(record["label"]) + ("?" if record["uncertain"] else ""), style=COLOURS[record["label"]]),
                f"{record['score']:+.2f}",
                *(f"{p[name]:.2f}" for name in ("negative", "neutral", "positive")),
                str(record["topic"] or "-"),
                Text(record["text"]),
            )
        out.print(table)


def print_evaluation(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Figures of ``monitor evaluate``."""
    if as_json:
        dump(result)
        return
    out = console()
    for group in ("sentiment", "topic"):
        if not (figures := result.get(group)):
            continue
        out.print(
            f"[bold]{group}[/bold]: n {figures['n']:,}, accuracy {figures['accuracy']:.3f}, "
            f"macro-F1 {figures['macro_f1']:.3f}, calibration error {figures['ece']:.3f}"
        )
        table = new_table("label", ">precision", ">recall", ">f1", ">n")
        for label, measures in figures["per_class"].items():
            table.add_row(
                label, *(f"{measures[name]:.3f}" for name in ("precision", "recall", "f1")), f"{measures['n']:,}"
            )
        out.print(table)


def print_training(facts: Mapping[str, Any], output: Path, *, as_json: bool) -> None:
    """What a training run made."""
    if as_json:
        dump({"output": str(output), "metrics": facts.get("metrics")})
        return
    out = console()
    for name, sets in (facts.get("metrics") or {}).items():
        out.print(f"[bold]{name}[/bold]")
        print_evaluation(sets, as_json=False) if "sentiment" in sets or "topic" in sets else out.print(str(sets))
    out.print(
        f"classifier written to {output}; see {output / 'README.md'}. Try: monitor score --classifier {output} TEXT"
    )


def print_alerts(alerts: Sequence[Alert], owners: Mapping[int, str], *, as_json: bool) -> None:
    """Alerts, one a line, and by their numbers who has taken them on."""
    if as_json:
        dump([answers.AlertAnswer.of(alert, owners.get(alert.id or 0)) for alert in alerts])
        return
    if not alerts:
        print("no alerts")
        return
    table = new_table("id", "state", "severity", "fired (UTC)", "resolved (UTC)", "owner", "rule", "alert")
    for alert in alerts:
        table.add_row(
            str(alert.id),
            Text(
                alert.shown_state,
                "red bold" if alert.state == "firing" and not alert.stale else "",
            ),
            alert.severity,
            clock(alert.fired_minute),
            clock(alert.resolved_minute),
            Text(plain(owners.get(alert.id or 0, "-"))),
            Text(plain(alert.rule)),
            Text(plain(alert.title)),
        )
    console().print(table)


def dump_dossier(facts: Dossier) -> None:
    """All that is known of one alert, for machines."""
    dump(dossier.DossierAnswer.of_dossier(facts))


def print_alert(history: AlertHistory, similar: Sequence[SimilarAlert], *, as_json: bool) -> None:
    """One alert with its history and deliveries; for machines with the earlier alerts that are like it."""
    if as_json:
        dump(dossier.AlertWithSimilarAnswer.of_similar(history, similar))
        return
    out, alert = console(), history.alert
    out.print(Text(plain(alert.title), style="bold"))
    out.print(Text(f"{alert.shown_state}, {alert.severity}, fingerprint {alert.fingerprint}"))
    if history.owner:
        out.print(Text(plain(f"{history.owner} has it")))
    said = list(history.said)
    for event in history.events:
        while said and said[0].at_ms // MINUTE_MS < event.minute:
            _print_saying(out, said.pop(0))
        out.print(Text(f"\n{clock(event.minute)} UTC  {event.transition} ({event.reason})", style="bold"))
        for line in event.explanation.splitlines():
            out.print(Text(plain(line)))
    for saying in said:
        _print_saying(out, saying)
    out.print()
    for record in history.deliveries:
        detail = f": {record.last_error}" if record.last_error else ""
        out.print(Text(plain(f"{record.receiver}: {record.state}, attempt {record.attempts}{detail}")))
    for spell in history.withheld:
        until = "" if spell.until_minute is None else f" to {clock(spell.until_minute)}"
        detail = f": {spell.detail}" if spell.detail else ""
        words = spell.reason.replace("_", " ")
        line = f"{spell.receiver}: not told from {clock(spell.since_minute)}{until} UTC, {words}{detail}"
        out.print(Text(plain(line)))


def _print_saying(out: Console, saying: Saying) -> None:
    whom = f" {saying.owner} has it" if saying.owner and saying.owner != saying.actor else ""
    out.print(
        Text(plain(f"{clock(saying.at_ms // MINUTE_MS)} UTC  {saying.deed} by {saying.actor}{whom}"), style="bold cyan")
    )
    if saying.text:
        out.print(Text(plain(saying.text)))


def dump_outcomes(outcomes: Sequence[Acted]) -> None:
    """What became of each alert or silence that somebody wanted to change, for machines."""
    dump([answers.ChangeAnswer.of(acted) for acted in outcomes])


def dump_silences(silences: Sequence[Silence], minute: int) -> None:
    """Silences as they are at ``minute``, for machines."""
    dump([answers.SilenceAnswer.of(silence, minute) for silence in silences])


def print_trend(series: str, points: Sequence[TrendPoint], step: int, *, as_json: bool) -> None:
    """A series over time: a sparkline of negatives and one of volume, then the steps that have stories."""
    if as_json:
        dump(answers.TrendAnswer.of(series, points, step))
        return
    out = console()
    # A source may be called anything, "[b]" too: text from outside is never markup.
    out.print(
        Text(plain(series), style="bold")
        + Text(f" from {clock(points[0].minute)} UTC, a mark is {spell_minutes(step)}", "not bold")
    )
    out.print(Text("stories  ") + Text(sparkline([point.stories for point in points])))
    out.print(Text("negative ") + Text(sparkline([point.negative for point in points]), style="red"))
    table = new_table("from (UTC)", ">stories", ">negative", ">neutral", ">positive", ">copies", ">mean score")
    for point in points:
        if point.stories or point.copies:
            table.add_row(
                clock(point.minute),
                *(
                    f"{value:,}"
                    for value in (point.stories, point.negative, point.neutral, point.positive, point.copies)
                ),
                "-" if point.score is None else f"{point.score:+.2f}",
            )
    out.print(table)


def print_dead_letters(letters: Sequence[StoredDeadLetter], *, as_json: bool) -> None:
    """Records that were put aside."""
    if as_json:
        dump([answers.DeadLetterAnswer.of(letter) for letter in letters])
        return
    if not letters:
        print("no dead letters")
        return
    table = new_table("id", "received (UTC)", "position", "code", "detail", "begins with")
    for letter in letters:
        begin = (letter.raw_value or b"")[:60].decode("utf-8", "backslashreplace")
        table.add_row(
            str(letter.id),
            clock(letter.received_ms // MINUTE_MS),
            f"{letter.topic}/{letter.partition}@{letter.offset}" + ("" if letter.part is None else f"[{letter.part}]"),
            letter.code + _mark(letter),
            Text(plain(letter.detail[:120])),
            Text(plain(begin)),
        )
    console().print(table)


def print_dropped(counts: Sequence[DroppedCount], *, as_json: bool) -> None:
    """Fields that could not be read, by day, field, reason and source."""
    if as_json:
        dump([asdict(count) | {"day": _day(count.day)} for count in counts])
        return
    if not counts:
        print("every field could be read")
        return
    table = new_table("day (UTC)", "field", "reason", "source", "stories", "such as")
    for count in counts:
        cells = [Text(plain(text)) for text in (count.field, count.reason, count.source)]
        table.add_row(_day(count.day), *cells, f"{count.stories:,}", Text(plain(count.example)))
    console().print(table)


def _day(days: int) -> str:
    return iso(days * DAY_MINUTES)[:10]


def _mark(letter: StoredDeadLetter) -> str:
    if letter.replayed_ms is not None:
        return " (replayed)"
    return " (waits)" if letter.requested_ms is not None else ""


def letter_line(letter: KeptRecord) -> str:
    """A whole record that was put aside, as JSON in one line of ASCII."""
    return json.dumps(asdict(answers.DeadLetterRecordAnswer.of(letter)))


def print_dead_letter(letter: KeptRecord, reading: str, *, as_json: bool) -> None:
    """One record that was put aside, whole; ``reading`` is what the settings in force make of it."""
    if as_json:
        dump(asdict(answers.DeadLetterRecordAnswer.of(letter)) | {"reading": reading})
        return
    stored, record = letter.letter, letter.record
    place = f"{stored.topic}/{stored.partition}@{stored.offset}"
    facts = {
        "received": f"{clock(stored.received_ms // MINUTE_MS)} UTC",
        "position": place if stored.part is None else f"{place}, story {stored.part} of it",
        "record's time": f"{clock(record.timestamp_ms // MINUTE_MS)} UTC",
        "code": stored.code,
        "detail": stored.detail,
        "state": _state(stored),
        "now": reading,
        "key": "none" if record.key is None else record.key.decode("utf-8", "backslashreplace"),
        "value": "none" if record.value is None else f"{len(record.value):,} bytes",
    }
    for name, text in facts.items():
        print(f"{name:14} {plain(text)}")
    if record.value:
        print()
        for line in _value_lines(record.value):
            print(plain(line))


def _state(letter: StoredDeadLetter) -> str:
    if letter.replayed_ms is not None:
        return f"replayed {clock(letter.replayed_ms // MINUTE_MS)} UTC"
    again = f"put aside; read again {letter.attempts} times, and refused" if letter.attempts else "put aside"
    return f"{again}; waits to be read again" if letter.requested_ms is not None else again


def _value_lines(value: bytes) -> list[str]:
    """A value as people read it: JSON with a field a line, other text as it is, and what is no text as a dump."""
    try:
        text = json.dumps(json.loads(value), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(value[: _SHOWN_CHARACTERS + 1])  # cut anywhere
        except UnicodeDecodeError:
            text = "\x00"
        if _CONTROLS.search(_BREAKS.sub("", text)):
            text = _hex_dump(value[: _SHOWN_CHARACTERS // 4 + 1])
    lines = text[:_SHOWN_CHARACTERS].splitlines()
    more = ["… (monitor dead-letters export writes all of it)"] if len(text) > _SHOWN_CHARACTERS else []
    return lines[:_SHOWN_LINES] + more


def _hex_dump(value: bytes) -> str:
    return "\n".join(
        f"{at:08x}  {row.hex(' '):47}  {''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in row)}"
        for at in range(0, len(value), 16)
        for row in [value[at : at + 16]]
    )


def print_replays(replays: Sequence[Replay], *, most: int, as_json: bool) -> None:
    """What became of the dead letters that were to be read again; the first ``most`` that were not, with the reason."""
    if as_json:
        dump([answers.ReplayAnswer.of(replay) for replay in replays])
        return
    if not replays:
        print("nothing to replay")
        return
    wanting = [replay for replay in replays if replay.outcome not in ("replayed", "requested")]
    for replay in wanting[:most]:
        print(f"{replay.id}: {replay.outcome.replace('_', ' ')}: {plain(replay.detail)}")
    if len(wanting) > most:
        print(f"… and {len(wanting) - most:,} more; monitor dead-letters list shows their reasons")
    stored = sum(replay.outcome == "replayed" for replay in replays)
    print(f"{stored:,} of {len(replays):,} dead letters replayed")
    if waiting := sum(replay.outcome == "requested" for replay in replays):
        print(
            f"{waiting:,} still wait: no ingest process has taken them up. Is monitor run (with the role ingest) "
            "running on this database, and does it read their topics? They wait on for the next one that does.",
            file=sys.stderr,
        )


def print_verification(buckets: int, wrong: Sequence[tuple[str, int]], *, as_json: bool) -> None:
    """The outcome of ``monitor verify``."""
    if as_json:
        dump({"buckets": buckets, "wrong": [{"series": series, "at": iso(minute)} for series, minute in wrong]})
        return
    if not wrong:
        print(f"{buckets:,} buckets, all equal to a recomputation from stories and scores")
        return
    print(f"{len(wrong):,} of {buckets:,} buckets differ from a recomputation, for example:")
    for series, minute in wrong[:10]:
        print(f"  {plain(series)} at {clock(minute)} UTC")


def new_table(*names: str) -> Table:
    """A table with these columns; figures, whose names begin with >, stand at the right."""
    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table
