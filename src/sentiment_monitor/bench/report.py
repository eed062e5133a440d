"""How the outcome of a race looks: a table for people, JSON for machines, a picture."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rich.table import Table
from rich.text import Text

from sentiment_monitor import terminal
from sentiment_monitor.bench.contenders import ABOUT
from sentiment_monitor.bench.race import RaceOutcome
from sentiment_monitor.errors import UsageError

SECONDS_A_DAY = 86_400
BUSY_LOAD = 1.0  # load average at the start above which somebody else was at work
_OURS = ("openvino", "torch")


def check_plot(file: Path) -> None:
    """Raise UsageError, before anything is measured, when the picture could not be written."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install 'sentiment-monitor[bench]'")
    if file.suffix.lower() != ".png":
        raise UsageError(f"--plot {file}: name a file that ends in .png")
    if not file.resolve().parent.is_dir():
        raise UsageError(f"--plot {file}: its folder does not exist")


def print_outcome(outcome: RaceOutcome, *, as_json: bool) -> None:
    """Print the figures."""
    if as_json:
        terminal.dump(outcome.record())
        return
    out, machine = terminal.console(), outcome.machine
    tokens = f", {machine['tokens_per_story']:.0f} tokens on average" if machine["tokens_per_story"] else ""
    out.print(Text(f"{machine['texts']:,} texts ({machine['origin']}){tokens}; {machine['classifier']}"))
    out.print(
        Text(f"{machine['processor']}, {machine['threads']} CPUs; median of {machine['rounds']} interleaved rounds")
    )
    out.print(_table(outcome))
    for run in outcome.runs:
        out.print(Text(f"  {run.name:<11} {ABOUT[run.name]}", style="dim"))
    for name, reason in machine["skipped"].items():
        out.print(Text(f"  {name:<11} skipped: {reason}", style="dim"))
    fp32, int8 = (f"{peak:,.0f}" if peak else "?" for peak in (outcome.fp32_gops, outcome.int8_gops))
    out.print(f"Limit of this machine, matrix products: fp32 {fp32} GOP/s, int8 {int8} GOP/s; of limit: useful tokens")
    if best := max((run for run in outcome.runs if run.name in _OURS), key=lambda run: run.stories_per_s, default=None):
        out.print(f"{best.name}: {SECONDS_A_DAY / best.cpu_s_per_story:,.0f} stories a day and core")
    if all(run.cycles_per_story is None for run in outcome.runs):
        out.print(Text(f"No clock cycles: {machine['cycles']}", style="dim"))
    if machine["load_average"] > BUSY_LOAD:
        busy = f"The load average was {machine['load_average']} at the start: others were at work, repeat it alone."
        out.print(Text(busy, style="yellow"))


def _table(outcome: RaceOutcome) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("run")
    for name in (
        "stories/s", "spread", "x pipeline", "p50 ms", "p99 ms", "CPU ms", "Mcycles", "peak MB",
        "agrees", "accuracy", "macro-F1", "of limit",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    base = next((run.stories_per_s for run in outcome.runs if run.name == "pipeline"), None)
    for run in outcome.runs:
        low, high = outcome.machine["spread"][run.name]
        share = outcome.share(run)
        table.add_row(
            Text(run.name, style="bold" if run.name in _OURS else ""),
            f"{run.stories_per_s:,.0f}",
            f"{low:,.0f}-{high:,.0f}",
            f"{run.stories_per_s / base:.1f}" if base else "-",
            f"{run.p50_ms:.1f}",
            f"{run.p99_ms:.1f}",
            f"{1000 * run.cpu_s_per_story:.2f}",
            "-" if run.cycles_per_story is None else f"{run.cycles_per_story / 1e6:.1f}",
            f"{run.peak_mb:,.0f}",
            *("-" if value is None else f"{value:.1%}" for value in (run.label_agreement, run.accuracy)),
            "-" if run.macro_f1 is None else f"{run.macro_f1:.3f}",
            "-" if share is None else f"{share:.0%}",
        )
    return table


def plot(outcome: RaceOutcome, file: Path) -> None:
    """Write the rates, with their spread over the rounds, as a PNG. The lexicon is left out: it is off the scale."""
    from matplotlib.figure import Figure

    runs = [run for run in outcome.runs if run.name != "lexicon"]
    figure = Figure(figsize=(7, 0.55 * len(runs) + 1.3), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    spread = [outcome.machine["spread"][run.name] for run in runs]
    rates = [run.stories_per_s for run in runs]
    below = [max(0.0, rate - low) for rate, (low, _) in zip(rates, spread, strict=True)]
    above = [max(0.0, high - rate) for rate, (_, high) in zip(rates, spread, strict=True)]
    bars = axes.barh(
        [run.name for run in runs],
        rates,
        xerr=[below, above],
        color=["#1f6f8b" if run.name in _OURS else "#b8b8b8" for run in runs],
    )
    base = next((run.stories_per_s for run in runs if run.name == "pipeline"), None)
    axes.bar_label(bars, [f" {rate:,.0f}" + (f"  ({rate / base:.1f}x)" if base else "") for rate in rates], padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"stories a second on {outcome.machine['threads']} CPUs (times the Hugging Face pipeline)")
    axes.set_title(f"{outcome.machine['processor']}, {outcome.machine['texts']:,} texts", fontsize=10)
    figure.savefig(file)
