"""How backtests look: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any

from rich.text import Text

from sentiment_monitor import terminal
from sentiment_monitor.times import clock_of, spell_minutes

if TYPE_CHECKING:
    from sentiment_monitor.backtest.account import BacktestAccount, DetectorAccount, ReplayedAlert
    from sentiment_monitor.backtest.difference import Difference
    from sentiment_monitor.backtest.suggest import Suggestion
    from sentiment_monitor.backtest.watching import ExampleOutcome, WatchedBy
    from sentiment_monitor.backtest.why import WhyAnswer


def print_backtest(account: BacktestAccount, *, as_json: bool) -> None:
    """What rules and yardsticks raised."""
    if as_json:
        terminal.dump(account)
        return
    out = terminal.console()
    rules = account.detectors[0]
    out.print(
        f"{account.days:,.1f} days from {clock_of(account.since)} to {clock_of(account.until)} UTC, "
        f"{account.stories:,} stories: {len(rules.alerts):,} alerts"
    )
    if rules.alerts:
        out.print(_alerts(rules.alerts))
    _print_incidents(rules)
    with_incidents = rules.recall is not None
    table = terminal.new_table(
        "detector", ">alerts", ">recall", ">lead", ">other alerts a day" if with_incidents else ">alerts a day"
    )
    for detector in account.detectors:
        lead = detector.median_lead_minutes
        table.add_row(
            detector.name,
            f"{len(detector.alerts):,}",
            "-" if detector.recall is None else f"{detector.recall:.0%}",
            "-" if lead is None else _lead(round(lead)),
            f"{detector.false_alerts_per_day:.2f}",
        )
    out.print()
    out.print(table)
    if with_incidents:
        out.print("lead: how long before the incident's fifth story, the median; recall: of the incidents in that time")


def _print_incidents(detector: DetectorAccount) -> None:
    if not detector.incidents:
        return
    table = terminal.new_table("incident", "first alert (UTC)", ">lead")
    for incident in detector.incidents:
        fired = incident.fired_at
        table.add_row(
            Text(terminal.plain(incident.name)),
            Text("missed", style="red") if fired is None else clock_of(fired),
            "-" if incident.lead_minutes is None else _lead(incident.lead_minutes),
        )
    out = terminal.console()
    out.print()
    out.print(table)


def print_difference(difference: Difference, *, as_json: bool) -> None:
    """What changes between two sets of rules."""
    if as_json:
        terminal.dump(difference)
        return
    out = terminal.console()
    out.print(
        f"{len(difference.appear):,} appear, {len(difference.vanish):,} vanish, {len(difference.move):,} move, "
        f"{difference.same:,} stay"
    )
    for what, alerts in (("appear", difference.appear), ("vanish", difference.vanish)):
        if alerts:
            out.print(f"\n[bold]{what}[/bold]")
            out.print(_alerts(alerts))
    if difference.move:
        out.print("\n[bold]move[/bold]")
        table = terminal.new_table("series", "rule", "fired (UTC)", "fires now", "rule now")
        for moved in difference.move:
            table.add_row(
                Text(terminal.plain(moved.after.series)), moved.before.rule, clock_of(moved.before.fired_at),
                clock_of(moved.after.fired_at), moved.after.rule,
            )  # fmt: skip
        out.print(table)


def print_watched(rows: Sequence[WatchedBy], *, as_json: bool) -> None:
    """What each rule watches."""
    if as_json:
        terminal.dump(rows)
        return
    table = terminal.new_table("rule", "watches", ">window", ">series", ">with enough negatives", "for example")
    for row in rows:
        table.add_row(
            Text(terminal.plain(row.rule)), Text(terminal.plain(row.watches)), row.window,
            "-" if row.series is None else f"{row.series:,}",
            "-" if row.ever_enough is None else f"{row.ever_enough:,}",
            Text(terminal.plain(row.examples)),
        )  # fmt: skip
    terminal.console().print(table)
    if any(row.series is None for row in rows):
        terminal.console().print("no database to look into: the rules are valid")


def print_outcomes(outcomes: Sequence[ExampleOutcome]) -> None:
    """How examples went."""
    table = terminal.new_table("", "rule", "series", "from (UTC)", "to (UTC)", "expected", "what happened")
    for outcome in outcomes:
        fired = f"fired {', '.join(map(clock_of, outcome.fired_at))}" if outcome.fired_at else "did not fire"
        table.add_row(
            Text("holds", style="green") if outcome.holds else Text("FAILS", style="red bold"),
            Text(terminal.plain(outcome.rule)), Text(terminal.plain(outcome.series)),
            clock_of(outcome.since), clock_of(outcome.until), "fires" if outcome.expected else "stays quiet",
            fired if outcome.stories else "no story of the series in that time",
        )  # fmt: skip
    terminal.console().print(table)


def print_suggestion(suggestion: Suggestion, before: Sequence[Any], wanted: float) -> None:
    """The suggested rules as TOML, and how they were arrived at as its comments."""
    verdict = f"{suggestion.alerts_a_week:.2f} alerts a week over the history, {wanted:g} wanted"
    print(f"# {verdict}" if suggestion.met else f"# no rules tried raise so few; the strictest: {verdict}")
    for trial in suggestion.trials:
        print(f"# tried: alpha x {trial.factor:.3g}, min_negative +{trial.floor}: {trial.alerts_a_week:.2f} a week")
    for old, new in zip(before, suggestion.rules, strict=True):
        print("\n[[rules]]")
        for field in fields(new):
            value = getattr(new, field.name)
            if field.name == "name" or value != field_default(field):
                note = "" if value == getattr(old, field.name) else f"  # was {_toml(getattr(old, field.name))}"
                print(f"{field.name} = {_toml(value)}{note}")


def field_default(field: Field[object]) -> object:
    """The default of a rule's field."""
    default = field.default
    return getattr(default, "default", default)


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return f"{value:g}" if "e" not in f"{value:g}" else repr(value)
    return json.dumps(value, ensure_ascii=False)


def print_why(answer: WhyAnswer, *, as_json: bool) -> None:
    """Gate by gate why rules fired or did not."""
    if as_json:
        terminal.dump(answer)
        return
    out = terminal.console()
    for rule in answer.rules:
        out.print(Text(f"{rule.rule}: {'fires' if rule.fires else 'does not fire'}", style="bold"))
        out.print(Text(terminal.plain(rule.sentence)))
        table = terminal.new_table("gate", "", ">value", ">bar", "")
        for gate in rule.gates:
            passed = Text("passed", style="green") if gate.passed else Text("held back", style="red")
            table.add_row(gate.name, passed, gate.value, gate.bar, gate.meaning)
        out.print(table)
        for line in rule.needed:
            out.print(Text(line))
        out.print()


def _alerts(alerts: Sequence[ReplayedAlert]) -> object:
    table = terminal.new_table("fired (UTC)", ">lasted", "severity", "rule", "alert", ">expected", "told", "incident")
    for alert in alerts:
        what = alert.title or f"{alert.series}: {alert.observed:g} negative of {alert.volume:g}"
        table.add_row(
            clock_of(alert.fired_at),
            spell_minutes(alert.minutes) if alert.resolved_at else "still firing",
            alert.severity,
            Text(terminal.plain(alert.rule)),
            Text(terminal.plain(what)),
            f"{alert.expected:.2f}",
            Text(terminal.plain(", ".join(alert.receivers) or "-")),
            Text(terminal.plain(alert.incident or "-")),
        )
    return table


def _lead(minutes: int) -> str:
    return f"{spell_minutes(abs(minutes))} {'before' if minutes >= 0 else 'after'}"
