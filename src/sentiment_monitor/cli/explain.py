"""alerts explain: one alert on a page: why, the course of its series, stories, who was told, and what it is like."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.domain.alerts import DeliveryRecord, Event, TopStory
from sentiment_monitor.errors import UsageError
from sentiment_monitor.times import MINUTE_MS, clock, clock_of, spell_minutes

if TYPE_CHECKING:
    from sentiment_monitor.domain.dossier import Dossier, Step
    from sentiment_monitor.domain.people import Saying
    from sentiment_monitor.domain.similar import SimilarAlert

_WIDTH = 80  # characters of a line, where the terminal has room for them
_BAR = 24  # of the longest bar
_FOLLOWING = 8  # steps shown of the time after it fired


def explain(
    alert: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The alert's number, from monitor alerts list.")],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain one alert: why it fired, what was seen and what is usual, the stories, who was told, similar alerts.

    Similar earlier alerts say what became of them and who did what. --json has every step of the chart.

    Example: monitor alerts explain 7
    """
    from sentiment_monitor import terminal
    from sentiment_monitor.store.alerts import AlertStore
    from sentiment_monitor.store.dossier import dossier

    with options.opened(config, database) as opened:
        history = AlertStore(opened).history(alert)
        if history is None:
            raise UsageError(f"there is no alert {alert}; see monitor alerts list")
        with opened.read() as connection:
            facts = dossier(connection, history)
    if as_json:
        terminal.dump_dossier(facts)
        return
    print_lines(page(facts, width()))


def width() -> int:
    """Characters of a line: those of the terminal, but no more than are easily read."""
    return min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines, without what a terminal would obey."""
    from sentiment_monitor import terminal

    for line in lines:
        print(terminal.plain(line))


def page(dossier: Dossier, width: int) -> Iterator[str]:
    """The lines of an explanation, none longer than ``width`` but for links, which would not work in two."""
    history, cause = dossier.history, dossier.cause
    alert = history.alert
    yield from _wrapped(alert.title, width)
    yield from _wrapped(
        f"Alert {alert.id}, {alert.state}, {alert.severity}; rule {alert.rule} on {alert.series}.", width
    )
    if cause is None:
        yield "What it rests on is not in the database any more."
        return
    if cause.evidence.sentence:
        yield ""
        yield from _wrapped(f"Why: {cause.evidence.sentence}.", width)
    yield from _chart(dossier, cause, width)
    yield from _figures(dossier, cause)
    yield from _stories(dossier, cause, width)
    yield from _course(dossier, width)
    yield from _deliveries(history.deliveries, width)
    yield from likes(dossier.similar, width)


def likes(similar: Sequence[SimilarAlert], width: int) -> Iterator[str]:
    """Similar earlier alerts, what became of each, and who did what; nothing without any."""
    if not similar:
        return
    yield ""
    yield "Similar earlier alerts"
    for earlier in similar:
        alert = earlier.alert
        yield from _item(f"{alert.id}", f"{clock(alert.fired_minute)} UTC  {alert.title}", width)
        yield from _item("", f"alike: {', '.join(earlier.likeness.reasons) or 'wording'}", width)
        if earlier.headline:
            yield from _item("", f'"{earlier.headline}"', width)
        yield from _item("", f"became: {earlier.outcome}", width)
        for saying in earlier.sayings:
            yield from _item("", _spoken(saying), width)


def _chart(dossier: Dossier, cause: Event, width: int) -> Iterator[str]:
    steps = dossier.steps
    until_fired = sum(step.minute < cause.minute for step in steps)
    shown = steps[: until_fired + _FOLLOWING]
    size = spell_minutes(shown[0].minutes) if shown else ""
    top = max((max(step.negative, step.expected) for step in shown), default=0) or 1
    figures = [f"{step.negative:,} of {step.stories:,}" for step in shown]
    bar = max(8, min(_BAR, width - 32 - max(map(len, figures), default=0)))
    yield ""
    yield from _wrapped(f"Negative stories (#) in each {size}, and how many are usual (|), from, UTC", width)
    for number, (step, figure) in enumerate(zip(shown, figures, strict=True)):
        mark = "  < fired" if number == until_fired - 1 else ""
        yield f"  {clock(step.minute)}  {_bar(step, bar, top)}  {figure}{mark}"
    if len(steps) > len(shown):
        yield f"  … and {len(steps) - len(shown):,} more; --json has all of them"


def _bar(step: Step, length: int, top: float) -> str:
    seen, usual = round(step.negative / top * length), round(step.expected / top * length)
    cells = ["#"] * max(seen, 1 if step.negative else 0)
    cells += [" "] * (length + 1 - len(cells))
    cells[usual] = "|"
    return "".join(cells)


def _figures(dossier: Dossier, cause: Event) -> Iterator[str]:
    """What the window held when it fired, at its newest decision, and now."""
    newest, now = dossier.history.events[-1], dossier.now
    yield ""
    yield f"{f'In {spell_minutes(now.minutes)}, copies left out':32}{'negative':>9}{'of':>6}{'usual':>8}"
    yield _row(f"fired {clock(cause.minute)}", cause.observed, cause.volume, cause.expected)
    if newest is not cause:
        yield _row(f"{newest.transition} {clock(newest.minute)}", newest.observed, newest.volume, newest.expected)
    yield _row(f"newest {clock(now.minute + now.minutes)}", now.negative, now.stories, now.expected)


def _row(name: str, negative: float, stories: float, usual: float) -> str:
    spelt = "<0.1" if usual < 0.1 else f"{usual:.1f}" if usual < 10 else f"{usual:,.0f}"
    return f"  {name:30}{negative:>9,.0f}{stories:>6,.0f}{spelt:>8}"


def _stories(dossier: Dossier, cause: Event, width: int) -> Iterator[str]:
    evidence = cause.evidence
    if evidence.top_stories:
        yield ""
        yield "The most telling stories it fired on"
        for number, story in enumerate(evidence.top_stories, 1):
            yield from _story(str(number), story, width)
    if evidence.copies:
        copies = "1 copy" if evidence.copies == 1 else f"{evidence.copies:,} copies"
        size = spell_minutes(dossier.now.minutes)
        yield from _wrapped(f"{copies} in these {size}, the same text from others, counted nowhere.", width)
    yield from _first(dossier, cause, width)
    if evidence.sources:
        yield ""
        yield from _wrapped(f"Sources ({len(evidence.sources):,}): {', '.join(evidence.sources)}", width)


def _first(dossier: Dossier, cause: Event, width: int) -> Iterator[str]:
    first = dossier.first_story
    if first is None:
        return
    yield ""
    shown = [number for number, story in enumerate(cause.evidence.top_stories, 1) if story.id == first.id]
    if shown:
        yield f"The first bad one: story {shown[0]}, {clock_of(first.published_at)} UTC"
        return
    yield "The first bad one"
    yield from _story("", first, width)


def _story(mark: str, story: TopStory, width: int) -> Iterator[str]:
    copies = f", copied {story.copies:,} times" if story.copies > 1 else ", copied once" if story.copies else ""
    yield from _item(mark, story.headline, width)
    origin = f"{story.source}, {clock_of(story.published_at)} UTC, P(negative) {story.p_negative:.2f}{copies}"
    yield from _item("", origin, width)
    if story.url:
        yield f"       {story.url}"


def _course(dossier: Dossier, width: int) -> Iterator[str]:
    """What happened to it, decisions and people's words in one order."""
    lines = [
        (event.minute, f"{event.transition} ({event.reason.replace('_', ' ')})") for event in dossier.history.events
    ]
    lines += [(saying.at_ms // MINUTE_MS, _spoken(saying)) for saying in dossier.history.said]
    yield ""
    yield "What happened, UTC"
    for minute, text in sorted(lines, key=lambda line: line[0]):
        yield from _item(f"{clock(minute)} ", text, width)


def _spoken(saying: Saying) -> str:
    whom = f" for {saying.owner}" if saying.owner and saying.owner != saying.actor else ""
    return f"{saying.deed}{whom} by {saying.actor}" + (f": {saying.text}" if saying.text else "")


def _deliveries(deliveries: Sequence[DeliveryRecord], width: int) -> Iterator[str]:
    yield ""
    if not deliveries:
        yield "Nobody has been told."
        return
    yield "Who was told, UTC"
    for record in deliveries:
        at = record.created_ms if record.sent_ms is None else record.sent_ms
        trouble = f" ({record.last_error})" if record.last_error and record.state != "sent" else ""
        way = "" if record.notifier == record.receiver else f" by {record.notifier}"
        yield from _item(
            f"{clock(at // MINUTE_MS)} ", f"{record.receiver}{way}, {record.state}{trouble}: {record.title}", width
        )


def _item(mark: str, text: str, width: int) -> list[str]:
    """An item of a list: what marks it at the left, its text beside that."""
    edge = max(7, len(mark) + 3)
    first, *rest = _wrapped(text, width - edge) or [""]
    return [f"  {mark}".ljust(edge) + first, *(" " * edge + line for line in rest)]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` cells: a Chinese character takes two."""
    lines = Text(text).wrap(Console(width=width), width)
    return [line.plain.rstrip() for line in lines]
